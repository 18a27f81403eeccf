//! What a history said, and whether a restored store says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidelog_format::manifest::Outcome;
use tidelog_metadata::backup::Pins;
use tidelog_metadata::keyspace::{
    KeyKind, Keyspace, LiveBytesRow, NumberRow, PartitionRow, TailRow, TopicRow,
};
use tidelog_metadata_api::{CommitError, Log as _, ShardCommit, TopicState};
use tidelog_store::memory::{MemoryOptions, MemoryStore};
use tidelog_types::{SegmentName, SegmentSequence, TopicNumber, TopicPartition};

use super::rows_of;
use crate::manifests::{accepted, duplicate, only, plain, segment};
use crate::world::{PARTITIONS, Process, Run, World, partition};

/// A commit and its answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) commit: ShardCommit,
    pub(super) outcomes: Vec<Outcome>,
}

/// All that a history said.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) said: Vec<Said>,
    /// How many of these had been said when the backup began.
    before: usize,
    runs: BTreeMap<(TopicPartition, u64), Run>,
}

impl Truth {
    /// The backup begins.
    pub(super) fn begin(&mut self) {
        self.before = self.said.len();
    }

    pub(super) fn look(&mut self, of: TopicPartition, log: Vec<Run>) {
        self.runs
            .extend(log.into_iter().map(|run| ((of, run.base), run)));
    }

    /// Compares the restored store with what was said.
    pub(super) async fn judge(&self, world: &World, rows: &[(Bytes, Bytes)]) {
        // On a copy without checkpoints, since receipts of writers that have ended go after one.
        let copy = MemoryStore::with_rows(MemoryOptions::default(), world.store.memory.dump());
        let copy = World::on(copy).open().await;
        self.receipts(&copy, &self.logs(&copy).await, rows).await;
        let process = world.open().await;
        let logs = self.logs(&process).await;
        self.producers(&process, &logs).await;
        // The first pages of the new generation must hide none of the old one, for the next owner neither.
        let writer = process.register_writer().await.expect("it answers");
        let mut ends = BTreeMap::new();
        for index in 0..PARTITIONS {
            let shard = self.said.iter().find_map(|said| {
                let slices = said.commit.manifest.slices.iter();
                let mut partitions = slices.map(|slice| slice.partition);
                partitions
                    .any(|of| of == partition(index))
                    .then_some(said.commit.manifest.shard)
            });
            let Some(shard) = shard else {
                continue;
            };
            for sequence in 0..40 {
                let next = process.high_watermark(partition(index)).await;
                let draft = segment(1_000 + u64::from(index) * 100 + sequence);
                let draft = draft.writer(writer).shard(shard);
                let commit = draft.slice(partition(index), &[plain(2)]).done();
                let answer = process.send_until_answered(&commit).await;
                assert_eq!(only(&answer), accepted(next));
            }
            ends.insert(index, process.log_of(partition(index)).await);
        }
        tokio::time::advance(Duration::from_secs(11)).await;
        let commit = segment(9_000)
            .writer(writer)
            .slice(partition(0), &[plain(1)]);
        let _ = process.send(commit.done()).await;
        let mut after = World::on(world.store.memory.clone());
        after.settings = world.settings;
        let next = after.open().await;
        for (index, log) in ends {
            let again = next.log_of(partition(index)).await;
            assert!(again.starts_with(&log), "partition {index} after a restart");
        }
    }

    /// Each log is a dense prefix of what it was, and has all that was acknowledged before.
    async fn logs(&self, process: &Process) -> BTreeMap<TopicPartition, u64> {
        let mut ends = BTreeMap::new();
        for of in (0..PARTITIONS).map(partition) {
            let end = process.high_watermark(of).await;
            for run in process.log_of(of).await {
                assert_eq!(self.runs.get(&(of, run.base)), Some(&run), "{of}");
            }
            ends.insert(of, end);
        }
        for said in &self.said[..self.before] {
            for (of, base) in said.accepted() {
                let end = ends.get(&of).copied().unwrap_or_default();
                assert!(
                    base < end,
                    "{of} ends at {end}, and {base} was acknowledged"
                );
            }
        }
        ends
    }

    /// A retry has the same answer as before, or is refused if its receipt has gone; and no answer names an
    /// offset that is not there.
    async fn receipts(
        &self,
        process: &Process,
        ends: &BTreeMap<TopicPartition, u64>,
        rows: &[(Bytes, Bytes)],
    ) {
        let keys = Keyspace::default();
        for (at, said) in self.said.iter().enumerate() {
            let manifest = &said.commit.manifest;
            match process.send(said.commit.clone()).await {
                Ok(answer) => {
                    assert_eq!(answer.outcomes, said.outcomes, "{}", manifest.segment);
                    for (of, base) in said.accepted() {
                        assert!(base < ends[&of], "{of} has no offset {base}");
                    }
                }
                Err(CommitError::WriterEnded | CommitError::BelowFloor { .. }) => {
                    let receipt = keys.receipt(manifest.segment, manifest.shard);
                    let has_gone = rows.iter().all(|(key, _)| *key != receipt);
                    assert!(at >= self.before || has_gone, "{}", manifest.segment);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The last batch of each producer in each log is known there, at its offset.
    async fn producers(&self, process: &Process, ends: &BTreeMap<TopicPartition, u64>) {
        let mut last = BTreeMap::new();
        for said in &self.said {
            let manifest = &said.commit.manifest;
            let batches = manifest.batches().zip(&said.outcomes);
            for ((of, batch), outcome) in batches {
                let Outcome::Accepted { base_offset } = outcome else {
                    continue;
                };
                if batch.producer_id.is_idempotent() && base_offset.get() < ends[&of] {
                    let key = (of, batch.producer_id);
                    last.insert(key, (*batch, base_offset.get(), manifest.shard));
                }
            }
        }
        let writer = process.register_writer().await.expect("it answers");
        assert!(writer.get() > 1 << 32, "{writer} may have been given out");
        for (sequence, ((of, _), (batch, offset, shard))) in (1..).zip(last) {
            let again = segment(sequence).writer(writer).shard(shard);
            let again = again.slice(of, &[batch]).done();
            let answer = process.send_until_answered(&again).await;
            assert_eq!(only(&answer), duplicate(offset), "{of}");
        }
    }
}

impl Said {
    fn accepted(&self) -> impl Iterator<Item = (TopicPartition, u64)> {
        let batches = self.commit.manifest.batches().zip(&self.outcomes);
        batches.filter_map(|((of, _), outcome)| match outcome {
            Outcome::Accepted { base_offset } => Some((of, base_offset.get())),
            _ => None,
        })
    }
}

/// Each topic is found by its id, and by its name if it is live or else among the deleted ones; and nothing
/// else is found.
pub(super) fn check_catalogue(store: &MemoryStore) {
    let keys = Keyspace::default();
    let mut expected = BTreeSet::new();
    for (_, value) in rows_of(store, KeyKind::Topic) {
        let topic = TopicRow::decode(value).expect("a good row");
        expected.insert((keys.topic_id(topic.info().id), topic.number()));
        let found_by = match topic.state() {
            TopicState::Live => keys.topic_name(topic.name()),
            TopicState::Deleted { .. } | TopicState::Purging { .. } => {
                keys.deleted_topic(topic.name(), topic.number())
            }
        };
        expected.insert((found_by, topic.number()));
    }
    let mut found = BTreeSet::new();
    for kind in [KeyKind::TopicId, KeyKind::TopicName] {
        for (key, value) in rows_of(store, kind) {
            let number = NumberRow::decode(value).expect("a good row").0;
            found.insert((key, TopicNumber::new(number)));
        }
    }
    for (key, _) in rows_of(store, KeyKind::DeletedTopic) {
        let number = Keyspace::deleted_number(&key).expect("a good key");
        found.insert((key, number));
    }
    assert_eq!(found, expected);
}

/// Live bytes are at most those of the tail, and at least those of what is not off the books: what was taken off while
/// the backup was taken may be counted. All that the tail names is pinned.
pub(super) fn check_segments(store: &MemoryStore, pins: &Pins) {
    let keys = Keyspace::default();
    let mut expected = BTreeMap::new();
    let mut highest = BTreeMap::new();
    let rows = rows_of(store, KeyKind::Partition).into_iter();
    let reclaimed: BTreeMap<_, _> = rows
        .map(|(key, value)| {
            let partition = Keyspace::partition_of(&key).expect("a good key");
            let row = PartitionRow::decode(value).expect("a good row");
            (partition, row.reclaimed.get())
        })
        .collect();
    for (_, value) in rows_of(store, KeyKind::Tail) {
        let TailRow::Manifest {
            manifest, receipt, ..
        } = TailRow::decode(value).expect("a good row")
        else {
            continue;
        };
        let batches = manifest.batches().zip(&receipt.outcomes);
        let (mut live, mut all) = (0, 0);
        for ((partition, batch), outcome) in batches {
            let Outcome::Accepted { base_offset } = outcome else {
                continue;
            };
            let next = base_offset.get() + u64::from(batch.record_count);
            let bytes = u64::from(batch.length);
            all += bytes;
            if reclaimed.get(&partition).is_none_or(|at| next > *at) {
                live += bytes;
            }
        }
        let segment = manifest.segment;
        expected.insert(keys.live_bytes(segment, manifest.shard), live..=all);
        assert!(pins.name(segment), "{segment}");
        let known = highest
            .entry(segment.incarnation)
            .or_insert(segment.sequence);
        *known = segment.sequence.max(*known);
    }
    for (writer, sequence) in highest {
        let next = SegmentSequence::new(sequence.get() + 1);
        assert!(
            !pins.name(SegmentName::new(writer, next)),
            "{writer}/{next}"
        );
    }
    let found: BTreeMap<_, _> = rows_of(store, KeyKind::LiveBytes)
        .into_iter()
        .map(|(key, value)| (key, LiveBytesRow::decode(value).expect("a good row").bytes))
        .collect();
    assert!(found.keys().eq(expected.keys()));
    let dying = rows_of(store, KeyKind::Dying);
    for (key, bytes) in found {
        let wanted = &expected[&key];
        assert!(wanted.contains(&bytes), "{bytes} of {wanted:?}");
        let segment = Keyspace::receipt_segment(&key).expect("a good key");
        let is_dying = dying.iter().any(|row| row.0 == keys.dying(segment));
        assert!(bytes > 0 || is_dying, "{segment}");
    }
}
