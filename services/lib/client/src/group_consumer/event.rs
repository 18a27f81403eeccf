//! What a group consumer tells its caller.

use thiserror::Error;
use tidelog_api::ApiError;
use tidelog_types::ErrorCode;

use crate::{Chunk, ClientError};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// The caller has more partitions, each with the offset at which reading begins.
    Assigned(Vec<(GroupPartition, u64)>),
    /// Partitions are taken away. The caller commits what it has done of them; the next call lets go of them.
    Revoked(Vec<GroupPartition>),
    /// Partitions are gone: what was not committed comes again, here or to another member.
    Lost(Vec<GroupPartition>),
    /// Records of a partition.
    Chunk {
        /// The topic.
        topic: String,
        /// The records.
        chunk: Chunk,
    },
}

/// Why there is nothing, or something was not done.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// One partition cannot be read any further, until the caller seeks; the others go on.
    #[error("partition `{}` of `{}` cannot be read: {error}", .partition.partition, .partition.topic)]
    Partition {
        /// The partition.
        partition: GroupPartition,
        /// Why.
        #[source]
        error: ApiError,
    },
    /// Some offsets were not committed. [`ErrorCode::Fenced`]: the partition is not the caller's any more.
    #[error("{} offsets were not committed, the first because: {}", .failed.len(), first(.failed))]
    NotCommitted {
        /// Which, and why.
        failed: Vec<(GroupPartition, ApiError)>,
    },
    /// The stream broke before the answer to a commit came: it may have been done. All partitions are lost.
    #[error("the stream broke before the commit was answered")]
    Broken,
    /// The group cannot be read, after the retries that make sense. A later call tries again.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl SubscribeError {
    /// The code of the service, if it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Partition { error, .. } => Some(error.code),
            Self::NotCommitted { failed } => failed.first().map(|(_, error)| error.code),
            Self::Broken => None,
            Self::Client(error) => error.code(),
        }
    }
}

fn first(failed: &[(GroupPartition, ApiError)]) -> &str {
    failed
        .first()
        .map_or("", |(_, error)| error.message.as_str())
}
