//! What is asked of the read path, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidelog_metadata_api::{AbortedTransaction, LogError, PartitionBounds};
use tidelog_types::{ErrorCode, Offset, TopicPartition};

use super::Isolation;
use super::batches::Batches;
use super::reads::ReadError;
use crate::decoding::RecordsEstimate;
use crate::memory::MemoryHold;

/// What is wanted of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
    /// No more bytes than this, but for a first batch that is larger.
    pub bytes_max: u64,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The partitions. Each has its own answer, in the same order.
    pub partitions: Vec<FetchPartition>,
    /// No more bytes than this in all, but for a first batch that is larger.
    pub bytes_max: u64,
    /// Wait until there are so many bytes; with 0 or 1 any record will do, with 0 nothing is waited for.
    pub bytes_min: u64,
    /// But no longer than this.
    pub wait_max: Duration,
    /// Which records the reader sees of transactions. Who waits, waits for more of these.
    pub isolation: Isolation,
}

/// What was found in one partition.
#[derive(Clone, Debug)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Its bounds.
    pub bounds: PartitionBounds,
    /// Whole batches, one behind the other, with their offsets. The first may begin before the offset
    /// that was asked for. Markers of transactions are among them, as control batches.
    pub batches: Batches,
    /// The offset after the last record here, or the one asked for.
    pub next_offset: Offset,
    /// The aborted transactions that have records among the batches, in the order of their markers. A transactional
    /// batch of such a producer, from the first offset up to the marker, is not for a reader of what is committed.
    /// Empty for those who read [`Isolation::Uncommitted`].
    pub aborted: Arc<[AbortedTransaction]>,
    /// What the batches hold.
    pub estimate: RecordsEstimate,
    /// Whether a batch is part of a transaction or its marker.
    pub(super) is_transactional: bool,
}

/// Why one partition has no answer. The others have theirs.
#[derive(Clone, Debug, Error)]
pub enum FetchError {
    /// The metadata service says no.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bytes cannot be had.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Log(error) => error.code(),
            Self::Read(ReadError::Missing { .. } | ReadError::Damaged { .. }) => {
                ErrorCode::DataLoss
            }
            Self::Read(ReadError::Bucket { .. }) => ErrorCode::Unavailable,
            Self::Read(ReadError::Unsupported(_)) => ErrorCode::Unsupported,
        }
    }
}

/// What was found in one partition, or why nothing was.
pub type FoundPartition = Result<FetchedPartition, (TopicPartition, FetchError)>;

/// An answer. The memory it takes is held until it is dropped; what it keeps of pages, until the last piece
/// of them is dropped.
#[derive(Debug)]
pub struct Fetched {
    /// One per partition asked for, in the same order.
    pub partitions: Vec<FoundPartition>,
    pub(super) hold: Option<MemoryHold>,
}

impl Fetched {
    /// What was found, and the memory of what was copied for it, to be held for as long as it is there.
    pub fn into_parts(self) -> (Vec<FoundPartition>, Option<MemoryHold>) {
        (self.partitions, self.hold)
    }

    /// Bytes of batches in all.
    pub fn bytes(&self) -> u64 {
        self.partitions
            .iter()
            .flatten()
            .map(|found| found.batches.len() as u64)
            .sum()
    }

    /// The bounds that this answer has seen.
    pub(super) fn ends(&self) -> Vec<(TopicPartition, PartitionBounds)> {
        let found = self.partitions.iter().flatten();
        found.map(|found| (found.partition, found.bounds)).collect()
    }

    /// Whether a partition has an error.
    pub(super) fn has_error(&self) -> bool {
        self.partitions.iter().any(Result::is_err)
    }
}
