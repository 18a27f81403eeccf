//! What was found in the bucket that the backup does not know.

use std::collections::BTreeMap;

use tidelog_types::{
    SegmentName, ShardId, Timestamp, TopicId, TopicName, TopicNumber, TopicPartition,
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
    pub(super) shard: ShardId,
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
