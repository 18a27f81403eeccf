//! Objects and memory stay bounded.

use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use tidelog_store::{Bytes, CommitError, KeyRange, LimitKind, Store as _};
use tidelog_store_embedded::Medium;

use crate::objects::TestObjects;
use crate::support::{dump, open, options, put, settle};

const ROUNDS: usize = 20;
const COMMITS_A_ROUND: usize = 50;

async fn assert_bounded(objects: Arc<TestObjects>, medium: Medium) {
    let mut options = options();
    options.medium = medium;
    options.flushes_per_table = 10;
    options.garbage_age_min = Duration::from_secs(1);
    let store = open(Arc::clone(&objects), options.clone()).await;
    let mut counts = Vec::new();
    for round in 0..ROUNDS {
        for number in 0..COMMITS_A_ROUND {
            put(&store, &format!("key {}", number % 7), &round.to_string()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        settle().await;
        counts.push(objects.names().await.len());
    }
    let stats = store.stats();
    assert!(stats.compactions > 0 && stats.collections > 0, "{stats:?}");
    assert_eq!(stats.maintenance_failures, 0, "{stats:?}");
    let most = |counts: &[usize]| counts.iter().copied().max().unwrap_or(0);
    let (early, late) = counts.split_at(ROUNDS / 2);
    assert!(most(early) < 4 * COMMITS_A_ROUND, "{counts:?}");
    assert!(most(late) <= most(early), "still growing: {counts:?}");

    let rows = dump(&store).await;
    assert_eq!(rows.len(), 7);
    store.close().await.expect("closes");
    let again = open(objects, options).await;
    assert_eq!(dump(&again).await, rows);
}

#[tokio::test(start_paused = true)]
async fn many_commits_leave_a_bounded_number_of_objects() {
    assert_bounded(TestObjects::in_memory(), Medium::Bucket).await;
}

#[tokio::test(start_paused = true)]
async fn many_commits_leave_a_bounded_number_of_files() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let files = LocalFileSystem::new_with_prefix(folder.path()).expect("it exists");
    assert_bounded(TestObjects::new(Arc::new(files)), Medium::Folder).await;
}

#[tokio::test(start_paused = true)]
async fn a_range_deletion_is_bounded_and_says_so() {
    let objects = TestObjects::in_memory();
    let mut options = options();
    options.range_delete_keys_max = 10;
    let store = open(objects, options).await;
    let mut transaction = store.begin().await.expect("begins");
    for number in 0..11 {
        transaction.put(Bytes::from(format!("key {number:02}")), Bytes::new());
    }
    transaction.commit().await.expect("commits");

    let mut whole = store.begin().await.expect("begins");
    whole.delete_range(KeyRange::all());
    let refused = whole.commit().await;
    let Err(CommitError::TooLarge(error)) = refused else {
        panic!("expected `too large`: {refused:?}");
    };
    assert_eq!((error.what, error.limit), (LimitKind::RangeDelete, 10));
    let mut half = store.begin().await.expect("begins");
    half.delete_range(KeyRange::new(&b"key 00"[..], &b"key 10"[..]));
    half.commit().await.expect("ten keys are allowed");
    assert_eq!(dump(&store).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn writes_past_the_memory_setting_go_to_tables_and_come_back() {
    let objects = TestObjects::in_memory();
    let store = open(Arc::clone(&objects), options()).await;
    let value = Bytes::from(vec![7; 90_000]);
    for number in 0..60 {
        let mut transaction = store.begin().await.expect("begins");
        for part in 0..10 {
            transaction.put(Bytes::from(format!("{number:03}/{part}")), value.clone());
        }
        transaction
            .commit()
            .await
            .expect("commits, if need be after a wait");
    }
    settle().await;
    let names = objects.names().await;
    assert!(
        names.iter().any(|name| name.contains("/compacted/")),
        "{names:?}"
    );
    let rows = dump(&store).await;
    assert_eq!(rows.len(), 600);
    assert!(rows.iter().all(|(_, stored)| *stored == value));
}
