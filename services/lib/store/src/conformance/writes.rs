//! What writes do.

use std::sync::Arc;

use super::{begin, bytes, commit, counter, get, put, read};
use crate::{Bytes, KeyRange, ReadMode, Store};

/// A value put or deleted is read back before the commit, and by others after it.
pub async fn a_transaction_reads_its_own_writes(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "old", "1").await;
    let mut transaction = begin(store).await;
    transaction.put(bytes("new"), bytes("2"));
    transaction.delete(bytes("old"));
    assert_eq!(get(transaction.as_mut(), "new").await, Some(bytes("2")));
    assert_eq!(get(transaction.as_mut(), "old").await, None);
    assert_eq!(
        read(store, "new").await,
        None,
        "others see only what is committed"
    );
    commit(transaction).await;
    assert_eq!(read(store, "new").await, Some(bytes("2")));
    assert_eq!(read(store, "old").await, None);
}

/// Keys that are there, that are not, and that the transaction itself has written, each in its place.
pub async fn many_keys_are_read_as_one_by_one(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for number in 0..100 {
        put(store, &format!("key {number}"), &number.to_string()).await;
    }
    let mut transaction = begin(store).await;
    put(store, "key 50", "later").await;
    transaction.put(bytes("key 3"), bytes("own"));
    transaction.delete(bytes("key 4"));
    transaction.add(bytes("sum"), 5);
    let mut keys: Vec<_> = (0..101)
        .rev()
        .map(|number| bytes(format!("key {number}")))
        .collect();
    keys.extend([bytes("sum"), bytes("key 7")]);
    let mut one_by_one = Vec::new();
    for key in &keys {
        let value = transaction.get(key, ReadMode::Snapshot).await;
        one_by_one.push(value.expect("an open store reads"));
    }
    let keys: Vec<_> = keys
        .into_iter()
        .map(|key| (key, ReadMode::Snapshot))
        .collect();
    let many = transaction.get_many(&keys).await;
    assert_eq!(many.expect("an open store reads"), one_by_one);
    let (absent, first, middle) = (&one_by_one[0], &one_by_one[1], &one_by_one[50]);
    let found = (absent.as_deref(), first.as_deref(), middle.as_deref());
    assert_eq!(found, (None, Some(&b"99"[..]), Some(&b"50"[..])));
    assert_eq!(transaction.get_many(&[]).await.expect("nothing"), []);
}

/// A deletion is durable, and a key can come back.
pub async fn a_deleted_key_is_gone(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "key", "1").await;
    let mut transaction = begin(store).await;
    transaction.delete(bytes("key"));
    transaction.delete(bytes("never there"));
    commit(transaction).await;
    assert_eq!(read(store, "key").await, None);
    put(store, "key", "2").await;
    assert_eq!(read(store, "key").await, Some(bytes("2")));
}

/// Keys and values are bytes, of any kind; an empty value is not an absent one.
pub async fn empty_values_and_all_byte_values_survive(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let mut transaction = begin(store).await;
    transaction.put(bytes("empty"), Bytes::new());
    transaction.put(bytes(&every), bytes(&every));
    transaction.put(bytes([0xff, 0xff]), bytes([0]));
    transaction.put(bytes([0]), bytes([0xff]));
    commit(transaction).await;
    let mut transaction = begin(store).await;
    assert_eq!(get(transaction.as_mut(), "empty").await, Some(Bytes::new()));
    let page = transaction
        .scan(KeyRange::all(), crate::ScanOptions::default())
        .await;
    let keys: Vec<_> = page
        .expect("scans")
        .rows
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            bytes([0]),
            bytes(&every),
            bytes("empty"),
            bytes([0xff, 0xff])
        ]
    );
    let value = transaction
        .get(&every, crate::ReadMode::Snapshot)
        .await
        .expect("reads");
    assert_eq!(value, Some(bytes(&every)));
}

/// The start of a deleted range is in it, the end is not; a put after the deletion stands.
pub async fn a_deleted_range_is_gone_and_its_neighbours_are_not(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for key in ["a", "b", "b1", "c", "d"] {
        put(store, key, "x").await;
    }
    let mut transaction = begin(store).await;
    transaction.put(bytes("b2"), bytes("x"));
    transaction.delete_range(KeyRange::new(bytes("b"), bytes("d")));
    transaction.put(bytes("c"), bytes("y"));
    assert_eq!(get(transaction.as_mut(), "b1").await, None);
    assert_eq!(get(transaction.as_mut(), "b2").await, None);
    assert_eq!(get(transaction.as_mut(), "c").await, Some(bytes("y")));
    commit(transaction).await;
    for (key, there) in [
        ("a", true),
        ("b", false),
        ("b1", false),
        ("b2", false),
        ("c", true),
        ("d", true),
    ] {
        assert_eq!(read(store, key).await.is_some(), there, "{key}");
    }
}

/// A range is deleted as it is at the commit, not as it was at the snapshot.
pub async fn a_deleted_range_takes_keys_that_came_after_the_snapshot(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    transaction.delete_range(KeyRange::prefix(bytes("p/")));
    put(store, "p/late", "x").await;
    commit(transaction).await;
    assert_eq!(read(store, "p/late").await, None);
}

/// Adds do not conflict with each other, and none is lost.
pub async fn adds_of_parallel_transactions_sum_up(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transactions = Vec::new();
    for delta in [1, 10, -3, i64::MAX, i64::MIN] {
        let mut transaction = begin(store).await;
        transaction.add(bytes("n"), delta);
        transactions.push(transaction);
    }
    for transaction in transactions {
        commit(transaction).await;
    }
    assert_eq!(counter(read(store, "n").await.as_ref()), 7);
}

/// A transaction sees its own adds on top of its snapshot, and on top of its own puts and deletes.
pub async fn an_add_reads_as_the_sum_before_it_is_committed(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    transaction.add(bytes("n"), 4);
    commit(transaction).await;
    let mut transaction = begin(store).await;
    transaction.add(bytes("n"), 2);
    transaction.add(bytes("n"), 1);
    assert_eq!(counter(get(transaction.as_mut(), "n").await.as_ref()), 7);
    transaction.delete(bytes("n"));
    transaction.add(bytes("n"), 5);
    assert_eq!(counter(get(transaction.as_mut(), "n").await.as_ref()), 5);
    transaction.put(bytes("n"), bytes([1]));
    transaction.add(bytes("n"), 1);
    commit(transaction).await;
    assert_eq!(counter(read(store, "n").await.as_ref()), 2);
}

/// Writes of one transaction apply in the order in which they were made.
pub async fn the_last_write_to_a_key_in_a_transaction_wins(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    transaction.put(bytes("put"), bytes("1"));
    transaction.put(bytes("put"), bytes("2"));
    transaction.put(bytes("gone"), bytes("1"));
    transaction.delete(bytes("gone"));
    transaction.delete(bytes("back"));
    transaction.put(bytes("back"), bytes("3"));
    commit(transaction).await;
    assert_eq!(read(store, "put").await, Some(bytes("2")));
    assert_eq!(read(store, "gone").await, None);
    assert_eq!(read(store, "back").await, Some(bytes("3")));
}

/// Without a commit nothing is written.
pub async fn a_dropped_transaction_writes_nothing(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let mut transaction = begin(store).await;
    transaction.put(bytes("key"), bytes("1"));
    drop(transaction);
    assert_eq!(read(store, "key").await, None);
}
