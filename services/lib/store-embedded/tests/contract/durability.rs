//! Errors below: answered exactly, or not at all.

use std::sync::Arc;

use tidelog_store::{CloseReason, CommitError, Store as _, StoreError};
use tidelog_store_embedded::Medium;

use crate::objects::{LogFault, TestObjects};
use crate::support::{open, options, put, read, try_put};

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled_by_looking() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    objects.set_fault(LogFault::StoredButError(1));
    put(&store, "key", "x").await;
    put(&store, "next", "x").await;
    drop(store);
    let again = open(objects, options()).await;
    assert!(read(&again, "key").await.is_some());
    assert!(read(&again, "next").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_passing_error_is_tried_again() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    objects.set_fault(LogFault::Lost(3));
    put(&store, "key", "x").await;
    assert!(read(&store, "key").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn after_bounded_retries_the_outcome_is_unknown_and_the_store_has_ended() {
    for (fault, there) in [
        (LogFault::Lost(u32::MAX), false),
        (LogFault::StoredButError(u32::MAX), true),
    ] {
        let objects = TestObjects::in_memory();
        let store = open(Arc::clone(&objects), options()).await;
        put(&store, "before", "x").await;
        objects.set_fault(fault);
        // The second answer of a name that is taken is settled, so only what was lost stays unknown.
        let outcome = try_put(&store, "key", "x").await;
        objects.set_fault(LogFault::None);
        if there {
            outcome.expect("the object is ours");
            continue;
        }
        assert!(
            matches!(outcome, Err(CommitError::Unknown(_))),
            "{outcome:?}"
        );
        assert!(matches!(store.closed().await, CloseReason::Failed(_)));
        assert!(matches!(store.begin().await, Err(StoreError::Closed)));
        assert!(matches!(
            try_put(&store, "later", "x").await,
            Err(CommitError::Closed)
        ));
        store
            .close()
            .await
            .expect("closing what has ended does nothing");
        let again = open(objects, options()).await;
        assert!(read(&again, "before").await.is_some());
        assert!(read(&again, "key").await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_commits_of_an_ended_store_did_not_happen() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    objects.set_fault(LogFault::Lost(u32::MAX));
    let commits: Vec<_> = (0..3)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                // They arrive one by one: the first flushes alone, the others wait.
                tokio::time::sleep(std::time::Duration::from_millis(number)).await;
                try_put(&store, &format!("key {number}"), "x").await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for commit in commits {
        outcomes.push(
            commit
                .await
                .expect("no panic")
                .expect_err("the bucket is gone"),
        );
    }
    assert!(outcomes[0].may_have_happened());
    assert!(
        outcomes[1..].iter().all(|error| !error.may_have_happened()),
        "{outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn on_a_folder_the_first_failed_write_ends_the_store() {
    let objects = TestObjects::in_memory();
    let mut options = options();
    options.medium = Medium::Folder;
    let store = open(Arc::clone(&objects), options).await;
    let before = objects.counts().0;
    objects.set_fault(LogFault::Lost(1));
    let outcome = try_put(&store, "key", "x").await;
    assert!(
        matches!(outcome, Err(CommitError::Unknown(_))),
        "{outcome:?}"
    );
    assert_eq!(
        objects.counts().0 - before,
        1,
        "a second fsync proves nothing"
    );
    assert!(matches!(store.closed().await, CloseReason::Failed(_)));
}
