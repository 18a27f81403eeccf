//! What a segment holds for one shard, and the answer to its commit: `docs/format/manifest.md`.

mod decode;
mod encode;
mod error;
mod receipt;
mod size;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;
use tidelog_types::{
    BucketId, ProducerEpoch, ProducerId, SegmentName, ShardId, Timestamp, TopicPartition,
};

use crate::batch::BatchHeader;

pub use error::{ManifestError, ReceiptError};
pub use receipt::{Outcome, Receipt, RefusalDetail};
pub use size::ManifestSize;

/// What a segment holds for one shard: the unit of commit.
///
/// A manifest from [`Manifest::decode`] or from a sealed segment satisfies [`Manifest::check`]; whoever
/// builds one by hand must see to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The segment.
    pub segment: SegmentName,
    /// The bucket that it lies in.
    pub bucket: BucketId,
    /// The shard whose owner commits it.
    pub shard: ShardId,
    /// The slices in the order of their positions; they do not overlap.
    pub slices: Vec<SliceEntry>,
}

/// The contiguous bytes of one partition in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEntry {
    /// The partition.
    pub partition: TopicPartition,
    /// The first byte in the segment.
    pub position: u32,
    /// The number of bytes: always the sum of the lengths of the batches.
    pub length: u32,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    /// The batches in the order of their bytes; at least one.
    pub batches: SmallVec<[BatchEntry; 1]>,
}

/// A batch in a slice, as its header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The number of bytes.
    pub length: u32,
    /// The number of records, which is the number of offsets that it takes; at least 1.
    pub record_count: u32,
    /// The producer; [`ProducerId::NONE`] if it is not idempotent.
    pub producer_id: ProducerId,
    /// The epoch of the producer; [`ProducerEpoch::NONE`] without one.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record; -1 without a producer and in control batches.
    pub base_sequence: i32,
    /// The smallest timestamp that the header states.
    pub min_timestamp: Timestamp,
    /// The largest timestamp that the header states.
    pub max_timestamp: Timestamp,
    /// The offset of the record with the largest timestamp, relative to the first: the last one, since
    /// records are not decoded.
    pub max_timestamp_offset_delta: u32,
    /// Part of a transaction.
    pub transactional: bool,
    /// Control records, not data.
    pub control: bool,
}

impl Manifest {
    /// How many batches all slices have together; the receipt has one outcome for each.
    pub fn batch_count(&self) -> usize {
        self.slices.iter().map(|slice| slice.batches.len()).sum()
    }

    /// The batches in the order of the receipt's outcomes, each with its partition.
    pub fn batches(&self) -> impl Iterator<Item = (TopicPartition, &BatchEntry)> {
        self.slices.iter().flat_map(|slice| {
            slice
                .batches
                .iter()
                .map(move |batch| (slice.partition, batch))
        })
    }
}

impl BatchEntry {
    /// Describes a batch by its header, which must have passed the checks of a
    /// [`BatchBuf`](crate::batch::BatchBuf).
    pub fn of(header: &BatchHeader) -> Self {
        let idempotent = header.producer_id.is_idempotent();
        let max = header.max_timestamp;
        // Where it is the time until which tombstones stay, it is no time of a record.
        let base = if header.attributes.has_delete_horizon() {
            max
        } else {
            header.base_timestamp
        };
        let offsets = header.offset_count();
        Self {
            length: header.size(),
            record_count: offsets,
            producer_id: if idempotent {
                header.producer_id
            } else {
                ProducerId::NONE
            },
            producer_epoch: if idempotent {
                header.producer_epoch
            } else {
                ProducerEpoch::NONE
            },
            base_sequence: if idempotent { header.base_sequence } else { -1 },
            min_timestamp: base.min(max),
            max_timestamp: base.max(max),
            max_timestamp_offset_delta: offsets.saturating_sub(1),
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
        }
    }

    /// The sequence that the next batch of this producer must have.
    pub fn next_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.record_count)
    }
}

/// The sequence `count` records later: after `2^31 - 1` comes 0, as in Kafka.
pub const fn sequence_after(sequence: i32, count: u32) -> i32 {
    let sum = sequence.cast_unsigned().wrapping_add(count);
    (sum & 0x7fff_ffff).cast_signed()
}
