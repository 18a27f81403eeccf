//! What is too large is refused before the commit, by all stores alike.

use std::sync::Arc;

use super::{begin, bytes, commit, read};
use crate::{
    Bytes, CommitError, KeyRange, LimitKind, ReadMode, ScanOptions, Store, StoreError, Transaction,
};

fn zeros(len: usize) -> Bytes {
    Bytes::from(vec![0; len])
}

async fn refused(store: &dyn Store, write: impl FnOnce(&mut dyn Transaction)) -> LimitKind {
    let mut transaction = begin(store).await;
    transaction.put(bytes("witness"), bytes("x"));
    write(transaction.as_mut());
    let error = transaction
        .commit()
        .await
        .expect_err("a write over a limit is refused");
    assert!(!error.may_have_happened());
    assert_eq!(
        read(store, "witness").await,
        None,
        "nothing of it is written"
    );
    match error {
        CommitError::TooLarge(error) => {
            assert!(error.size > error.limit);
            error.what
        }
        other => panic!("expected `too large`: {other:?}"),
    }
}

/// Each kind of write checks its key, and a put its value; so do reads.
pub async fn long_keys_and_values_are_refused(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let limits = store.limits();
    let long = zeros(limits.key_bytes_max + 1);
    let longer = zeros(limits.key_bytes_max + 2);
    assert_eq!(
        refused(store, |tx| tx.put(long.clone(), Bytes::new())).await,
        LimitKind::Key
    );
    assert_eq!(
        refused(store, |tx| tx.delete(long.clone())).await,
        LimitKind::Key
    );
    assert_eq!(
        refused(store, |tx| tx.add(long.clone(), 1)).await,
        LimitKind::Key
    );
    let range = KeyRange::new(bytes(""), longer.clone());
    assert_eq!(
        refused(store, |tx| tx.delete_range(range.clone())).await,
        LimitKind::Key
    );
    assert_eq!(
        refused(store, |tx| tx.add_write_conflict(range.clone())).await,
        LimitKind::Key
    );
    let value = zeros(limits.value_bytes_max + 1);
    assert_eq!(
        refused(store, |tx| tx.put(bytes("key"), value)).await,
        LimitKind::Value
    );

    let mut transaction = begin(store).await;
    let got = transaction.get(&long, ReadMode::Serializable).await;
    assert!(matches!(got, Err(StoreError::TooLarge(_))), "{got:?}");
    let scanned = transaction.scan(range, ScanOptions::default()).await;
    assert!(
        matches!(scanned, Err(StoreError::TooLarge(_))),
        "{scanned:?}"
    );
}

/// The limits themselves are allowed, and the successor of the longest key ends a range.
pub async fn writes_at_the_limits_are_taken(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let limits = store.limits();
    let key = zeros(limits.key_bytes_max);
    let value = zeros(limits.value_bytes_max);
    let mut transaction = begin(store).await;
    transaction.put(key.clone(), value.clone());
    commit(transaction).await;
    let mut transaction = begin(store).await;
    let page = transaction
        .scan(KeyRange::single(key.clone()), ScanOptions::default())
        .await;
    assert_eq!(
        page.expect("the end may be one byte longer").rows,
        [(key.clone(), value)]
    );
    transaction.delete_range(KeyRange::single(key.clone()));
    commit(transaction).await;
    let mut transaction = begin(store).await;
    assert_eq!(
        transaction
            .get(&key, ReadMode::Snapshot)
            .await
            .expect("reads"),
        None
    );
}

/// A transaction's size is bounded as a whole.
pub async fn a_large_transaction_is_refused(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let limits = store.limits();
    let value = zeros(limits.value_bytes_max);
    let kind = refused(store, |tx| {
        for number in 0..=limits.transaction_bytes_max / limits.value_bytes_max {
            tx.put(bytes(number.to_string()), value.clone());
        }
    });
    assert_eq!(kind.await, LimitKind::Transaction);
    let mut transaction = begin(store).await;
    for number in 0..limits.transaction_bytes_max / (limits.value_bytes_max + 1) {
        transaction.put(bytes([u8::try_from(number).unwrap_or(0)]), value.clone());
    }
    assert!(transaction.size_bytes() <= limits.transaction_bytes_max);
    commit(transaction).await;
}

/// The size counts keys, values and bounds of writes, each key once, and no reads.
pub async fn size_is_that_of_the_writes(store: Arc<dyn Store>) {
    let mut transaction = begin(store.as_ref()).await;
    assert_eq!(transaction.size_bytes(), 0);
    super::get(transaction.as_mut(), "read").await;
    transaction.put(bytes("12"), bytes("345"));
    transaction.put(bytes("12"), bytes("3"));
    assert_eq!(transaction.size_bytes(), 3);
    transaction.add(bytes("n"), 1);
    transaction.delete(bytes("del"));
    assert_eq!(transaction.size_bytes(), 3 + 9 + 3);
    transaction.delete_range(KeyRange::new(bytes("x"), bytes("yy")));
    transaction.add_read_conflict(KeyRange::new(bytes("r"), bytes("s")));
    assert_eq!(transaction.size_bytes(), 15 + 3 + 2);
}
