//! Merging: many small extents of a shard become few large ones in one object. The owner of the shard says what is to
//! be merged, a janitor makes the object, and the owner puts it in the place of what was merged.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use tidelog_types::{
    BucketId, OffsetRange, SegmentName, ShardId, Timestamp, TopicId, TopicName, TopicPartition,
};

use crate::Extent;

/// Which task it is. The owner of the shard makes it up; another owner does not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MergeId {
    /// The shard of all its partitions.
    pub shard: ShardId,
    /// The epoch of the owner's lease.
    pub epoch: u64,
    /// Which task of the owner, from 1.
    pub number: u64,
}

/// What one merged segment is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeTask {
    /// Its name.
    pub id: MergeId,
    /// The bucket that the merged segment belongs in.
    pub bucket: BucketId,
    /// Bytes of all extents.
    pub bytes: u64,
    /// The commit time of the last of them.
    pub committed_at: Timestamp,
    /// What to merge, in the order of topic ids and partitions; each partition once.
    pub runs: Vec<MergeRun>,
    /// In place of runs: merged segments of which little is named any more. The owner wants to be told what their indexes
    /// say, and makes tasks of what is left of them.
    pub sparse: Vec<SegmentName>,
}

/// A run of extents of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRun {
    /// The topic, by the name that is never reused.
    pub topic_id: TopicId,
    /// The topic's name now, for whoever reads the object without the store.
    pub topic_name: TopicName,
    /// How many partitions the topic has now, likewise.
    pub partition_count: u32,
    /// The partition.
    pub partition: TopicPartition,
    /// At least one; each begins where the one before ends. Markers are among them.
    pub extents: Vec<Extent>,
}

impl MergeRun {
    /// The offsets of all its extents; nothing if it has none.
    pub fn offsets(&self) -> Option<OffsetRange> {
        let (first, last) = self.extents.first().zip(self.extents.last())?;
        Some(OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        })
    }
}

/// What a run has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedRun {
    /// The partition.
    pub partition: TopicPartition,
    /// Extents in the merged segment that have exactly the offsets of the run; each begins where the one before ends.
    pub extents: Vec<Extent>,
}

/// What the index of a merged segment says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedSlice {
    /// The partition.
    pub partition: TopicPartition,
    /// The offsets of all its extents in the segment.
    pub offsets: OffsetRange,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    /// Readers find the merged segment now. Durable.
    Swapped,
    /// The log of the partition has changed meanwhile, or it lies below the log start by now: the merged bytes of this
    /// run are not needed.
    Changed,
}

/// Why a merge does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// The task was given up: its owner has changed, or its time was over. What was swapped stays.
    #[error("the merge is not known: its shard has another owner, or its time was over")]
    Gone,
    /// The name of the merged segment is dead: the floor of its writer is above it, or the writer has ended.
    #[error("the merged segment `{0}` is below the floor of its writer")]
    BelowFloor(SegmentName),
    /// The request makes no sense.
    #[error("the merge is malformed: {reason}")]
    Malformed {
        /// What does not fit.
        reason: String,
    },
    /// It is not known what became of it. Asking again is safe.
    #[error("the metadata service is out of reach: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// How often a janitor says that it is still at a task. One that has not said so a few times has died, or cannot be heard.
pub const MERGE_KEEP_EVERY: Duration = Duration::from_secs(5);

/// Runs that one call of [`Merges::swap`] takes at most.
pub const SWAP_RUNS_MAX: usize = 64;

/// Slices that one call of [`Merges::describe`] takes at most.
pub const DESCRIBED_SLICES_MAX: usize = 512;

/// Who gives out merges: the owners of shards.
#[async_trait]
pub trait Merges: fmt::Debug + Send + Sync + 'static {
    /// Waits until something is to be merged, and lends it for half a minute to the caller, who should merge it and
    /// keep it meanwhile, or let it be. While nothing is to be merged, nothing is asked of anybody.
    async fn next(&self) -> Result<MergeTask, MergeError>;

    /// Says that the caller is still at a task: it is lent to nobody else for half a minute from now on.
    async fn keep(&self, id: MergeId) -> Result<(), MergeError>;

    /// Puts runs of a merged segment, which is durable under its name, in the place of what they were made of: at most
    /// [`SWAP_RUNS_MAX`] at a time, one outcome for each, in order. Durable when answered. Asking again is safe.
    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError>;

    /// Tells what the index of a sparse segment of the task says, at most [`DESCRIBED_SLICES_MAX`] slices at a time, and
    /// keeps the task. What is said of another segment than those is refused. Asking again is safe.
    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError>;

    /// All runs of the task were swapped, or are not to be; or all sparse segments were described that could be.
    async fn finish(&self, id: MergeId) -> Result<(), MergeError>;

    /// A segment of a task that lies in the store: as [`Log::inline_segment`](crate::Log::inline_segment).
    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, MergeError>;
}
