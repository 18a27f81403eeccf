//! What a commit costs.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use tidelog_store::{Bytes, ReadMode, Store as _};
use tidelog_store_embedded::{EmbeddedOptions, Medium};

use crate::objects::{LogFault, TestObjects};
use crate::support::{open, options, put, read, settle};

/// Fifty commits, one after the other, each with what it causes in the background.
async fn assert_one_put_each(objects: Arc<TestObjects>, options: EmbeddedOptions) {
    let store = open(Arc::clone(&objects), options).await;
    put(&store, "first", "x").await;
    settle().await;
    for number in 0..50 {
        let before = objects.counts();
        put(&store, "key", &number.to_string()).await;
        settle().await;
        let (log_puts, puts, others) = objects.counts();
        assert_eq!(
            (log_puts - before.0, puts - before.1, others - before.2),
            (1, 0, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_one_put_and_nothing_else() {
    assert_one_put_each(TestObjects::in_memory(), options()).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_one_file_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let files = LocalFileSystem::new_with_prefix(folder.path()).expect("it exists");
    let mut options = options();
    options.medium = Medium::Folder;
    assert_one_put_each(TestObjects::new(Arc::new(files)), options).await;
}

#[tokio::test(start_paused = true)]
async fn commits_that_arrive_during_a_flush_share_the_next_one() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    put(&store, "first", "x").await;
    settle().await;
    let before = objects.counts().0;
    objects.set_fault(LogFault::Held);
    let mut commits = Vec::new();
    for number in 0..20 {
        let mut transaction = store.begin().await.expect("begins");
        transaction.put(
            Bytes::from(format!("key {number}")),
            Bytes::from_static(b"x"),
        );
        transaction.add(Bytes::from_static(b"count"), 1);
        commits.push(tokio::spawn(transaction.commit()));
        settle().await;
    }
    objects.set_fault(LogFault::None);
    for commit in commits {
        commit.await.expect("no panic").expect("commits");
    }
    assert_eq!(
        objects.counts().0 - before,
        2,
        "one flush for the first, one for the rest"
    );
    assert_eq!(
        read(&store, "count").await.as_deref(),
        Some(&20_i64.to_le_bytes()[..])
    );
    assert_eq!(store.stats().commits, 21);
    assert_eq!(store.stats().flushes, 3);
}

#[tokio::test(start_paused = true)]
async fn reads_see_only_what_is_durable() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    put(&store, "key", "old").await;
    objects.set_fault(LogFault::Held);
    let mut transaction = store.begin().await.expect("begins");
    transaction.put(Bytes::from_static(b"key"), Bytes::from_static(b"new"));
    let commit = tokio::spawn(transaction.commit());
    settle().await;
    assert!(
        !commit.is_finished(),
        "a commit is not answered before it is durable"
    );
    let mut reader = store.begin().await.expect("begins");
    let seen = reader.get(b"key", ReadMode::Snapshot).await.expect("reads");
    assert_eq!(seen.as_deref(), Some(&b"old"[..]));
    objects.set_fault(LogFault::None);
    commit.await.expect("no panic").expect("commits");
    assert_eq!(read(&store, "key").await.as_deref(), Some(&b"new"[..]));
}

#[tokio::test(start_paused = true)]
async fn reads_of_recent_rows_cost_no_request() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    put(&store, "key", "x").await;
    settle().await;
    let before = objects.total();
    for _ in 0..100 {
        assert!(read(&store, "key").await.is_some());
    }
    assert_eq!(objects.total(), before);
}
