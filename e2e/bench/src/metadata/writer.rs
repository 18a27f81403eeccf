//! A broker as the metadata service sees it: one incarnation that commits segment after segment, with the
//! batches of one idempotent producer.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tidelog_env::Clock;
use tidelog_format::manifest::{BatchEntry, Manifest, Outcome, SliceEntry, sequence_after};
use tidelog_metadata::MetadataService;
use tidelog_metadata_api::{
    CommitAnswer, CommitError, Log as _, ProducerIdentity, ShardCommit, TopicInfo,
};
use tidelog_types::{
    BucketId, Incarnation, PartitionIndex, SegmentName, SegmentSequence, ShardId, TopicPartition,
};

use super::Service;

/// Bytes of a record: its value of 1 KiB, and lengths and deltas.
const RECORD_BYTES: u32 = 1_024 + 10;
/// Bytes of a batch's header.
const BATCH_HEADER_BYTES: u32 = 61;
/// Records of a batch at most: as many as fill 512 KiB, where our producer closes it.
const BATCH_RECORDS_MAX: u32 = 512;
/// Where the first slice of a segment begins.
const SLICES_BEGIN: u32 = 64;

type Answers = Pin<Box<dyn Future<Output = Vec<Result<CommitAnswer, CommitError>>> + Send>>;

/// One incarnation with one producer, which writes to some partitions in rotation. What it sends is
/// answered in order.
pub(super) struct Writer {
    log: MetadataService,
    clock: Arc<dyn Clock>,
    incarnation: Incarnation,
    producer: ProducerIdentity,
    shard: ShardId,
    /// The partitions, and the sequence of the next record in each.
    partitions: Vec<(TopicPartition, i32)>,
    /// The partition whose turn it is.
    turn: usize,
    sequence: u64,
    waiting: VecDeque<(u64, Answers)>,
    /// Bytes of all slices so far.
    pub(super) bytes: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("incarnation", &self.incarnation)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer to all partitions of a topic that are in a shard.
    pub(super) async fn new(service: &Service, topic: &TopicInfo, shard: ShardId) -> Result<Self> {
        let partitions: Vec<_> = (0..topic.partition_count())
            .filter_map(|index| topic.partition(PartitionIndex::new(index)).ok())
            .filter(|(_, info)| info.shard == shard)
            .map(|(partition, _)| (partition, 0))
            .collect();
        ensure!(!partitions.is_empty(), "shard `{shard}` has no partitions");
        Ok(Self {
            log: service.log.clone(),
            clock: Arc::clone(&service.env.clock),
            incarnation: service.log.register_writer().await?,
            producer: service.log.init_producer().await?,
            shard,
            partitions,
            turn: 0,
            sequence: 0,
            waiting: VecDeque::new(),
            bytes: 0,
        })
    }

    /// Sends the commit of one more segment: so many slices of so many records each.
    pub(super) fn send(&mut self, slices: usize, records: u32) {
        let commit = self.commit(slices, records);
        let sequence = commit.manifest.segment.sequence.get();
        let answers = Box::pin(self.log.commit(vec![commit]));
        self.waiting.push_back((sequence, answers));
    }

    /// How many commits are not answered yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Waits for the oldest answer; every batch must have been accepted.
    pub(super) async fn answered(&mut self) -> Result<()> {
        let (_, answers) = self.waiting.pop_front().context("nothing was sent")?;
        let answer = answers.await.pop().context("no answer")??;
        let is_accepted = |outcome: &Outcome| matches!(outcome, Outcome::Accepted { .. });
        let outcomes = &answer.outcomes;
        ensure!(outcomes.iter().all(is_accepted), "refused: {outcomes:?}");
        Ok(())
    }

    /// One commit, from its call to its answer.
    pub(super) async fn once(&mut self, slices: usize, records: u32) -> Result<()> {
        self.send(slices, records);
        self.answered().await
    }

    /// So many commits with so many under way.
    pub(super) async fn many(
        &mut self,
        count: usize,
        at_once: usize,
        slices: usize,
        records: u32,
    ) -> Result<()> {
        for _ in 0..count {
            if self.waiting() >= at_once {
                self.answered().await?;
            }
            self.send(slices, records);
        }
        while self.waiting() > 0 {
            self.answered().await?;
        }
        Ok(())
    }

    fn commit(&mut self, slices: usize, records: u32) -> ShardCommit {
        self.sequence += 1;
        let mut end = SLICES_BEGIN;
        let slices = (0..slices.min(self.partitions.len()))
            .map(|_| {
                let slice = self.slice(end, records);
                end += slice.length;
                slice
            })
            .collect();
        self.bytes += u64::from(end - SLICES_BEGIN);
        let done_below = self
            .waiting
            .front()
            .map_or(self.sequence, |(oldest, _)| *oldest);
        ShardCommit {
            manifest: Manifest {
                segment: SegmentName::new(self.incarnation, SegmentSequence::new(self.sequence)),
                bucket: BucketId::new(0),
                shard: self.shard,
                slices,
            },
            conditions: Vec::new(),
            orders: Vec::new(),
            dropped: Vec::new(),
            after: Vec::new(),
            done_below: SegmentSequence::new(done_below),
            inline: None,
        }
    }

    fn slice(&mut self, position: u32, mut records: u32) -> SliceEntry {
        let now = self.clock.wall();
        let (producer, count) = (self.producer, self.partitions.len());
        let (partition, next) = &mut self.partitions[self.turn];
        self.turn = (self.turn + 1) % count;
        let mut slice = SliceEntry {
            partition: *partition,
            position,
            length: 0,
            // Any will do: nothing reads the bytes.
            crc32c: position.wrapping_mul(0x9e37_79b9),
            batches: [].into_iter().collect(),
        };
        while records > 0 {
            let taken = records.min(BATCH_RECORDS_MAX);
            records -= taken;
            let length = BATCH_HEADER_BYTES + taken * RECORD_BYTES;
            slice.length += length;
            slice.batches.push(BatchEntry {
                length,
                record_count: taken,
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                base_sequence: *next,
                min_timestamp: now,
                max_timestamp: now,
                max_timestamp_offset_delta: taken - 1,
                transactional: false,
                control: false,
            });
            *next = sequence_after(*next, taken);
        }
        slice
    }
}
