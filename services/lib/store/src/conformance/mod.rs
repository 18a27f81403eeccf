//! The suite that every implementation of the store passes.
//!
//! Each case is an async function over a fresh store. [`conformance_tests!`](crate::conformance_tests)
//! makes one test of each case:
//!
//! ```text
//! fn fresh() -> Ready<(Arc<dyn Store>, ())> {
//!     ready((Arc::new(MemoryStore::new()), ()))
//! }
//! tidelog_store::conformance_tests!(fresh);
//! ```
//!
//! The factory returns the store and whatever must live as long as it (a folder, a server). Cases fail
//! by panic, as tests do.

mod conflicts;
mod limits;
mod model;
mod scans;
mod settle;
mod snapshots;
mod torture;
mod writes;

pub use conflicts::*;
pub use limits::*;
pub use model::*;
pub use scans::*;
pub use settle::*;
pub use snapshots::*;
pub use torture::*;
pub use writes::*;

use crate::{
    Bytes, CommitError, KeyRange, ReadMode, ScanOptions, Store, StoreError, Transaction, Version,
};

/// Makes a test of each case; the argument is the path of an async function that returns a fresh
/// `Arc<dyn Store>` and a guard.
#[macro_export]
macro_rules! conformance_tests {
    ($factory:path) => {
        $crate::conformance_tests! { @cases $factory,
            a_transaction_reads_its_own_writes
            a_deleted_key_is_gone
            many_keys_are_read_as_one_by_one
            empty_values_and_all_byte_values_survive
            a_deleted_range_is_gone_and_its_neighbours_are_not
            a_deleted_range_takes_keys_that_came_after_the_snapshot
            adds_of_parallel_transactions_sum_up
            an_add_reads_as_the_sum_before_it_is_committed
            the_last_write_to_a_key_in_a_transaction_wins
            a_dropped_transaction_writes_nothing
            a_snapshot_does_not_see_later_commits
            a_begin_sees_every_acknowledged_commit
            versions_never_go_back
            a_read_only_commit_succeeds_at_its_read_version
            a_written_key_that_was_read_conflicts
            a_snapshot_read_does_not_conflict
            each_of_many_reads_conflicts_by_its_own_mode
            what_begins_at_a_version_reads_there_and_conflicts_with_all_since
            blind_writers_of_one_key_both_commit
            a_reader_of_a_blindly_written_key_conflicts
            a_phantom_in_a_scanned_range_conflicts
            a_scan_conflicts_only_where_it_went
            a_deleted_range_conflicts_with_readers_of_its_keys
            an_add_conflicts_with_a_reader
            write_skew_is_prevented
            conflict_ranges_by_hand_act_like_reads_and_writes
            a_read_of_an_own_write_does_not_conflict
            a_read_only_transaction_never_conflicts
            scans_return_rows_in_order_in_both_directions
            scans_see_own_writes_in_both_directions
            pages_join_to_the_whole_range
            a_page_stops_after_its_bytes_but_never_empty
            empty_and_inverted_ranges_hold_no_rows
            long_keys_and_values_are_refused
            writes_at_the_limits_are_taken
            a_large_transaction_is_refused
            size_is_that_of_the_writes
            a_settled_transaction_can_only_conflict
            a_closed_store_refuses_everything
            random_transactions_match_a_model
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn parallel_increments_sum_up_exactly() {
            let (store, _guard) = $factory().await;
            $crate::conformance::parallel_increments_sum_up_exactly(store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn parallel_transfers_keep_the_total() {
            let (store, _guard) = $factory().await;
            $crate::conformance::parallel_transfers_keep_the_total(store).await;
        }
    };
    (@cases $factory:path, $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _guard) = $factory().await;
                $crate::conformance::$case(store).await;
            }
        )*
    };
}

/// A key or value from text.
pub(crate) fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

pub(crate) async fn begin(store: &dyn Store) -> Box<dyn Transaction> {
    store
        .begin()
        .await
        .expect("an open store begins a transaction")
}

pub(crate) async fn get(transaction: &mut dyn Transaction, key: &str) -> Option<Bytes> {
    let value = transaction
        .get(key.as_bytes(), ReadMode::Serializable)
        .await;
    value.expect("an open store reads")
}

/// All rows of `range` as the transaction sees them, as text.
pub(crate) async fn rows(
    transaction: &mut dyn Transaction,
    range: KeyRange,
    options: ScanOptions,
) -> Vec<(String, String)> {
    let page = transaction
        .scan(range, options)
        .await
        .expect("an open store scans");
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    page.rows
        .into_iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

pub(crate) async fn commit(transaction: Box<dyn Transaction>) -> Version {
    transaction
        .commit()
        .await
        .expect("nothing in the way of this commit")
}

/// Commits one blind write.
pub(crate) async fn put(store: &dyn Store, key: &str, value: &str) -> Version {
    let mut transaction = begin(store).await;
    transaction.put(bytes(key), bytes(value));
    commit(transaction).await
}

pub(crate) async fn read(store: &dyn Store, key: &str) -> Option<Bytes> {
    get(begin(store).await.as_mut(), key).await
}

/// The value of a counter; absent is zero.
pub(crate) fn counter(value: Option<&Bytes>) -> i64 {
    value.map_or(0, |value| {
        i64::from_le_bytes(value.as_ref().try_into().expect("a counter has 8 bytes"))
    })
}

pub(crate) fn assert_conflict(result: &Result<Version, CommitError>) {
    assert!(
        matches!(result, Err(CommitError::Conflict)),
        "expected a conflict: {result:?}"
    );
}

pub(crate) fn is_refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Closed)
}
