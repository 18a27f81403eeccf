//! Why merges fail.

use thiserror::Error;
use tidelog_blob::object_store;
use tidelog_format::segment::WriteError;
use tidelog_metadata_api::MergeError;
use tidelog_types::{Incarnation, Offset, SegmentName, TopicPartition};

/// Why a task was let be. What was swapped before stays.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("the task makes no sense: {reason}")]
    Malformed { reason: String },
    #[error(
        "extents of a kind that this version cannot read, at offset `{offset}` of `{partition}`"
    )]
    Unsupported {
        partition: TopicPartition,
        offset: Offset,
    },
    #[error(
        "it needs `{needed}` bytes of memory, `{memory}` are there; raise `memory.total`, or lower `metadata.merge_bytes`"
    )]
    TooLarge { needed: u64, memory: u64 },
    #[error("segment `{0}` cannot be read")]
    Read(SegmentName, #[source] object_store::Error),
    #[error("what was read cannot be written")]
    Layout(#[from] WriteError),
    #[error("segment `{0}` was not stored")]
    Put(SegmentName, #[source] object_store::Error),
    #[error("objects that are not ours lie under our names, `{0}` the last of them")]
    Foreign(SegmentName),
    #[error("the owner of the shard does not take it")]
    Owner(#[source] MergeError),
    #[error("the work on it failed, as the log says")]
    Panicked,
}

impl Failure {
    /// The label in metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::Layout(_) => "malformed",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } => "too_large",
            Self::Read(..) => "read",
            Self::Put(..) => "write",
            Self::Foreign(_) => "foreign",
            Self::Owner(MergeError::Gone) => "gone",
            Self::Owner(_) => "owner",
            Self::Panicked => "panicked",
        }
    }

    /// The writer that has ended, if that is why.
    pub(super) const fn ended_writer(&self) -> Option<Incarnation> {
        match self {
            Self::Owner(MergeError::BelowFloor(name)) => Some(name.incarnation),
            _ => None,
        }
    }

    /// Whether it is nothing that anybody need look at: another owner sees to it.
    pub(super) const fn is_usual(&self) -> bool {
        matches!(self, Self::Owner(MergeError::Gone))
    }
}

/// Why the bytes of an extent cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The object is not there.
    Missing,
    /// The bytes are not those that were written (invariant I6).
    Damaged(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("the object is missing"),
            Self::Damaged(reason) => f.write_str(reason),
        }
    }
}
