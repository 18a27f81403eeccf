//! A backup has of transactions what belongs to its prefix of the log, and nothing beyond.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tidelog_metadata::backup::TakeOptions;
use tidelog_metadata::keyspace::{KeyKind, Keyspace};
use tidelog_store::memory::MemoryStore;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};

use super::{Bucket, rows_of};
use crate::transactions::{Sender, abort, commit, inside};
use crate::world::{Process, World, partition, settings};

/// A store at work: each page that is read lets a transaction begin, or end.
#[derive(Debug)]
struct AtWork<'a> {
    process: &'a Process,
    store: &'a MemoryStore,
    steps: AtomicU64,
}

impl AtWork<'_> {
    /// Transaction `n` of producer 1 begins in steps `2n - 2`, at that offset, and is aborted in step `2n - 1`.
    async fn step(&self) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let number = step / 2 + 1;
        if step % 2 == 1 {
            let ended = self.process.end(abort(partition(0), 1, number)).await;
            assert_eq!(ended, Ok(()));
            return;
        }
        let sequence = i32::try_from(number - 1).expect("small");
        let mut sender = Sender::new(1_000 + step);
        let batch = inside(1, 0, sequence, 1);
        sender.send(self.process, 0, batch, Some(number)).await;
    }
}

#[async_trait]
impl RowSource for AtWork<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        self.step().await;
        self.store.page(range, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_has_the_aborted_transactions_of_its_log_and_no_others() {
    for checkpoint in [1, 3, 7, u32::MAX] {
        for before in [0, 1, 20, 33] {
            let world = World::with(settings(checkpoint));
            let process = world.open().await;
            let source = AtWork {
                process: &process,
                store: &world.store.memory,
                steps: AtomicU64::default(),
            };
            for _ in 0..before {
                source.step().await;
            }
            let bucket = Bucket::new();
            let options = TakeOptions {
                page_rows: 4,
                ..TakeOptions::default()
            };
            let taken = bucket.try_take(&source, "one", options).await;
            taken.expect("it answers");
            for _ in 0..3 {
                source.step().await;
            }
            let (store, _) = bucket.restored("one").await;
            let context = format!("{checkpoint} after {before}");
            let process = World::on(store.clone()).open().await;
            let (_, stable, end, aborted_below) = process.all_bounds(0).await;
            assert!(
                end >= before && end < source.steps.into_inner(),
                "{context}"
            );
            assert_eq!(stable, end - end % 2, "{context}");
            assert_eq!(aborted_below, stable, "{context}");
            let expected: Vec<_> = (0..stable).step_by(2).map(|at| (1, at, at + 1)).collect();
            let aborted = process.aborted_in(0, 0, stable).await;
            assert_eq!(aborted, expected, "{context}");
            let rows = rows_of(&store, KeyKind::Aborted);
            let markers = rows
                .iter()
                .filter_map(|(key, _)| Keyspace::aborted_marker(key));
            assert!(
                markers.clone().all(|marker| marker.get() < end),
                "{context}"
            );
            assert_eq!(markers.count(), expected.len(), "{context}");
            // What is open in it ends in the cluster that comes of it.
            let number = end / 2 + 1;
            assert_eq!(process.end(commit(partition(0), 1, number)).await, Ok(()));
            assert_eq!(process.all_bounds(0).await.1, end + 1, "{context}");
        }
    }
}
