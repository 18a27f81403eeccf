//! Many tasks at once: what serializability promises must hold to the last unit.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidelog_env::{BackoffPolicy, Env};

use super::{bytes, counter, read};
use crate::{KeyRange, ReadMode, ScanOptions, Store, TransactError, transact};

const TASKS: u64 = 8;
const ROUNDS: u64 = 20;
const ACCOUNTS: u64 = 5;
const PATIENCE: BackoffPolicy = BackoffPolicy::new(
    Duration::from_micros(200),
    Duration::from_millis(20),
    10_000,
);

async fn run_tasks<Fut>(task: impl Fn(Env, u64) -> Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let env = Env::seeded(7);
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| env.supervisor.spawn("torture", task(env.clone(), number)))
        .collect();
    for task in join_all(tasks).await {
        assert!(matches!(task, Ok(Some(()))), "a task panicked");
    }
}

/// Read, add one, write back: with N tasks the sum is exact.
pub async fn parallel_increments_sum_up_exactly(store: Arc<dyn Store>) {
    run_tasks(|env, _| {
        let store = Arc::clone(&store);
        async move {
            for _ in 0..ROUNDS {
                increment(store.as_ref(), &env).await;
            }
        }
    })
    .await;
    let sum = counter(read(store.as_ref(), "counter").await.as_ref());
    assert_eq!(sum, i64::try_from(TASKS * ROUNDS).expect("small"));
}

async fn increment(store: &dyn Store, env: &Env) {
    let done: Result<(), TransactError<()>> = transact(store, env, PATIENCE, |mut tx| async move {
        let value = tx.get(b"counter", ReadMode::Serializable).await?;
        let next = counter(value.as_ref()) + 1;
        tx.put(bytes("counter"), bytes(next.to_le_bytes()));
        tx.add(bytes("blind"), 1);
        Ok((tx, ()))
    })
    .await;
    done.expect("patience is longer than any series of conflicts");
}

/// Transfers between accounts keep the total, in the end and in every snapshot on the way.
pub async fn parallel_transfers_keep_the_total(store: Arc<dyn Store>) {
    run_tasks(|env, task| {
        let store = Arc::clone(&store);
        async move {
            for round in 0..ROUNDS {
                let from = (task + round) % ACCOUNTS;
                let to = (task * 3 + round * 7 + 1) % ACCOUNTS;
                transfer(store.as_ref(), &env, from, to).await;
                assert_eq!(total(store.as_ref()).await, 0, "a snapshot tore a transfer");
            }
        }
    })
    .await;
    assert_eq!(total(store.as_ref()).await, 0);
}

async fn transfer(store: &dyn Store, env: &Env, from: u64, to: u64) {
    let done: Result<(), TransactError<()>> = transact(store, env, PATIENCE, |mut tx| async move {
        for (account, delta) in [(from, -1), (to, 1)] {
            let key = bytes(format!("account/{account}"));
            let balance = counter(tx.get(&key, ReadMode::Serializable).await?.as_ref());
            tx.put(key, bytes((balance + delta).to_le_bytes()));
        }
        Ok((tx, ()))
    })
    .await;
    done.expect("patience is longer than any series of conflicts");
}

async fn total(store: &dyn Store) -> i64 {
    let mut transaction = super::begin(store).await;
    let range = KeyRange::prefix(bytes("account/"));
    let page = transaction
        .scan(range, ScanOptions::default().snapshot())
        .await
        .expect("scans");
    page.rows
        .iter()
        .map(|(_, value)| counter(Some(value)))
        .sum()
}
