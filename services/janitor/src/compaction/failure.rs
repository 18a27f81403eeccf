//! Why partitions are not compacted.

use thiserror::Error;
use tidelog_metadata_api::{LogError, MergeError};
use tidelog_types::Offset;

use super::clean::Uncleanable;
use crate::merge;

/// Why a task was let be. What was put in place before stays: the log is whole at any moment.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("the log cannot be looked up")]
    Log(#[from] LogError),
    #[error(transparent)]
    Uncleanable(#[from] Uncleanable),
    #[error("the extent at offset `{offset}` cannot be read: {reason}")]
    Damaged { offset: Offset, reason: String },
    #[error("the log has changed meanwhile")]
    Changed,
    #[error("the extents at offset `{0}` do not follow each other")]
    Gap(Offset),
    #[error("it could not be read or written")]
    Work(#[from] merge::Failure),
    #[error("the owner of the shard does not take it")]
    Owner(#[from] MergeError),
    #[error("the work on it failed, as the log says")]
    Panicked,
}

impl Failure {
    /// The label in metrics.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Log(_) => "lookup",
            Self::Uncleanable(_) => "records",
            Self::Damaged { .. } => "damaged",
            Self::Changed | Self::Gap(_) => "changed",
            Self::Work(failure) => failure.reason(),
            Self::Owner(MergeError::Gone) => "gone",
            Self::Owner(_) => "owner",
            Self::Panicked => "panicked",
        }
    }

    /// Whether it will most likely be the same again: the owner leaves the partition alone for a while.
    pub(super) const fn is_lasting(&self) -> bool {
        match self {
            Self::Log(_) | Self::Changed => false,
            Self::Work(failure) => matches!(
                failure,
                merge::Failure::Malformed { .. }
                    | merge::Failure::Unsupported { .. }
                    | merge::Failure::TooLarge { .. }
                    | merge::Failure::Layout(_)
                    | merge::Failure::Panicked
            ),
            Self::Owner(error) => matches!(error, MergeError::Malformed { .. }),
            Self::Uncleanable(_) | Self::Damaged { .. } | Self::Gap(_) | Self::Panicked => true,
        }
    }
}
