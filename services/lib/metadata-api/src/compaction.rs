//! Key compaction: of the records of a key the last one stays. The owner of a shard says which partitions are due, a
//! janitor reads the log and writes what stays, and the owner puts it in the place of what was.

use std::fmt;

use async_trait::async_trait;
use tidelog_types::{BucketId, Offset, SegmentName, Timestamp, TopicId, TopicName, TopicPartition};

use crate::{Extent, MergeError, MergeId, SwapOutcome};

/// A partition that is to be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionTask {
    /// Its name. The numbers are the owner's own, beside those of merges.
    pub id: MergeId,
    /// The topic, by the name that is never reused.
    pub topic_id: TopicId,
    /// The topic's name now.
    pub topic_name: TopicName,
    /// How many partitions the topic has now.
    pub partition_count: u32,
    /// The partition.
    pub partition: TopicPartition,
    /// The bucket that its segments belong in.
    pub bucket: BucketId,
    /// Where the log starts, or an offset below that.
    pub start: Offset,
    /// Up to here it was compacted before, and everything could be read.
    pub cleaned: Offset,
    /// Up to here it is to be compacted: all of it is merged, no transaction is open below, and an extent ends there.
    pub end: Offset,
    /// How long tombstones stay that compaction has reached.
    pub tombstones_millis: i64,
    /// Records of so many milliseconds share an extent at most, which retention takes as a whole; none where nothing goes
    /// by time.
    pub span_millis: Option<i64>,
    /// The commit time of the last extent.
    pub committed_at: Timestamp,
    /// The owner's time when it was lent: what is over by then may go.
    pub now: Timestamp,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Up to here the partition is compacted.
    pub cleaned: Offset,
    /// The bytes of its log up to there.
    pub bytes: u64,
    /// When the last of its tombstones may go; none if it has none.
    pub tombstones_until: Option<Timestamp>,
    /// The first batch that could not be read, if there is one. Whatever is behind it may have a later record of a key in it:
    /// the next task takes note of the keys from there on once more.
    pub unread: Option<Offset>,
}

/// Extents that one call of [`Compactions::replace`] names at most, old and new together.
pub const REPLACED_EXTENTS_MAX: usize = 8_192;

/// Who says what is to be compacted: the owners of shards.
#[async_trait]
pub trait Compactions: fmt::Debug + Send + Sync + 'static {
    /// Waits until a partition is due, and lends it for half a minute to the caller, who should compact it and hold it
    /// meanwhile, or let it be.
    /// While none is due, nothing is asked of anybody.
    async fn next_compaction(&self) -> Result<CompactionTask, MergeError>;

    /// Puts extents of a segment, which is durable under its name, in the place of those that they were made of, and
    /// lends the task for half a minute more. Durable when answered. Asking again is safe.
    async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError>;

    /// Takes note of how far the partition is compacted; durable when answered. `is_last` ends the task.
    async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError>;

    /// Holds the task: it is lent to nobody else for half a minute from now on. With a reason it is given up, since the partition cannot be compacted.
    async fn hold_compaction(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError>;
}
