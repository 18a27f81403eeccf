//! Random transactions against a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_env::{Rng, SeededRng};

use super::{begin, bytes, commit};
use crate::buffer::add_to_counter;
use crate::{Bytes, Direction, KeyRange, ReadMode, ScanOptions, Store, Transaction};

const TRANSACTIONS: usize = 60;
const STEPS: usize = 12;
const KEYS: u64 = 24;

type Model = BTreeMap<Bytes, Bytes>;

fn key(rng: &dyn Rng) -> Bytes {
    bytes(format!("k{:02}", rng.below(KEYS)))
}

fn range(rng: &dyn Rng) -> KeyRange {
    match rng.below(4) {
        0 => KeyRange::all(),
        1 => KeyRange::from(key(rng)),
        _ => KeyRange::new(key(rng), key(rng)),
    }
}

/// A store behaves as a map does, transaction by transaction, seen from inside each one as well.
pub async fn random_transactions_match_a_model(store: Arc<dyn Store>) {
    let rng = SeededRng::new(0x5eed);
    let mut model = Model::new();
    for number in 0..TRANSACTIONS {
        let mut transaction = begin(store.as_ref()).await;
        let mut inside = model.clone();
        for _ in 0..STEPS {
            write(transaction.as_mut(), &mut inside, &rng);
            check(transaction.as_mut(), &inside, &rng, number).await;
        }
        if rng.below(5) > 0 {
            commit(transaction).await;
            model = inside;
        }
    }
}

fn write(transaction: &mut dyn Transaction, model: &mut Model, rng: &dyn Rng) {
    let target = key(rng);
    match rng.below(8) {
        0 => {
            let range = range(rng);
            model.retain(|key, _| !range.contains(key));
            transaction.delete_range(range);
        }
        1 | 2 => {
            model.remove(&target);
            transaction.delete(target);
        }
        3 | 4 => {
            let delta = i64::try_from(rng.below(100)).unwrap_or(0) - 50;
            let sum = add_to_counter(model.get(&target).map(Bytes::as_ref), delta);
            model.insert(target.clone(), sum);
            transaction.add(target, delta);
        }
        _ => {
            let value = bytes(rng.next_u64().to_string());
            model.insert(target.clone(), value.clone());
            transaction.put(target, value);
        }
    }
}

async fn check(transaction: &mut dyn Transaction, model: &Model, rng: &dyn Rng, number: usize) {
    let target = key(rng);
    let value = transaction
        .get(&target, ReadMode::Serializable)
        .await
        .expect("reads");
    assert_eq!(
        value.as_ref(),
        model.get(&target),
        "transaction {number}, key {target:?}"
    );

    let range = range(rng);
    let limit = usize::try_from(rng.below(KEYS + 4)).unwrap_or(0) + 1;
    let direction = if rng.below(2) == 0 {
        Direction::Forward
    } else {
        Direction::Backward
    };
    let options = ScanOptions {
        direction,
        ..ScanOptions::limit(limit)
    };
    let page = transaction
        .scan(range.clone(), options)
        .await
        .expect("scans");
    let inside = model.iter().filter(|(key, _)| range.contains(key));
    let mut expected: Vec<_> = inside
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    let whole = expected.len() <= limit;
    expected.truncate(limit);
    assert_eq!(
        page.rows, expected,
        "transaction {number}, {range:?} {options:?}"
    );
    assert!(page.more || whole, "transaction {number}: rows are missing");
}
