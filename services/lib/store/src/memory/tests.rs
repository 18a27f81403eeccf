//! What only the memory store does: faults, landings, reopening, dumps.

use super::*;
use crate::ReadMode::Serializable;

const LEASE: &[u8] = b"lease";
const ROW: &[u8] = b"row";

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A transaction that reads the lease and writes the row, as an owner's does.
async fn owner_transaction(store: &MemoryStore) -> Box<dyn Transaction> {
    let mut transaction = store.begin().await.expect("an open store begins");
    transaction
        .get(LEASE, Serializable)
        .await
        .expect("an open store reads");
    transaction.put(Bytes::from_static(ROW), bytes("written"));
    transaction
}

async fn write_lease(store: &MemoryStore) {
    let mut transaction = store.begin().await.expect("an open store begins");
    transaction.put(Bytes::from_static(LEASE), bytes("settled"));
    transaction.commit().await.expect("a blind write commits");
}

async fn row(store: &MemoryStore) -> Option<Bytes> {
    let mut transaction = store.begin().await.expect("an open store begins");
    transaction
        .get(ROW, Serializable)
        .await
        .expect("an open store reads")
}

async fn commit_with(store: &MemoryStore, fault: CommitFault) -> CommitError {
    store.faults().fail_commit(0, fault);
    let transaction = owner_transaction(store).await;
    transaction
        .commit()
        .await
        .expect_err("the fault is injected")
}

#[tokio::test]
async fn definite_faults_write_nothing() {
    for fault in [
        CommitFault::Conflict,
        CommitFault::TooOld,
        CommitFault::Unavailable,
    ] {
        let store = MemoryStore::new();
        let error = commit_with(&store, fault).await;
        assert!(!error.may_have_happened(), "{fault:?}");
        assert_eq!(row(&store).await, None, "{fault:?}");
        assert!(
            owner_transaction(&store).await.commit().await.is_ok(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_commit_landed_or_did_not_as_planned() {
    for (landing, there) in [(Landing::Now, true), (Landing::Never, false)] {
        let store = MemoryStore::new();
        let error = commit_with(&store, CommitFault::Unknown(landing)).await;
        assert!(error.may_have_happened());
        assert_eq!(row(&store).await.is_some(), there, "{landing:?}");
    }
}

#[tokio::test]
async fn a_delayed_commit_lands_after_its_error_unless_what_it_read_was_written() {
    let later = CommitFault::Unknown(Landing::Later { after_commits: 9 });
    let store = MemoryStore::new();
    commit_with(&store, later).await;
    assert_eq!(row(&store).await, None);
    assert!(store.land_delayed()[0].is_ok());
    assert_eq!(row(&store).await, Some(bytes("written")));

    let store = MemoryStore::new();
    commit_with(&store, later).await;
    write_lease(&store).await;
    assert!(matches!(
        store.land_delayed()[..],
        [Err(CommitError::Conflict)]
    ));
    assert_eq!(row(&store).await, None);
}

#[tokio::test]
async fn a_delayed_commit_lands_between_later_commits() {
    let store = MemoryStore::new();
    commit_with(
        &store,
        CommitFault::Unknown(Landing::Later { after_commits: 1 }),
    )
    .await;
    for there in [false, true] {
        let mut other = store.begin().await.expect("an open store begins");
        other.put(bytes("other"), bytes("x"));
        other.commit().await.expect("a blind write commits");
        assert_eq!(row(&store).await.is_some(), there);
    }
}

#[tokio::test]
async fn reads_and_begins_fail_at_the_planned_call() {
    let store = MemoryStore::new();
    store.faults().fail_begin(1, FaultPlan::unavailable());
    store.faults().fail_get(0, FaultPlan::unavailable());
    let mut transaction = store
        .begin()
        .await
        .expect("the second begin fails, not the first");
    assert!(matches!(
        store.begin().await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(transaction.get(ROW, Serializable).await.is_err());
    assert!(transaction.get(ROW, Serializable).await.is_ok());
}

#[tokio::test]
async fn reopening_fences_the_handles_before_and_keeps_the_rows() {
    let old = MemoryStore::new();
    let open = owner_transaction(&old).await;
    owner_transaction(&old)
        .await
        .commit()
        .await
        .expect("nothing conflicts");
    let new = old.reopen();
    assert!(matches!(old.closed().await, CloseReason::Fenced));
    assert!(matches!(open.commit().await, Err(CommitError::Fenced)));
    assert!(matches!(old.begin().await, Err(StoreError::Fenced)));
    assert_eq!(row(&new).await, Some(bytes("written")));
    assert!(new.epoch() > old.epoch());
}

#[tokio::test]
async fn a_dump_makes_an_equal_store() {
    let store = MemoryStore::new();
    owner_transaction(&store)
        .await
        .commit()
        .await
        .expect("nothing conflicts");
    write_lease(&store).await;
    let copy = MemoryStore::with_rows(MemoryOptions::default(), store.dump());
    assert_eq!(copy.dump(), store.dump());
    assert_eq!(copy.dump().len(), 2);
}

#[tokio::test]
async fn a_transaction_that_outlives_the_window_is_too_old() {
    let store = MemoryStore::with_rows(
        MemoryOptions {
            window_entries_max: 4,
        },
        [],
    );
    let mut reader = store.begin().await.expect("an open store begins");
    let writer = owner_transaction(&store).await;
    for _ in 0..6 {
        write_lease(&store).await;
    }
    assert!(matches!(
        reader.get(ROW, Serializable).await,
        Err(StoreError::TooOld)
    ));
    assert!(matches!(writer.commit().await, Err(CommitError::TooOld)));
}

#[tokio::test]
async fn expiring_makes_all_open_transactions_too_old_and_later_ones_not() {
    let store = MemoryStore::new();
    let open = owner_transaction(&store).await;
    store.expire_transactions();
    assert!(matches!(open.commit().await, Err(CommitError::TooOld)));
    assert!(owner_transaction(&store).await.commit().await.is_ok());
}

#[tokio::test]
async fn deleted_rows_leave_memory_once_no_transaction_can_read_them() {
    let store = MemoryStore::new();
    owner_transaction(&store)
        .await
        .commit()
        .await
        .expect("nothing conflicts");
    let mut transaction = store.begin().await.expect("an open store begins");
    transaction.delete_range(KeyRange::all());
    transaction.commit().await.expect("a blind write commits");
    store.expire_transactions();
    assert!(store.data().is_empty());
}

#[tokio::test]
async fn paused_commits_wait_for_the_last_guard() {
    let store = MemoryStore::new();
    let (one, two) = (store.pause_commits(), store.pause_commits());
    let transaction = owner_transaction(&store).await;
    let mut commit = Box::pin(transaction.commit());
    drop(one);
    assert!(futures::poll!(&mut commit).is_pending());
    drop(two);
    assert!(commit.await.is_ok());
}
