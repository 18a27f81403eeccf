//! What was found in the bucket that the backup does not know.

use std::collections::BTreeMap;

use tidelog_types::{
    BucketId, SegmentName, ShardId, Timestamp, TopicId, TopicName, TopicNumber, TopicPartition,
};

use super::Unmerged;
use super::chain::Piece;

/// A topic as merged segments tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundTopic {
    pub(super) id: TopicId,
    pub(super) name: TopicName,
    /// How many partitions it had at last.
    pub(super) partition_count: u32,
    /// When the first of what was found of it was merged.
    pub(super) since: Timestamp,
    /// The segment that told of it last.
    pub(super) segment: SegmentName,
}

/// A partition as merged segments tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundPartition {
    pub(super) pieces: Vec<Piece>,
    /// The shard that they say, and a segment that says so. None is said where they contradict each other.
    pub(super) shard: Option<(ShardId, SegmentName)>,
    pub(super) contradicts: bool,
    /// What was written and not merged, in the order of the names of segments; only if it is asked for.
    pub(super) unmerged: Vec<UnmergedSlice>,
}

impl FoundPartition {
    /// A segment says that the partition is in a shard.
    pub(super) fn says(&mut self, shard: ShardId, segment: SegmentName) {
        let (known, _) = *self.shard.get_or_insert((shard, segment));
        self.contradicts |= known != shard;
    }
}

/// The bytes of a partition in a segment that was not merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnmergedSlice {
    pub(super) bucket: BucketId,
    pub(super) segment: SegmentName,
    pub(super) position: u32,
    pub(super) length: u32,
    pub(super) crc32c: u32,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) topics: BTreeMap<TopicNumber, FoundTopic>,
    pub(super) partitions: BTreeMap<TopicPartition, FoundPartition>,
    pub(super) merged: u64,
    pub(super) unmerged: Unmerged,
    pub(super) unreadable: Vec<(SegmentName, String)>,
}
