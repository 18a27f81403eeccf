//! Errors of the metadata service, one enum an operation. Each says what a caller may do.

use thiserror::Error;
use tidelog_types::{
    ErrorCode, Offset, OffsetRange, ProducerEpoch, ProducerId, SegmentName, SegmentSequence,
    TopicId, TopicName, TopicNameError, TopicPartition,
};

use crate::ConfigError;

/// Why a manifest as a whole has no outcomes. Refusals of single batches are outcomes, not errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Definite: nothing was committed, and nothing ever will be under this name. The broker, which
    /// still has the bytes, uploads them under a new sequence.
    #[error("segment sequence is below the floor `{floor}` of its incarnation")]
    BelowFloor {
        /// The lowest sequence that is still taken.
        floor: SegmentSequence,
    },
    /// Definite for now: nothing was committed, since a segment that comes first is not. Ask again once it
    /// is, under the same name.
    #[error("segment `{after}` is to be committed first")]
    Early {
        /// The first such segment.
        after: SegmentName,
    },
    /// Definite: nothing is known under this name, and nothing ever will be. The writer's incarnation has
    /// ended: its process must register anew.
    #[error("the incarnation of the segment's writer has ended")]
    WriterEnded,
    /// This process does not own the shard any more. What becomes of the commit, the new owner knows.
    #[error("this process no longer owns the shard")]
    NotOwner,
    /// It is not known yet whether the commit happened. Ask again under the same name.
    #[error("the outcome of the commit is not known yet")]
    Unknown,
    /// The store takes the bytes of no segment now, since too many of them have yet to be moved out of it. Nothing was
    /// committed, as far as this owner knows: put the segment into a bucket **under the same name**, and ask again. An
    /// earlier attempt that is still on its way then has the one receipt or the other, and no batch is there twice.
    #[error("the store has too many segments that are not moved yet")]
    NotInline,
    /// The metadata service cannot take commits now. Ask again under the same name.
    #[error("the metadata service takes no commits now: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// The manifest breaks a rule of the format: a bug of the sender.
    #[error("the manifest is refused: {reason}")]
    Malformed {
        /// Which rule.
        reason: String,
    },
}

impl CommitError {
    /// Whether the same commit may be asked for again, and whether it may have happened already.
    pub const fn may_ask_again(&self) -> bool {
        matches!(
            self,
            Self::Early { .. } | Self::NotOwner | Self::Unknown | Self::Unavailable { .. }
        )
    }

    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::BelowFloor { .. }
            | Self::Early { .. }
            | Self::Unknown
            | Self::NotInline
            | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::NotOwner | Self::WriterEnded => ErrorCode::Fenced,
            Self::Malformed { .. } => ErrorCode::Internal,
        }
    }
}

/// Why a question about a partition's log has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// No such partition, or its topic is deleted.
    #[error("partition `{0}` does not exist")]
    UnknownPartition(TopicPartition),
    /// The offset is not in the log.
    #[error("offset `{offset}` is outside the log {valid}; read from an offset in that range")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// From the log start offset to the high watermark.
        valid: OffsetRange,
    },
    /// The state that the caller's token names was not reached in time.
    #[error("this process has not yet seen the writes that the read token names")]
    Behind,
    /// This process does not own the shard any more.
    #[error("this process no longer owns the shard")]
    NotOwner,
    /// The metadata service cannot answer now.
    #[error("the metadata service is unavailable: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// Stored metadata cannot be read.
    #[error("stored metadata is damaged: {reason}")]
    Corrupt {
        /// Which row, and how.
        reason: String,
    },
    /// The fencing token given is not the one that holds.
    #[error("the fencing token does not match the partition's")]
    FencingTokenMismatch,
    /// A marker of an operator ends nothing.
    #[error("producer `{0}` has no open transaction in the partition")]
    NoTransaction(ProducerId),
    /// A marker of an operator names an older epoch of the producer than the partition has seen.
    #[error("the producer's epoch in the partition is `{0}`, and an older one is fenced")]
    ProducerFenced(ProducerEpoch),
    /// A marker of an operator names an older epoch of the coordinator than the partition has seen.
    #[error("the epoch of the producer's coordinator is `{0}`, and an older one is fenced")]
    CoordinatorFenced(i32),
}

impl LogError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition(_) => ErrorCode::UnknownPartition,
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Behind | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::NotOwner | Self::CoordinatorFenced(_) => ErrorCode::Fenced,
            Self::Corrupt { .. } => ErrorCode::DataLoss,
            Self::FencingTokenMismatch => ErrorCode::FencingTokenMismatch,
            Self::NoTransaction(_) => ErrorCode::InvalidTransaction,
            Self::ProducerFenced(_) => ErrorCode::ProducerFenced,
        }
    }
}

/// Why a change or a question about topics failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// No live topic has this name.
    #[error("topic `{0}` does not exist; `tidelog topic list` shows those that do")]
    UnknownTopic(TopicName),
    /// No topic has this id.
    #[error("no topic has the id `{0}`")]
    UnknownTopicId(TopicId),
    /// The topic was deleted too long ago.
    #[error("topic `{0}` is being purged: the time in which it could be brought back is over")]
    Purging(TopicName),
    /// A live topic has this name.
    #[error("topic `{0}` exists already")]
    TopicExists(TopicName),
    /// The name cannot be a topic's.
    #[error(transparent)]
    InvalidName(#[from] TopicNameError),
    /// A key or value of the configuration is not allowed.
    #[error(transparent)]
    InvalidConfig(#[from] ConfigError),
    /// The partition count is not allowed.
    #[error("the partition count `{asked}` is not allowed: {reason}")]
    InvalidPartitions {
        /// What was asked for.
        asked: u32,
        /// The rule.
        reason: &'static str,
    },
    /// The page token is not one of ours.
    #[error("the page token is not one that this service gave out")]
    InvalidPageToken,
    /// This process does not own the catalogue any more.
    #[error("this process no longer owns the metadata")]
    NotOwner,
    /// The metadata service cannot answer now.
    #[error("the metadata service is unavailable: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// The change may or may not have been made; look before trying again.
    #[error("the outcome of the change is not known; describe the topic before trying again")]
    Unknown,
    /// Stored metadata cannot be read.
    #[error("stored metadata is damaged: {reason}")]
    Corrupt {
        /// Which row, and how.
        reason: String,
    },
}

impl CatalogueError {
    /// The code for callers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopic(_) | Self::UnknownTopicId(_) | Self::Purging(_) => {
                ErrorCode::UnknownTopic
            }
            Self::TopicExists(_) => ErrorCode::TopicExists,
            Self::InvalidName(_) => ErrorCode::InvalidTopicName,
            Self::InvalidConfig(_) => ErrorCode::InvalidConfig,
            Self::InvalidPartitions { .. } | Self::InvalidPageToken => ErrorCode::InvalidArgument,
            Self::NotOwner => ErrorCode::Fenced,
            Self::Unavailable { .. } | Self::Unknown => ErrorCode::Unavailable,
            Self::Corrupt { .. } => ErrorCode::DataLoss,
        }
    }
}
