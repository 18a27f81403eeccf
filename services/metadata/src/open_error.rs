//! Why the service cannot be opened.

use thiserror::Error;
use tidelog_store::{CommitError, StoreError, TransactError};
use tidelog_types::ClusterId;

use crate::generation::Refusal;
use crate::keyspace::RowError;
use crate::sequencer::SequencerError;

/// Why the metadata service did not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store does not answer.
    #[error("the metadata store cannot be read")]
    Read(#[source] StoreError),
    /// The store does not commit.
    #[error("the metadata store cannot be written")]
    Commit(#[source] CommitError),
    /// A stored row is damaged.
    #[error("stored metadata is damaged")]
    Row(#[source] RowError),
    /// The store belongs to another cluster.
    #[error("the metadata store belongs to cluster `{found}`, not to `{wanted}`")]
    WrongCluster {
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        wanted: ClusterId,
    },
    /// A restore into the store has not ended: rows are missing.
    #[error("the restore of `{backup}` into the metadata store has not ended: run it again")]
    HalfRestored {
        /// The backup.
        backup: String,
    },
    /// Another process took a shard, or restored the store, while this one was opening.
    #[error("another process took over while this one was opening")]
    Fenced,
}

impl OpenError {
    pub(crate) fn sequencer(error: SequencerError) -> Self {
        match error {
            SequencerError::Read(StoreError::Fenced)
            | SequencerError::Commit(CommitError::Fenced)
            | SequencerError::LeaseLost => Self::Fenced,
            SequencerError::Read(error) => Self::Read(error),
            SequencerError::Commit(error) => Self::Commit(error),
            SequencerError::Row(error) => Self::Row(error),
        }
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Ended(_) => Self::Fenced,
            Refusal::Row(error) => Self::Row(error),
        }
    }
}

impl From<TransactError<Self>> for OpenError {
    fn from(error: TransactError<Self>) -> Self {
        match error {
            TransactError::Abort(error) => error,
            TransactError::Read(StoreError::Fenced)
            | TransactError::Commit(CommitError::Fenced) => Self::Fenced,
            TransactError::Read(error) => Self::Read(error),
            TransactError::Commit(error) => Self::Commit(error),
        }
    }
}
