//! A backup while segments are merged: whatever of it comes before or after, live bytes are those of the extents that it
//! has, so that after a restore nothing goes too early, and nothing stays for ever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidelog_metadata::backup::TakeOptions;
use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{
    Catalogue as _, Log as _, MergeRun, MergeTask, MergedRun, Merges as _, SwapOutcome,
    TopicSelector,
};
use tidelog_store::memory::MemoryStore;
use tidelog_store::{KeyRange, RowSource, ScanOptions, ScanPage, StoreError};
use tidelog_types::Offset;

use super::{Bucket, rows_of};
use crate::manifests::{plain, segment};
use crate::merge::{merged, now, whole};
use crate::world::{Process, World, partition, settings};

/// The sequence of the merged segment.
const MERGED: u64 = 5_000;

/// Merges all there is when rows of a kind are about to be read.
#[derive(Debug)]
struct Merging<'a> {
    store: MemoryStore,
    process: &'a Process,
    before: KeyKind,
    /// Reads of them that come first.
    reads: AtomicU32,
    /// Whether more is committed first, which is merged with what was there.
    sends: bool,
    is_done: AtomicBool,
}

#[async_trait]
impl RowSource for Merging<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let is_it = range.start.get(4) == Some(&(self.before as u8));
        let is_late = is_it && self.reads.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_late && !self.is_done.swap(true, Ordering::Relaxed) {
            if self.sends {
                for sequence in 11..=13 {
                    send(self.process, sequence).await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let task = now(self.process).await.expect("there is something");
            make_pieces(self.process, &task).await;
        }
        self.store.page(range, options).await
    }
}

/// Seven extents become one.
async fn make_pieces(process: &Process, task: &MergeTask) {
    let runs = task.runs.iter().map(|run| {
        let pieces = run.extents.chunks(7).map(|extents| MergeRun {
            extents: extents.to_vec(),
            ..run.clone()
        });
        let extents = pieces.flat_map(|piece| whole(task.bucket, merged(MERGED), &piece).extents);
        MergedRun {
            partition: run.partition,
            extents: extents.collect(),
        }
    });
    let swapped = process.swap(task.id, merged(MERGED), runs.collect()).await;
    let outcomes = swapped.expect("nothing fails");
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == SwapOutcome::Swapped)
    );
    process.finish(task.id).await.expect("nothing fails");
}

/// A segment with many small extents.
async fn send(process: &Process, sequence: u64) {
    let draft = (0..100).fold(segment(sequence), |draft, _| {
        draft.slice(partition(0), &[plain(1)])
    });
    process.send_until_answered(&draft.done()).await;
}

/// Live bytes by sequence.
fn live(store: &MemoryStore) -> BTreeMap<u64, u64> {
    let rows = rows_of(store, KeyKind::LiveBytes).into_iter();
    let bytes = rows.map(|(key, value)| {
        let segment = Keyspace::receipt_segment(&key).expect("a good key");
        let row = LiveBytesRow::decode(value).expect("a good row");
        (segment.sequence.get(), row.bytes)
    });
    bytes.collect()
}

async fn taken_with_a_merge_before(before: KeyKind) -> (MemoryStore, bool) {
    let world = World::with(SequencerSettings {
        merge: MergeSettings {
            age: Duration::ZERO,
            ..MergeSettings::default()
        },
        ..settings(1)
    });
    let process = world.open().await;
    for sequence in 1..=10 {
        let draft = segment(sequence).slice(partition(0), &[plain(1)]);
        let draft = draft.slice(partition(1), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = Merging {
        store: world.store.memory.clone(),
        process: &process,
        before,
        reads: AtomicU32::new(0),
        sends: false,
        is_done: AtomicBool::new(false),
    };
    let bucket = Bucket::new();
    let taken = bucket.try_take(&source, "b", TakeOptions::default());
    taken.await.expect("it answers");
    assert!(source.is_done.into_inner(), "{before:?}");
    let pins = bucket.backups.pins().await.expect("it answers");
    let (store, _) = bucket.restored("b").await;
    let is_merged = live(&store).contains_key(&MERGED);
    for (key, _) in rows_of(&store, KeyKind::LiveBytes) {
        let segment = Keyspace::receipt_segment(&key).expect("a good key");
        assert!(pins.name(segment), "{segment}");
    }
    (store, is_merged)
}

#[tokio::test(start_paused = true)]
async fn live_bytes_are_those_of_the_extents_whenever_they_are_merged() {
    for (before, expects_merged) in [
        (KeyKind::LiveBytes, true),
        (KeyKind::Partition, true),
        (KeyKind::Page, true),
        (KeyKind::Producer, false),
        (KeyKind::Tail, false),
        (KeyKind::Receipt, false),
    ] {
        let (store, is_merged) = taken_with_a_merge_before(before).await;
        assert_eq!(is_merged, expects_merged, "{before:?}");
        let of_one = if is_merged { 0 } else { 142 };
        let mut expected: BTreeMap<u64, u64> = (1..=10).map(|at| (at, of_one)).collect();
        expected.extend(is_merged.then_some((MERGED, 1_420)));
        assert_eq!(live(&store), expected, "{before:?}");
        // What goes later is taken off to the last byte.
        let world = World::on(store.clone());
        let process = world.open().await;
        for index in 0..2 {
            let deleted = process.delete_records(partition(index), Offset::new(10));
            deleted.await.expect("the owner");
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(live(&store).values().all(|bytes| *bytes == 0), "{before:?}");
        assert_eq!(process.metric("keeping_failures_total"), 0, "{before:?}");
        assert_eq!(rows_of(&store, KeyKind::Dying).len(), expected.len());
    }
}

/// Pages are read some at a time, and a merge replaces both some that were read and some that were not.
#[tokio::test(start_paused = true)]
async fn what_is_merged_between_two_reads_of_pages_is_not_missed() {
    for (reads, sends) in (0..12).flat_map(|reads| [(reads, false), (reads, true)]) {
        let world = World::with(SequencerSettings {
            merge: MergeSettings {
                age: Duration::ZERO,
                ..MergeSettings::default()
            },
            ..settings(1)
        });
        let process = world.open().await;
        for sequence in 1..=10 {
            send(&process, sequence).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let source = Merging {
            store: world.store.memory.clone(),
            process: &process,
            before: KeyKind::Page,
            reads: AtomicU32::new(reads),
            sends,
            is_done: AtomicBool::new(false),
        };
        let bucket = Bucket::new();
        let options = TakeOptions {
            page_rows: 2,
            ..TakeOptions::default()
        };
        bucket
            .try_take(&source, "b", options)
            .await
            .expect("it answers");
        let (store, _) = bucket.restored("b").await;
        let process = World::on(store.clone()).open().await;
        let mut offset = Offset::ZERO;
        let live_then = live(&store);
        for run in process.log_of(partition(0)).await {
            // What readers find does not go as long as they find it.
            let live = live_then.get(&run.sequence).copied().unwrap_or_default();
            assert!(
                live >= u64::from(run.length),
                "after {reads} reads: {run:?}"
            );
            assert_eq!(run.base, offset.get(), "after {reads} reads");
            offset = Offset::new(run.next);
        }
        let wanted = if sends && source.is_done.into_inner() {
            1_300
        } else {
            1_000
        };
        assert_eq!(offset.get(), wanted, "after {reads} reads");
        let deleted = process.delete_records(partition(0), offset);
        deleted.await.expect("the owner");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(
            live(&store).values().all(|bytes| *bytes == 0),
            "after {reads} reads: {:?}",
            live(&store)
        );
        assert_eq!(process.metric("keeping_failures_total"), 0);
    }
}

/// Adds partitions, and writes to one of them, when the first pages are about to be read.
#[derive(Debug)]
struct Growing<'a> {
    store: MemoryStore,
    process: &'a Process,
    is_done: AtomicBool,
}

#[async_trait]
impl RowSource for Growing<'_> {
    async fn page(&self, range: KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let is_it = range.start.get(4) == Some(&(KeyKind::Page as u8));
        if is_it && !self.is_done.swap(true, Ordering::Relaxed) {
            let topic = TopicSelector::Number(partition(0).topic);
            let grown = self.process.add_partitions(&topic, 8).await;
            grown.expect("more");
            let draft = segment(50).slice(partition(7), &[plain(3)]);
            self.process.send_until_answered(&draft.done()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.store.page(range, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_partitions_have_that_were_added_meanwhile_is_counted() {
    let world = World::with(settings(1));
    let process = world.open().await;
    for sequence in 1..=4 {
        let index = u32::try_from(sequence).expect("small") - 1;
        let draft = segment(sequence).slice(partition(index), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = Growing {
        store: world.store.memory.clone(),
        process: &process,
        is_done: AtomicBool::new(false),
    };
    let bucket = Bucket::new();
    let options = TakeOptions {
        page_rows: 2,
        ..TakeOptions::default()
    };
    bucket
        .try_take(&source, "b", options)
        .await
        .expect("it answers");
    assert!(source.is_done.into_inner());
    let (store, _) = bucket.restored("b").await;
    let process = World::on(store.clone()).open().await;
    assert_eq!(process.high_watermark(partition(7)).await, 3);
    assert_eq!(live(&store)[&50], 73);
}
