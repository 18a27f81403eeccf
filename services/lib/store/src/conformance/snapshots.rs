//! What a transaction sees, and versions.

use std::sync::Arc;

use super::{begin, bytes, commit, get, put, read, rows};
use crate::{KeyRange, ScanOptions, Store};

/// Reads and scans of one transaction see one moment, whatever commits meanwhile.
pub async fn a_snapshot_does_not_see_later_commits(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "a", "1").await;
    put(store, "c", "1").await;
    let mut old = begin(store).await;
    put(store, "a", "2").await;
    put(store, "b", "2").await;
    let mut cleared = begin(store).await;
    cleared.delete_range(KeyRange::single(bytes("c")));
    commit(cleared).await;
    assert_eq!(get(old.as_mut(), "a").await, Some(bytes("1")));
    assert_eq!(get(old.as_mut(), "b").await, None);
    let seen = rows(old.as_mut(), KeyRange::all(), ScanOptions::default()).await;
    assert_eq!(seen, [("a".into(), "1".into()), ("c".into(), "1".into())]);
    assert_eq!(read(store, "c").await, None);
}

/// A commit that was acknowledged is seen by each transaction that begins afterwards.
pub async fn a_begin_sees_every_acknowledged_commit(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for number in 0..20 {
        let committed = put(store, "key", &number.to_string()).await;
        let mut transaction = begin(store).await;
        assert!(transaction.read_version() >= committed);
        assert_eq!(
            get(transaction.as_mut(), "key").await,
            Some(bytes(number.to_string()))
        );
    }
}

/// Read versions and commit versions only grow, and a commit is above the snapshot it read.
pub async fn versions_never_go_back(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut last = begin(store).await.read_version();
    for _ in 0..10 {
        let mut transaction = begin(store).await;
        let began = transaction.read_version();
        assert!(began >= last);
        transaction.put(bytes("key"), bytes("x"));
        last = commit(transaction).await;
        assert!(last > began);
    }
}

/// Committing nothing succeeds, at the version that was read.
pub async fn a_read_only_commit_succeeds_at_its_read_version(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "key", "1").await;
    let mut transaction = begin(store).await;
    let version = transaction.read_version();
    get(transaction.as_mut(), "key").await;
    put(store, "key", "2").await;
    assert_eq!(commit(transaction).await, version);
}
