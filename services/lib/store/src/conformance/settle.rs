//! How an unknown outcome is settled, and what a closed store says.

use std::sync::Arc;

use super::{assert_conflict, begin, bytes, get, is_refused, put, read};
use crate::{CloseReason, CommitError, Store};

/// After a write to what it read, an old transaction can only conflict, whenever it commits: so a
/// commit whose outcome is unknown either shows by then or never will.
pub async fn a_settled_transaction_can_only_conflict(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut lost = begin(store).await;
    get(lost.as_mut(), "lease").await;
    lost.put(bytes("row"), bytes("lost"));

    put(store, "lease", "settled").await;
    assert_eq!(read(store, "row").await, None);
    assert_conflict(&lost.commit().await);
    assert_eq!(read(store, "row").await, None);
}

/// After `close` nothing begins, reads or commits, and `closed` says why.
pub async fn a_closed_store_refuses_everything(store: Arc<dyn Store>) {
    let mut open = begin(store.as_ref()).await;
    open.put(bytes("key"), bytes("x"));
    let mut reader = begin(store.as_ref()).await;
    let read_only = begin(store.as_ref()).await;
    let last = put(store.as_ref(), "other", "x").await;
    assert!(last > open.read_version());
    store.confirm().await.expect("an open store has its role");
    store.close().await.expect("an idle store closes");
    assert!(matches!(store.closed().await, CloseReason::Stopped));
    assert!(matches!(open.commit().await, Err(CommitError::Closed)));
    assert!(matches!(read_only.commit().await, Err(CommitError::Closed)));
    let got = reader.get(b"key", crate::ReadMode::Snapshot).await;
    assert!(got.is_err_and(|error| is_refused(&error)));
    assert!(store.confirm().await.is_err_and(|error| is_refused(&error)));
    assert!(store.begin().await.is_err_and(|error| is_refused(&error)));
    store.close().await.expect("a second close does nothing");
}
