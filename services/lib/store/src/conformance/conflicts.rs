//! What conflicts, and what does not.

use std::sync::Arc;

use super::{assert_conflict, begin, bytes, commit, get, put, rows};
use crate::{KeyRange, ReadMode, ScanOptions, Store, Transaction};

fn prefix() -> KeyRange {
    KeyRange::prefix(bytes("p/"))
}

/// A transaction that has read `key` and will write something.
async fn reader_of(store: &dyn Store, key: &str) -> Box<dyn Transaction> {
    let mut transaction = begin(store).await;
    get(transaction.as_mut(), key).await;
    transaction.put(bytes("result"), bytes("x"));
    transaction
}

/// The plain case: read, written by another, conflict; present or absent key alike.
pub async fn a_written_key_that_was_read_conflicts(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "there", "1").await;
    for key in ["there", "absent"] {
        let transaction = reader_of(store, key).await;
        put(store, key, "2").await;
        assert_conflict(&transaction.commit().await);
    }
    let unharmed = reader_of(store, "there").await;
    put(store, "other", "2").await;
    commit(unharmed).await;
}

/// What was read as a snapshot may change.
pub async fn a_snapshot_read_does_not_conflict(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    let value = transaction.get(b"key", ReadMode::Snapshot).await;
    assert_eq!(value.expect("an open store reads"), None);
    rows(
        transaction.as_mut(),
        prefix(),
        ScanOptions::default().snapshot(),
    )
    .await;
    transaction.put(bytes("result"), bytes("x"));
    put(store, "key", "1").await;
    put(store, "p/new", "1").await;
    commit(transaction).await;
}

/// Of many reads, those that are serializable conflict, and those that are not do not.
pub async fn each_of_many_reads_conflicts_by_its_own_mode(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let keys = [
        (bytes("held"), ReadMode::Serializable),
        (bytes("loose"), ReadMode::Snapshot),
        (bytes("held too"), ReadMode::Serializable),
    ];
    for (written, conflicts) in [("held", true), ("loose", false), ("held too", true)] {
        let mut transaction = begin(store).await;
        let values = transaction.get_many(&keys).await;
        assert_eq!(values.expect("an open store reads").len(), keys.len());
        transaction.put(bytes("result"), bytes("x"));
        put(store, written, "1").await;
        let result = transaction.commit().await;
        if conflicts {
            assert_conflict(&result);
        } else {
            result.expect("a snapshot read does not conflict");
        }
    }
}

/// A store may have no such transactions; one that has them begins them where it is told.
pub async fn what_begins_at_a_version_reads_there_and_conflicts_with_all_since(
    store: Arc<dyn Store>,
) {
    let store = store.as_ref();
    let before = put(store, "key", "1").await;
    let begin_at = || store.begin_at(before).expect("an open store begins");
    let Some(mut transaction) = begin_at() else {
        return;
    };
    assert_eq!(transaction.read_version(), before);
    assert_eq!(get(transaction.as_mut(), "key").await, Some(bytes("1")));
    transaction.put(bytes("result"), bytes("x"));
    let now = commit(transaction).await;
    assert!(now > before);
    put(store, "key", "2").await;
    let mut old = begin_at().expect("it has them");
    assert_eq!(get(old.as_mut(), "key").await, Some(bytes("1")));
    old.put(bytes("result"), bytes("x"));
    assert_conflict(&old.commit().await);
    let mut by_hand = begin_at().expect("it has them");
    by_hand.add_read_conflict(KeyRange::single(bytes("key")));
    by_hand.put(bytes("result"), bytes("x"));
    assert_conflict(&by_hand.commit().await);
    let mut other = begin_at().expect("it has them");
    other.add_read_conflict(KeyRange::single(bytes("other")));
    other.put(bytes("result"), bytes("x"));
    commit(other).await;
}

/// Writes never conflict with writes; the later commit wins.
pub async fn blind_writers_of_one_key_both_commit(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let (mut one, mut two) = (begin(store).await, begin(store).await);
    one.put(bytes("key"), bytes("1"));
    two.put(bytes("key"), bytes("2"));
    let second = commit(two).await;
    let first = commit(one).await;
    assert!(first > second);
    assert_eq!(super::read(store, "key").await, Some(bytes("1")));
}

/// A blind write is a write like any other to who reads.
pub async fn a_reader_of_a_blindly_written_key_conflicts(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut blind = begin(store).await;
    blind.put(bytes("key"), bytes("blind"));
    let reader = reader_of(store, "key").await;
    commit(blind).await;
    assert_conflict(&reader.commit().await);
    let mut blind = begin(store).await;
    blind.delete(bytes("key"));
    let reader = reader_of(store, "key").await;
    commit(blind).await;
    assert_conflict(&reader.commit().await);
}

/// A key that appears in a scanned range conflicts, also in an empty one.
pub async fn a_phantom_in_a_scanned_range_conflicts(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for options in [ScanOptions::default(), ScanOptions::default().backward()] {
        let mut scanner = begin(store).await;
        rows(scanner.as_mut(), prefix(), options).await;
        scanner.put(bytes("result"), bytes("x"));
        put(store, "p/new", "1").await;
        assert_conflict(&scanner.commit().await);
    }
}

/// A scan that stopped at its limit does not conflict with what comes behind its last row.
pub async fn a_scan_conflicts_only_where_it_went(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for key in ["p/2", "p/4", "p/6"] {
        put(store, key, "x").await;
    }
    let forward = ScanOptions::limit(2);
    for (options, write, conflicts) in [
        (forward, "p/5", false),
        (forward, "p/6", false),
        (forward, "p/4", true),
        (forward, "p/1", true),
        (forward.backward(), "p/3", false),
        (forward.backward(), "p/4", true),
        (forward.backward(), "p/7", true),
    ] {
        let mut scanner = begin(store).await;
        assert_eq!(rows(scanner.as_mut(), prefix(), options).await.len(), 2);
        scanner.put(bytes("result"), bytes("x"));
        let mut writer = begin(store).await;
        writer.put(bytes(write), bytes("y"));
        commit(writer).await;
        let result = scanner.commit().await;
        assert_eq!(
            result.is_err(),
            conflicts,
            "{options:?} {write}: {result:?}"
        );
        let mut undo = begin(store).await;
        undo.delete_range(prefix());
        for key in ["p/2", "p/4", "p/6"] {
            undo.put(bytes(key), bytes("x"));
        }
        commit(undo).await;
    }
}

/// Deleting a range writes every key in it, those that are not there too.
pub async fn a_deleted_range_conflicts_with_readers_of_its_keys(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let inside = reader_of(store, "p/absent").await;
    let outside = reader_of(store, "q").await;
    let mut scanner = begin(store).await;
    rows(
        scanner.as_mut(),
        KeyRange::from(bytes("p/x")),
        ScanOptions::default(),
    )
    .await;
    scanner.put(bytes("b"), bytes("x"));
    let mut deleter = begin(store).await;
    deleter.delete_range(prefix());
    commit(deleter).await;
    assert_conflict(&inside.commit().await);
    assert_conflict(&scanner.commit().await);
    commit(outside).await;
}

/// An add is a write to who reads the counter, and reading the own add reads the counter.
pub async fn an_add_conflicts_with_a_reader(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let reader = reader_of(store, "n").await;
    let mut own = begin(store).await;
    own.add(bytes("n"), 1);
    get(own.as_mut(), "n").await;
    let mut adder = begin(store).await;
    adder.add(bytes("n"), 1);
    commit(adder).await;
    assert_conflict(&reader.commit().await);
    assert_conflict(&own.commit().await);
}

/// Two transactions that each read what the other writes do not both commit.
pub async fn write_skew_is_prevented(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let (mut one, mut two) = (begin(store).await, begin(store).await);
    for transaction in [&mut one, &mut two] {
        get(transaction.as_mut(), "x").await;
        get(transaction.as_mut(), "y").await;
    }
    one.put(bytes("x"), bytes("taken"));
    two.put(bytes("y"), bytes("taken"));
    let (first, second) = futures::join!(one.commit(), two.commit());
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

/// Conflict ranges added by hand behave as reads and writes do, without either.
pub async fn conflict_ranges_by_hand_act_like_reads_and_writes(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut by_hand = begin(store).await;
    by_hand.add_read_conflict(prefix());
    by_hand.put(bytes("result"), bytes("x"));
    put(store, "p/new", "1").await;
    assert_conflict(&by_hand.commit().await);

    let reader = reader_of(store, "p/new").await;
    let mut by_hand = begin(store).await;
    by_hand.add_write_conflict(prefix());
    let version = commit(by_hand).await;
    assert!(version > reader.read_version());
    assert_conflict(&reader.commit().await);
    assert_eq!(super::read(store, "p/new").await, Some(bytes("1")));
}

/// What a transaction put itself it knows without reading.
pub async fn a_read_of_an_own_write_does_not_conflict(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    transaction.put(bytes("key"), bytes("own"));
    assert_eq!(get(transaction.as_mut(), "key").await, Some(bytes("own")));
    put(store, "key", "other").await;
    commit(transaction).await;
}

/// Reads at one version are serializable at that version, whatever comes later.
pub async fn a_read_only_transaction_never_conflicts(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    get(transaction.as_mut(), "key").await;
    put(store, "key", "1").await;
    commit(transaction).await;
}
