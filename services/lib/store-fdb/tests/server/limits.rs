//! What is too large or too old never reaches the server.

use std::sync::Arc;
use std::time::Duration;

use tidelog_e2e_harness::FdbServer;
use tidelog_env::{Env, ManualClock};
use tidelog_store::{
    Bytes, CommitError, LimitKind, ReadMode, ScanOptions, Store as _, StoreError, Transaction,
};
use tidelog_store_fdb::{FdbStore, TRANSACTION_AGE_MAX};

use crate::support::{begin, keys, open_in, options, put, start, text};

/// A transaction of rows with keys of 8 bytes and values of `value` bytes, within our own limit.
async fn full_of_rows(store: &FdbStore, value: usize) -> Box<dyn Transaction> {
    let mut transaction = begin(store).await;
    let rows = store.limits().transaction_bytes_max / (8 + value);
    let value = Bytes::from(vec![0; value]);
    for row in 0..rows {
        transaction.put(text(format!("{row:08}")), value.clone());
    }
    assert!(transaction.size_bytes() <= store.limits().transaction_bytes_max);
    transaction
}

#[tokio::test]
async fn what_is_too_large_is_refused_while_the_server_does_not_even_run() {
    let (server, store) = start().await;
    let mut large = begin(&store).await;
    large.put(text("row"), Bytes::from(vec![0; 100_001]));
    let mut many = begin(&store).await;
    for row in 0..11 {
        many.put(text(format!("row {row}")), Bytes::from(vec![0; 100_000]));
    }
    // A million bytes of keys alone are more to the client than it takes.
    let tiny = full_of_rows(&store, 0).await;
    server.pause().await.expect("a process is paused");
    for (transaction, kind) in [
        (large, LimitKind::Value),
        (many, LimitKind::Transaction),
        (tiny, LimitKind::Transaction),
    ] {
        let Err(CommitError::TooLarge(error)) = transaction.commit().await else {
            panic!("it is too large");
        };
        assert_eq!(error.what, kind);
        assert!(error.size > error.limit, "{error}");
    }
    server.resume().expect("a process goes on");
    assert_eq!(
        keys(&store, ScanOptions::default()).await,
        Vec::<String>::new()
    );
    assert_eq!(store.stats().unknown, 0);
}

#[tokio::test]
async fn a_full_transaction_of_rows_as_small_as_ours_is_taken() {
    let (_server, store) = start().await;
    let transaction = full_of_rows(&store, 64).await;
    transaction.commit().await.expect("it is within the limits");
    assert_eq!(keys(&store, ScanOptions::limit(3)).await.len(), 3);
}

#[tokio::test]
async fn a_transaction_that_is_open_for_too_long_is_too_old() {
    let server = FdbServer::start().await.expect("fdbserver starts");
    let clock = ManualClock::default();
    let mut env = Env::seeded(1);
    env.clock = Arc::new(clock.clone());
    let store = open_in(options(&server), env).await;
    put(&store, "key", "1").await;
    let mut reader = begin(&store).await;
    let mut writer = begin(&store).await;
    writer.put(text("key"), text("late"));
    let read_only = begin(&store).await;
    let last = Duration::from_millis(1);
    clock.advance(TRANSACTION_AGE_MAX.saturating_sub(last));
    let early = reader.get(b"key", ReadMode::Snapshot).await;
    assert_eq!(early.expect("it is young"), Some(text("1")));
    clock.advance(last);
    let late = reader.get(b"key", ReadMode::Snapshot).await;
    assert!(matches!(late, Err(StoreError::TooOld)), "{late:?}");
    for old in [writer, read_only] {
        let outcome = old.commit().await;
        assert!(matches!(outcome, Err(CommitError::TooOld)), "{outcome:?}");
    }
    assert_eq!(store.stats().too_old, 3);
}

#[tokio::test]
async fn the_outcome_of_each_commit_is_counted() {
    let (_server, store) = start().await;
    let before = store.stats();
    let mut loser = begin(&store).await;
    let got = loser.get(b"key", ReadMode::Serializable).await;
    assert_eq!(got.expect("an open store reads"), None);
    loser.put(text("row"), text("x"));
    put(&store, "key", "1").await;
    let outcome = loser.commit().await;
    assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
    let after = store.stats();
    assert_eq!(after.transactions - before.transactions, 2);
    assert_eq!(after.commits - before.commits, 1);
    assert_eq!(after.conflicts - before.conflicts, 1);
}
