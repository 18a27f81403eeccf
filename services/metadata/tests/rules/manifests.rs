//! Builders of manifests, and what their answers say.

use bytes::Bytes;
use tidelog_format::manifest::{BatchEntry, Manifest, Outcome, RefusalDetail, SliceEntry};
use tidelog_metadata_api::{
    BatchCondition, BatchPosition, CommitAnswer, FencingToken, OrderKey, ShardCommit,
};
use tidelog_types::{
    BucketId, ErrorCode, Incarnation, Offset, ProducerEpoch, ProducerId, SegmentName,
    SegmentSequence, ShardId, Timestamp, TopicPartition,
};

use crate::world::SHARD;

/// The writer of most segments.
pub(crate) const WRITER: Incarnation = Incarnation::new(7);

/// A batch without a producer.
pub(crate) fn plain(records: u32) -> BatchEntry {
    BatchEntry {
        length: 70 + records,
        record_count: records,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        min_timestamp: Timestamp::from_millis(100),
        max_timestamp: Timestamp::from_millis(200),
        max_timestamp_offset_delta: records - 1,
        transactional: false,
        control: false,
    }
}

/// A batch of an idempotent producer at epoch 0.
pub(crate) fn sent(producer: i64, sequence: i32, records: u32) -> BatchEntry {
    at_epoch(producer, 0, sequence, records)
}

pub(crate) fn at_epoch(producer: i64, epoch: i16, sequence: i32, records: u32) -> BatchEntry {
    BatchEntry {
        producer_id: ProducerId::new(producer),
        producer_epoch: ProducerEpoch::new(epoch),
        base_sequence: sequence,
        ..plain(records)
    }
}

pub(crate) fn name(sequence: u64) -> SegmentName {
    SegmentName::new(WRITER, SegmentSequence::new(sequence))
}

pub(crate) fn token(text: &'static str) -> FencingToken {
    FencingToken::new(Bytes::from_static(text.as_bytes())).expect("a short token")
}

/// A commit under construction.
#[derive(Clone, Debug)]
pub(crate) struct Draft(ShardCommit);

/// Begins the manifest of the segment with this sequence.
pub(crate) fn segment(sequence: u64) -> Draft {
    Draft(ShardCommit {
        manifest: Manifest {
            segment: name(sequence),
            bucket: BucketId::new(0),
            shard: SHARD,
            slices: Vec::new(),
        },
        conditions: Vec::new(),
        orders: Vec::new(),
        dropped: Vec::new(),
        after: Vec::new(),
        done_below: SegmentSequence::default(),
        inline: None,
    })
}

/// The commit of one batch.
pub(crate) fn one(sequence: u64, partition: TopicPartition, batch: BatchEntry) -> ShardCommit {
    segment(sequence).slice(partition, &[batch]).done()
}

impl Draft {
    pub(crate) fn slice(mut self, partition: TopicPartition, batches: &[BatchEntry]) -> Self {
        let slices = &mut self.0.manifest.slices;
        let position = slices
            .last()
            .map_or(64, |slice| slice.position + slice.length);
        slices.push(SliceEntry {
            partition,
            position,
            length: batches.iter().map(|batch| batch.length).sum(),
            crc32c: 0xc0ff_ee00,
            batches: batches.iter().copied().collect(),
        });
        self
    }

    pub(crate) const fn bucket(mut self, bucket: BucketId) -> Self {
        self.0.manifest.bucket = bucket;
        self
    }

    pub(crate) const fn shard(mut self, shard: ShardId) -> Self {
        self.0.manifest.shard = shard;
        self
    }

    /// The partition of the slice that was added last.
    pub(crate) fn last_partition(&self) -> TopicPartition {
        let last = self.0.manifest.slices.last();
        last.map(|slice| slice.partition).expect("a slice")
    }

    pub(crate) fn writer(mut self, writer: Incarnation) -> Self {
        self.0.manifest.segment.incarnation = writer;
        self
    }

    pub(crate) fn condition(mut self, slice: u32, batch: u32, condition: BatchCondition) -> Self {
        let position = BatchPosition { slice, batch };
        self.0.conditions.push((position, condition));
        self
    }

    pub(crate) fn order(mut self, slice: u32, batch: u32, key: u64) -> Self {
        let position = BatchPosition { slice, batch };
        self.0.orders.push((position, OrderKey(key)));
        self
    }

    pub(crate) fn dropped(mut self, slice: u32, batch: u32) -> Self {
        self.0.dropped.push(BatchPosition { slice, batch });
        self
    }

    /// To be committed after the segment with this sequence.
    pub(crate) fn after(mut self, sequence: u64) -> Self {
        self.0.after.push(name(sequence));
        self
    }

    /// From a writer that is done with what is below this sequence.
    pub(crate) const fn done_below(mut self, sequence: u64) -> Self {
        self.0.done_below = SegmentSequence::new(sequence);
        self
    }

    /// To be committed together with its bytes, which hang on its name and have the checksums that it says.
    pub(crate) fn in_store(mut self) -> Self {
        let manifest = &mut self.0.manifest;
        let last = manifest.slices.last().expect("a slice");
        let seed = manifest.segment.sequence.get();
        let bytes = (0..u64::from(last.position + last.length) + 16)
            .map(|at| u8::try_from((at * 7 + seed) % 251).expect("a byte"));
        let bytes: Bytes = bytes.collect::<Vec<_>>().into();
        for slice in &mut manifest.slices {
            let (from, to) = (slice.position, slice.position + slice.length);
            slice.crc32c = tidelog_crc32c::crc32c(&bytes[from as usize..to as usize]);
        }
        manifest.bucket = BucketId::STORE;
        self.0.inline = Some(bytes);
        self
    }

    pub(crate) fn done(self) -> ShardCommit {
        self.0
    }
}

/// Asks for the offset of the first record.
pub(crate) fn expect_next(offset: u64) -> BatchCondition {
    BatchCondition {
        expected_next: Some(Offset::new(offset)),
        ..BatchCondition::default()
    }
}

/// Asks for the token that holds.
pub(crate) fn expect_token(text: &'static str) -> BatchCondition {
    BatchCondition {
        fencing_token: Some(token(text)),
        ..BatchCondition::default()
    }
}

/// What became of a batch, short.
pub(crate) fn accepted(offset: u64) -> Outcome {
    Outcome::Accepted {
        base_offset: Offset::new(offset),
    }
}

pub(crate) fn duplicate(offset: u64) -> Outcome {
    Outcome::Duplicate {
        first_offset: Offset::new(offset),
    }
}

pub(crate) const fn refused(code: ErrorCode, detail: RefusalDetail) -> Outcome {
    Outcome::Refused { code, detail }
}

pub(crate) fn out_of_order(expected: i32) -> Outcome {
    refused(
        ErrorCode::OutOfOrderSequence,
        RefusalDetail::Sequence(expected),
    )
}

pub(crate) fn wrong_offset(actual: u64) -> Outcome {
    let detail = RefusalDetail::NextOffset(Offset::new(actual));
    refused(ErrorCode::OffsetMismatch, detail)
}

/// The only outcome of an answer.
pub(crate) fn only(answer: &CommitAnswer) -> Outcome {
    assert_eq!(answer.outcomes.len(), 1, "{answer:?}");
    answer.outcomes[0].clone()
}
