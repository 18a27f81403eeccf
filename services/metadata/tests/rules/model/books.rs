//! The books: live bytes of segments against the extents that are not taken off them, at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow, PageRow, PartitionRow};
use tidelog_metadata_api::Extent;
use tidelog_types::TopicPartition;

use super::drive::Driver;
use super::merges::MERGED;
use crate::world::Run;

impl Driver {
    /// Up to where each partition is off the books.
    fn reclaimed(&self) -> BTreeMap<TopicPartition, u64> {
        let rows = self.store.rows(KeyKind::Partition).into_iter();
        let reclaimed = rows.map(|(key, value)| {
            let row = PartitionRow::decode(value).expect("a good row");
            let partition = Keyspace::partition_of(&key).expect("a good key");
            (partition, row.reclaimed.get())
        });
        reclaimed.collect()
    }

    /// What the pages have of each partition, each extent once, in the order of their offsets.
    fn in_pages(&self) -> BTreeMap<TopicPartition, Vec<Extent>> {
        let mut all: BTreeMap<TopicPartition, Vec<Extent>> = BTreeMap::new();
        for (key, value) in self.store.rows(KeyKind::Page) {
            let partition = Keyspace::partition_of(&key).expect("a good key");
            let base = Keyspace::page_base(&key).expect("a good key");
            let page = PageRow::decode(base, value).expect("a good row");
            let extents = all.entry(partition).or_default();
            for extent in page.extents {
                let last = extents.last();
                if last.is_none_or(|last| extent.offsets.next > last.offsets.next) {
                    extents.push(extent);
                }
            }
        }
        all
    }

    /// Live bytes are those of the extents that are not taken off, no more and no fewer; who has none is dying; and
    /// pages that have nothing else are gone.
    pub(super) fn check_books(&self) {
        let seed = self.seed;
        let reclaimed = self.reclaimed();
        let of = |partition| reclaimed.get(&partition).copied().unwrap_or_default();
        let committed = self.committed.iter();
        let mut expected: BTreeMap<_, _> = committed.map(|name| (*name, 0)).collect();
        let mut in_pages = self.in_pages();
        for (partition, known) in &self.judge.partitions {
            let shard = self.shards[partition.partition.get() as usize];
            let paged = in_pages.remove(partition).unwrap_or_default();
            let end = paged.last().map_or(0, |last| last.offsets.next.get());
            let paged = paged
                .iter()
                .map(|extent| Run::of(&extent.location, extent.offsets.base, extent.offsets.next));
            // What is in no page yet is where it was committed.
            let tail = known.runs.iter().filter(|run| run.base >= end).copied();
            let runs = paged.chain(tail).filter(|run| !run.is_marker());
            for run in runs.filter(|run| run.next > of(*partition)) {
                *expected.entry((run.sequence, shard)).or_default() += u64::from(run.length);
            }
        }
        let mut found = BTreeMap::new();
        let dying = self.store.rows(KeyKind::Dying);
        for (key, value) in self.store.rows(KeyKind::LiveBytes) {
            let segment = Keyspace::receipt_segment(&key).expect("a good key");
            let shard = Keyspace::last_shard(&key).expect("a good key");
            let bytes = LiveBytesRow::decode(value).expect("a good row").bytes;
            if segment.sequence.get() > MERGED {
                expected.entry((segment.sequence.get(), shard)).or_default();
            }
            found.insert((segment.sequence.get(), shard), bytes);
            let key = Keyspace::default().dying(segment);
            let is_dying = dying.iter().any(|row| row.0 == key);
            assert!(bytes > 0 || is_dying, "seed {seed}: {segment}");
        }
        assert_eq!(found, expected, "seed {seed}");
        for (key, value) in self.store.rows(KeyKind::Page) {
            let partition = Keyspace::partition_of(&key).expect("a good key");
            let base = Keyspace::page_base(&key).expect("a good key");
            let page = PageRow::decode(base, value).expect("a good row");
            let next = page.offsets().expect("it has extents").next.get();
            let reclaimed = of(partition);
            let is_needed = base.get() >= reclaimed || next > reclaimed;
            assert!(is_needed, "seed {seed}: page at {base} of {partition}");
        }
    }

    /// After a while all that lies below the log starts is off the books.
    pub(super) async fn check_all_is_reclaimed(&self) {
        let seed = self.seed;
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.check_books();
        let reclaimed = self.reclaimed();
        for (partition, known) in &self.judge.partitions {
            let log = self.process.log_of(*partition).await;
            let until = log.first().map_or(known.next, |run| run.base);
            let reclaimed = reclaimed.get(partition).copied().unwrap_or_default();
            // A merged extent may have more than was off the books before.
            let is_all = reclaimed >= until && reclaimed <= known.log_start;
            assert!(
                is_all,
                "seed {seed}: {partition} is reclaimed up to {reclaimed}, not {until}"
            );
        }
    }
}
