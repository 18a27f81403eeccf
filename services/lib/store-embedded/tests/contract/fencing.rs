//! One writer, and what the other one hears.

use std::sync::Arc;

use tidelog_store::{Bytes, CloseReason, CommitError, Store as _, StoreError};

use crate::objects::TestObjects;
use crate::support::{open, options, put, read, try_put};

#[tokio::test(start_paused = true)]
async fn a_second_open_fences_the_first() {
    let objects = TestObjects::in_memory();
    let first = open(Arc::clone(&objects), options()).await;
    put(&first, "key", "first").await;
    let second = open(Arc::clone(&objects), options()).await;
    assert!(second.epoch() > first.epoch());
    assert_eq!(read(&second, "key").await.as_deref(), Some(&b"first"[..]));

    let outcome = try_put(&first, "key", "zombie").await;
    assert!(matches!(outcome, Err(CommitError::Fenced)), "{outcome:?}");
    assert!(matches!(first.closed().await, CloseReason::Fenced));
    assert!(matches!(first.begin().await, Err(StoreError::Fenced)));
    assert!(matches!(
        try_put(&first, "key", "zombie").await,
        Err(CommitError::Fenced)
    ));

    assert_eq!(read(&second, "key").await.as_deref(), Some(&b"first"[..]));
    put(&second, "key", "second").await;
    let third = open(objects, options()).await;
    assert_eq!(read(&third, "key").await.as_deref(), Some(&b"second"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_store_learns_it_when_it_asks() {
    let objects = TestObjects::in_memory();
    let first = open(Arc::clone(&objects), options()).await;
    first.confirm().await.expect("it is the writer");
    let second = open(objects, options()).await;
    let outcome = first.confirm().await;
    assert!(matches!(outcome, Err(StoreError::Fenced)), "{outcome:?}");
    assert!(matches!(first.closed().await, CloseReason::Fenced));
    assert!(matches!(
        try_put(&first, "key", "x").await,
        Err(CommitError::Fenced)
    ));
    second.confirm().await.expect("it is the writer");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_stays_fenced_after_collections() {
    let objects = TestObjects::in_memory();
    let zombie = open(Arc::clone(&objects), options()).await;
    put(&zombie, "zombie", "1").await;
    let mut late = zombie.begin().await.expect("begins");
    late.put(Bytes::from_static(b"zombie"), Bytes::from_static(b"2"));

    let mut eager = options();
    eager.flushes_per_table = 2;
    eager.garbage_age_min = std::time::Duration::from_secs(1);
    let writer = open(Arc::clone(&objects), eager).await;
    for number in 0..60 {
        put(&writer, &format!("key {number}"), "x").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(writer.stats().collections > 3);
    let outcome = late.commit().await;
    assert!(matches!(outcome, Err(CommitError::Fenced)), "{outcome:?}");
    assert_eq!(read(&writer, "zombie").await.as_deref(), Some(&b"1"[..]));
    put(&writer, "after", "x").await;
    let reopened = open(objects, options()).await;
    assert_eq!(read(&reopened, "zombie").await.as_deref(), Some(&b"1"[..]));
    assert!(read(&reopened, "after").await.is_some());
}
