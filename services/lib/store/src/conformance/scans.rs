//! Ranges, directions, pages.

use std::sync::Arc;

use super::{begin, bytes, commit, put, rows};
use crate::{Direction, KeyRange, ScanOptions, ScanPage, Store, Transaction};

async fn fill(store: &dyn Store, keys: &[&str]) {
    let mut transaction = begin(store).await;
    for key in keys {
        transaction.put(bytes(key), bytes("x"));
    }
    commit(transaction).await;
}

async fn keys(
    transaction: &mut dyn Transaction,
    range: KeyRange,
    options: ScanOptions,
) -> Vec<String> {
    rows(transaction, range, options)
        .await
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

/// Keys are ordered by bytes; the start of a range is in it, its end is not.
pub async fn scans_return_rows_in_order_in_both_directions(store: Arc<dyn Store>) {
    let store = store.as_ref();
    fill(store, &["a", "b", "ba", "c", "d"]).await;
    let range = KeyRange::new(bytes("b"), bytes("d"));
    let mut transaction = begin(store).await;
    let forward = keys(transaction.as_mut(), range.clone(), ScanOptions::default()).await;
    assert_eq!(forward, ["b", "ba", "c"]);
    let backward = keys(
        transaction.as_mut(),
        range,
        ScanOptions::default().backward(),
    )
    .await;
    assert_eq!(backward, ["c", "ba", "b"]);
    let last = ScanOptions::limit(1).backward();
    assert_eq!(
        keys(transaction.as_mut(), KeyRange::all(), last).await,
        ["d"]
    );
    assert_eq!(
        keys(transaction.as_mut(), KeyRange::prefix(bytes("b")), last).await,
        ["ba"]
    );
}

/// Puts, deletes, cleared ranges and adds show in scans before they are committed.
pub async fn scans_see_own_writes_in_both_directions(store: Arc<dyn Store>) {
    let store = store.as_ref();
    fill(store, &["a", "c", "e", "g", "i"]).await;
    let mut transaction = begin(store).await;
    transaction.put(bytes("b"), bytes("own"));
    transaction.delete(bytes("c"));
    transaction.delete_range(KeyRange::new(bytes("f"), bytes("h")));
    transaction.put(bytes("g1"), bytes("own"));
    transaction.put(bytes("i"), bytes("own"));
    transaction.put(bytes("z"), bytes("own"));
    let expected = ["a", "b", "e", "g1", "i", "z"];
    for limit in [1, 2, 3, 100] {
        for direction in [Direction::Forward, Direction::Backward] {
            let options = ScanOptions {
                direction,
                ..ScanOptions::limit(limit)
            };
            let mut seen = all_pages(transaction.as_mut(), KeyRange::all(), options).await;
            if direction == Direction::Backward {
                seen.reverse();
            }
            assert_eq!(seen, expected, "{options:?}");
        }
    }
    let value = rows(
        transaction.as_mut(),
        KeyRange::single(bytes("i")),
        ScanOptions::limit(1),
    );
    assert_eq!(value.await, [("i".to_owned(), "own".to_owned())]);
}

/// Pages of any size, joined, are the range: nothing twice, nothing missing.
pub async fn pages_join_to_the_whole_range(store: Arc<dyn Store>) {
    let store = store.as_ref();
    let names: Vec<String> = (0..57).map(|number| format!("k/{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fill(store, &names).await;
    fill(store, &["j", "l"]).await;
    for limit in [1, 7, 57, 58] {
        let mut transaction = begin(store).await;
        let options = ScanOptions::limit(limit);
        let range = KeyRange::prefix(bytes("k/"));
        assert_eq!(
            all_pages(transaction.as_mut(), range.clone(), options).await,
            names
        );
        let mut backward = all_pages(transaction.as_mut(), range, options.backward()).await;
        backward.reverse();
        assert_eq!(backward, names);
    }
}

async fn all_pages(
    transaction: &mut dyn Transaction,
    range: KeyRange,
    options: ScanOptions,
) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = Some(range);
    while let Some(range) = rest {
        let page = transaction
            .scan(range.clone(), options)
            .await
            .expect("an open store scans");
        assert!(page.rows.len() <= options.limit);
        assert!(
            !page.more || !page.rows.is_empty(),
            "a page that stops early has a row"
        );
        rest = page.next(&range, options.direction);
        let text = |row: &(crate::Bytes, _)| String::from_utf8_lossy(&row.0).into_owned();
        all.extend(page.rows.iter().map(text));
    }
    all
}

/// A page ends with the row that reaches its byte limit; a row larger than the limit is a page.
pub async fn a_page_stops_after_its_bytes_but_never_empty(store: Arc<dyn Store>) {
    let store = store.as_ref();
    for key in ["a", "b", "c"] {
        put(store, key, &"v".repeat(9)).await;
    }
    let mut transaction = begin(store).await;
    for (bytes_max, expected, more) in [(0, 1, true), (10, 1, true), (11, 2, true), (31, 3, false)]
    {
        let options = ScanOptions {
            bytes_max,
            ..ScanOptions::default()
        };
        let page = transaction
            .scan(KeyRange::all(), options)
            .await
            .expect("scans");
        assert_eq!(
            (page.rows.len(), page.more),
            (expected, more),
            "bytes_max {bytes_max}"
        );
    }
}

/// An empty range is no error.
pub async fn empty_and_inverted_ranges_hold_no_rows(store: Arc<dyn Store>) {
    let store = store.as_ref();
    put(store, "m", "1").await;
    let mut transaction = begin(store).await;
    transaction.put(bytes("n"), bytes("own"));
    for range in [
        KeyRange::new(bytes("m"), bytes("m")),
        KeyRange::new(bytes("z"), bytes("a")),
        KeyRange::prefix(bytes("q")),
    ] {
        let page = transaction
            .scan(range, ScanOptions::default())
            .await
            .expect("scans");
        assert_eq!(page, ScanPage::default());
    }
    let none = transaction
        .scan(KeyRange::all(), ScanOptions::limit(0))
        .await
        .expect("scans");
    assert!(none.rows.is_empty());
    transaction.delete_range(KeyRange::new(bytes("z"), bytes("a")));
    transaction.add_read_conflict(KeyRange::new(bytes("z"), bytes("a")));
    transaction.add_write_conflict(KeyRange::new(bytes("z"), bytes("a")));
    commit(transaction).await;
    assert_eq!(super::read(store, "m").await, Some(bytes("1")));
}
