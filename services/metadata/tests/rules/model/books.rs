//! The books: live bytes of segments against the extents that are not taken off them, at any moment.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow, PageRow, PartitionRow};
use tidelog_types::TopicPartition;

use super::drive::Driver;

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

    /// Live bytes are those of the extents that are not taken off, no more and no fewer; who has none is dying; and
    /// pages that have nothing else are gone.
    pub(super) fn check_books(&self) {
        let seed = self.seed;
        let reclaimed = self.reclaimed();
        let of = |partition| reclaimed.get(&partition).copied().unwrap_or_default();
        let committed = self.committed.iter();
        let mut expected: BTreeMap<_, _> = committed.map(|name| (*name, 0)).collect();
        for (partition, known) in &self.judge.partitions {
            let shard = self.shards[partition.partition.get() as usize];
            let runs = known.runs.iter().filter(|run| !run.is_marker());
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
            let dead = known.runs.iter().rev();
            let mut dead = dead.filter(|run| run.next <= known.log_start);
            let until = dead.next().map_or(0, |run| run.next);
            let reclaimed = reclaimed.get(partition).copied().unwrap_or_default();
            assert_eq!(reclaimed, until, "seed {seed}: {partition}");
        }
    }
}
