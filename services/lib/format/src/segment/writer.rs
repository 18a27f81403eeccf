//! Gathers batches for one segment.

use std::collections::BTreeMap;

use thiserror::Error;
use tidelog_types::limits::{SEGMENT_BYTES_MAX, SEGMENT_SLICES_MAX};
use tidelog_types::{
    BucketId, ClusterId, PartitionIndex, SegmentName, ShardId, TopicId, TopicPartition,
};

use super::seal::{self, SealedSegment};
use super::{HEADER_BYTES, Nonce, TRAILER_BYTES};
use crate::batch::BatchBuf;
use crate::manifest::{BatchEntry, ManifestSize};

/// What the footer takes at most for a slice whose topic has no other one.
const FOOTER_SLICE_BYTES_MAX: u64 = 16 + 10 + 5 + 5 + 5 + 5 + 4 + 5 + 5 + 10 + 10 + 10;

/// Which segment is being sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The bucket that it will lie in.
    pub bucket: BucketId,
    /// Its name.
    pub name: SegmentName,
    /// Which attempt to write it this is.
    pub nonce: Nonce,
}

/// Stands for a batch in a segment: they count from 0 in the order in which they were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchHandle(pub(super) u32);

impl BatchHandle {
    /// How many batches were pushed before.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a batch cannot join a segment; the segment is as it was, so it can be sealed and the batch
/// pushed to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PushError {
    /// The segment would pass 64 MiB.
    #[error("a segment has at most `{SEGMENT_BYTES_MAX}` bytes")]
    Bytes,
    /// The segment has slices of as many partitions as it may.
    #[error("a segment has slices of at most `{SEGMENT_SLICES_MAX}` partitions")]
    Slices,
    /// The partition is in the segment with another topic number or shard: it moved meanwhile.
    #[error("partition `{partition}` is in the segment with another topic number or shard")]
    Moved {
        /// The partition as it was pushed now.
        partition: TopicPartition,
    },
}

/// The batches of one partition, not yet placed.
#[derive(Debug)]
pub(super) struct OpenSlice {
    pub(super) partition: TopicPartition,
    pub(super) shard: ShardId,
    pub(super) batches: Vec<(BatchHandle, BatchEntry, BatchBuf)>,
}

/// Gathers batches for one segment. Batches are kept as they are, not copied; those of one partition
/// keep the order in which they were pushed.
///
/// What closes a segment is the caller's to decide from [`SegmentWriter::bytes`],
/// [`SegmentWriter::slice_count`] and [`SegmentWriter::manifest_bytes_max`]; only the limits of the
/// format are enforced here.
#[derive(Debug, Default)]
pub struct SegmentWriter {
    slices: BTreeMap<(TopicId, PartitionIndex), OpenSlice>,
    manifests: BTreeMap<ShardId, ManifestSize>,
    batch_bytes: u64,
    batch_count: u32,
    manifest_bytes_max: usize,
}

impl SegmentWriter {
    /// A segment without batches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch behind those of its partition.
    pub fn push(
        &mut self,
        topic_id: TopicId,
        partition: TopicPartition,
        shard: ShardId,
        batch: BatchBuf,
    ) -> Result<BatchHandle, PushError> {
        let key = (topic_id, partition.partition);
        let size = u64::from(batch.size());
        let open = self.slices.get(&key);
        let new_slice = open.is_none();
        if open.is_some_and(|open| open.partition != partition || open.shard != shard) {
            return Err(PushError::Moved { partition });
        }
        if new_slice && self.knows_otherwise(topic_id, partition) {
            return Err(PushError::Moved { partition });
        }
        if new_slice && self.slices.len() >= SEGMENT_SLICES_MAX as usize {
            return Err(PushError::Slices);
        }
        let footer = if new_slice { FOOTER_SLICE_BYTES_MAX } else { 0 };
        if self.bytes() + size + footer > u64::from(SEGMENT_BYTES_MAX) {
            return Err(PushError::Bytes);
        }
        let handle = BatchHandle(self.batch_count);
        let entry = BatchEntry::of(batch.header());
        let manifest = self.manifests.entry(shard).or_default();
        if new_slice {
            manifest.add_slice(partition);
        }
        let open = self.slices.entry(key).or_insert_with(|| OpenSlice {
            partition,
            shard,
            batches: Vec::new(),
        });
        manifest.add_batch(&entry, open.batches.last().map(|(_, before, _)| before));
        open.batches.push((handle, entry, batch));
        self.manifest_bytes_max = self.manifest_bytes_max.max(manifest.bytes());
        self.batch_bytes += size;
        // A batch has at least 61 bytes and all fit into a segment, so this cannot overflow.
        self.batch_count += 1;
        Ok(handle)
    }

    /// Whether another partition of the topic is here with another topic number.
    fn knows_otherwise(&self, topic_id: TopicId, partition: TopicPartition) -> bool {
        let sibling = self
            .slices
            .range((topic_id, PartitionIndex::default())..)
            .next();
        sibling.is_some_and(|((id, _), open)| {
            *id == topic_id && open.partition.topic != partition.topic
        })
    }

    /// Whether a partition has a slice.
    pub fn has_slice(&self, topic_id: TopicId, partition: PartitionIndex) -> bool {
        self.slices.contains_key(&(topic_id, partition))
    }

    /// The length that the object will have at most.
    pub fn bytes(&self) -> u64 {
        let ends = u64::from(HEADER_BYTES) + u64::from(TRAILER_BYTES) + 20;
        ends + self.batch_bytes + self.slices.len() as u64 * FOOTER_SLICE_BYTES_MAX
    }

    /// The bytes of the batches alone.
    pub const fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    /// How many partitions have a slice.
    pub fn slice_count(&self) -> usize {
        self.slices.len()
    }

    /// The shards that have a manifest.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.manifests.keys().copied()
    }

    /// How many batches were pushed.
    pub const fn batch_count(&self) -> usize {
        self.batch_count as usize
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.batch_count == 0
    }

    /// The bound of the largest manifest, of all shards.
    pub const fn manifest_bytes_max(&self) -> usize {
        self.manifest_bytes_max
    }

    /// The bound of the manifest of one shard; 0 if it has no batch here.
    pub fn manifest_bytes(&self, shard: ShardId) -> usize {
        self.manifests.get(&shard).map_or(0, ManifestSize::bytes)
    }

    /// Lays out the object. `None` if nothing was pushed: there is no empty segment.
    ///
    /// Takes `&self`, so that the same batches can be sealed again under another name.
    pub fn seal(&self, identity: &SegmentIdentity) -> Option<SealedSegment> {
        if self.is_empty() {
            None
        } else {
            Some(seal::seal(identity, self))
        }
    }

    pub(super) fn open_slices(&self) -> impl Iterator<Item = (TopicId, &OpenSlice)> {
        self.slices
            .iter()
            .map(|((topic_id, _), slice)| (*topic_id, slice))
    }
}
