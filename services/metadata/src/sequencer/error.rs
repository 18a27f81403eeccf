//! What ends or delays the work of a sequencer.

use thiserror::Error;
use tidelog_store::{CommitError as StoreCommitError, Retry, StoreError};

use crate::generation::{CheckError, Refusal};
use crate::keyspace::RowError;

/// Why a step of a sequencer failed.
#[derive(Debug, Error)]
pub(crate) enum SequencerError {
    /// The store did not answer a read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The store did not commit, or did not say so.
    #[error(transparent)]
    Commit(#[from] StoreCommitError),
    /// A stored row is damaged.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The lease row names another owner or another epoch.
    #[error("the lease names another owner")]
    LeaseLost,
}

impl From<CheckError> for SequencerError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Read(error) => Self::Read(error),
            CheckError::Refused(Refusal::Row(error)) => Self::Row(error),
            // A restore leaves nobody a lease.
            CheckError::Refused(Refusal::Ended(_)) => Self::LeaseLost,
        }
    }
}

/// What a sequencer does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Settle, reread, assign again.
    Recover,
    /// Nothing happened; wait, then as above.
    Wait,
    /// End: another owns the shard.
    Fenced,
    /// End: the store or its contents are unusable.
    Broken,
}

impl SequencerError {
    /// Whether nothing was written, nor will be, and the same may be tried again at once with what holds now.
    pub(crate) const fn left_no_trace(&self) -> bool {
        matches!(
            self,
            Self::Read(StoreError::TooOld)
                | Self::Commit(StoreCommitError::Conflict | StoreCommitError::TooOld)
        )
    }

    pub(crate) fn next(&self) -> Next {
        let retry = match self {
            Self::LeaseLost
            | Self::Read(StoreError::Fenced)
            | Self::Commit(StoreCommitError::Fenced) => return Next::Fenced,
            Self::Row(_) => return Next::Broken,
            Self::Read(error) => error.retry(),
            Self::Commit(error) => error.retry(),
        };
        match retry {
            Retry::Again | Retry::Settle => Next::Recover,
            Retry::Later => Next::Wait,
            Retry::Never => Next::Broken,
        }
    }
}
