//! A backup while extents are taken off the books: what it has of a partition goes together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidelog_metadata::backup::TakeOptions;
use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow, PartitionRow};
use tidelog_metadata_api::Log as _;
use tidelog_store::memory::MemoryStore;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};
use tidelog_types::Offset;

use super::{Bucket, rows_of};
use crate::manifests::{plain, segment};
use crate::world::{Process, World, partition, settings};

/// Deletes records, and lets that be reclaimed, when the first pages are about to be read.
#[derive(Debug)]
struct Deleting<'a> {
    store: MemoryStore,
    process: &'a Process,
    is_done: AtomicBool,
}

async fn delete_before(process: &Process, before: u64) {
    let deleted = process.delete_records(partition(0), Offset::new(before));
    deleted.await.expect("the owner");
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[async_trait]
impl RowSource for Deleting<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let is_of_pages = range.start.get(4) == Some(&(KeyKind::Page as u8));
        if is_of_pages && !self.is_done.swap(true, Ordering::Relaxed) {
            delete_before(self.process, 650).await;
        }
        self.store.page(range, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_went_before_they_were_read_are_not_missed() {
    let world = World::with(settings(1));
    let process = world.open().await;
    for sequence in 1..=10 {
        let draft = (0..100).fold(segment(sequence), |draft, _| {
            draft.slice(partition(0), &[plain(1)])
        });
        process.send_until_answered(&draft.done()).await;
    }
    delete_before(&process, 150).await;
    let source = Deleting {
        store: world.store.memory.clone(),
        process: &process,
        is_done: AtomicBool::new(false),
    };
    let bucket = Bucket::new();
    let taken = bucket.try_take(&source, "b", TakeOptions::default());
    taken.await.expect("it answers");
    assert!(source.is_done.into_inner());
    let (store, _) = bucket.restored("b").await;
    let pins = bucket.backups.pins().await.expect("it answers");
    super::judge::check_segments(&store, &pins);
    let row = rows_of(&store, KeyKind::Partition).remove(0).1;
    let row = PartitionRow::decode(row).expect("a good row");
    assert_eq!((row.reclaimed.get(), row.log_start.get()), (650, 650));
    let process = World::on(store.clone()).open().await;
    assert_eq!(process.bounds_of(partition(0)).await.log_start.get(), 650);
    assert_eq!(process.log_of(partition(0)).await.len(), 350);
    // It goes on from there.
    delete_before(&process, 1_000).await;
    let key = Keyspace::default().live_bytes(crate::manifests::name(10), crate::world::SHARD);
    let rows = rows_of(&store, KeyKind::LiveBytes);
    let value = rows.into_iter().find(|row| row.0 == key).expect("a row").1;
    let left = LiveBytesRow::decode(value).expect("a good row").bytes;
    assert_eq!(left, 0);
}
