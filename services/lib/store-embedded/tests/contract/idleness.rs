//! Nothing happens without a write.

use std::sync::Arc;
use std::time::Duration;

use tidelog_store::{Bytes, Store as _, StoreError};

use crate::objects::TestObjects;
use crate::support::{open, options, put, settle};

#[tokio::test(start_paused = true)]
async fn an_idle_store_makes_no_request() {
    let objects = TestObjects::in_memory();
    let mut options = options();
    options.flushes_per_table = 4;
    let store = open(Arc::clone(&objects), options).await;
    for number in 0..100 {
        put(&store, &format!("key {number}"), "x").await;
    }
    settle().await;
    let before = objects.total();
    tokio::time::sleep(Duration::from_hours(30 * 24)).await;
    assert_eq!(objects.total(), before, "thirty idle days");
    put(&store, "after", "x").await;
    assert!(objects.total() > before, "the count is of this store");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_wrote_makes_no_request() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    settle().await;
    let before = objects.total();
    tokio::time::sleep(Duration::from_hours(24)).await;
    let transaction = store.begin().await.expect("begins");
    transaction.commit().await.expect("commits nothing");
    assert_eq!(objects.total(), before);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_stays_open_is_too_old() {
    let objects = TestObjects::in_memory();
    let store = open(objects, options()).await;
    let mut transaction = store.begin().await.expect("begins");
    transaction.put(Bytes::from_static(b"key"), Bytes::from_static(b"x"));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let read = transaction
        .get(b"key", tidelog_store::ReadMode::Snapshot)
        .await;
    assert!(matches!(read, Err(StoreError::TooOld)));
    let committed = transaction.commit().await;
    assert!(matches!(committed, Err(tidelog_store::CommitError::TooOld)));
}
