//! Why a backup or a restore fails, an enum for each.

use thiserror::Error;
use tidelog_blob::BackupName;
use tidelog_store::{CommitError, StoreError, TransactError};
use tidelog_types::{ClusterGeneration, ClusterId, GroupNumber, ShardId, TopicPartition};

use super::objects::ObjectError;
use crate::keyspace::RowError;

/// Why a backup was not taken. Nothing of it remains then, unless the bucket could not be reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[from] StoreError),
    /// A row is damaged: a backup of it would be, too.
    #[error("stored metadata is damaged")]
    Row(#[from] RowError),
    /// The bucket failed, or has a backup of this name.
    #[error("the backup cannot be written")]
    Object(#[from] ObjectError),
    /// There is nothing to back up.
    #[error("the metadata store holds no cluster")]
    Empty,
    /// The store belongs to another cluster.
    #[error("the metadata store belongs to cluster `{found}`, the bucket to `{wanted}`")]
    WrongCluster {
        /// Whose store it is.
        found: ClusterId,
        /// Whose bucket it is.
        wanted: ClusterId,
    },
    /// The store is half restored.
    #[error("the restore of `{0}` into the metadata store has not ended")]
    Unfinished(String),
    /// The pages of a partition could not be read as of one moment.
    #[error("the pages of partition `{partition}` change faster than they are read: try again")]
    Torn {
        /// Whose.
        partition: TopicPartition,
    },
    /// Entries of a tail went while it was read.
    #[error("the tail of shard `{shard}` goes on with group `{found}` after `{after}`: try again")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The last group before the gap.
        after: GroupNumber,
        /// The group after it.
        found: GroupNumber,
    },
    /// The store was restored while it was read.
    #[error("the cluster went from generation `{before}` to `{after}` meanwhile: try again")]
    Restored {
        /// The generation at the begin.
        before: ClusterGeneration,
        /// The generation at the end.
        after: ClusterGeneration,
    },
}

/// Why a restore failed. What it had begun must be begun again; the store is refused until then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup is not whole.
    #[error("the backup `{name}` cannot be used")]
    Backup {
        /// Its name.
        name: BackupName,
        /// Why not.
        source: Box<ObjectError>,
    },
    /// A row of the backup, or one that was in the store, cannot be understood.
    #[error("a row is damaged")]
    Row(#[from] RowError),
    /// The bucket does not take note of the new generation.
    #[error("the new generation cannot be taken")]
    Claim(#[source] ObjectError),
    /// The store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[source] StoreError),
    /// The store does not commit.
    #[error("the metadata store cannot be written")]
    Commit(#[source] CommitError),
    /// There are rows, and nobody said that they may go.
    #[error("the metadata store is not empty: `--wipe` deletes what is there first")]
    NotEmpty,
    /// Other processes use the store.
    #[error("the metadata store is in use: stop all metadata processes first")]
    InUse,
    /// Another restore has begun meanwhile.
    #[error("another restore of the metadata store has begun meanwhile")]
    Superseded,
    /// A number is at its end.
    #[error("{0} cannot go up any further")]
    Exhausted(&'static str),
}

impl From<StoreError> for RestoreError {
    fn from(error: StoreError) -> Self {
        Self::Read(error)
    }
}

impl From<TransactError<Self>> for RestoreError {
    fn from(error: TransactError<Self>) -> Self {
        match error {
            TransactError::Abort(error) => error,
            TransactError::Read(error) => Self::Read(error),
            TransactError::Commit(error) => Self::Commit(error),
        }
    }
}

/// Why a restore was not accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// There is none.
    #[error("no restore waits to be accepted")]
    None,
    /// It has not ended.
    #[error("the restore of `{0}` has not ended: run it again")]
    Unfinished(String),
    /// Its row is damaged.
    #[error("stored metadata is damaged")]
    Row(#[from] RowError),
    /// The store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[source] StoreError),
    /// The store does not commit.
    #[error("the metadata store cannot be written")]
    Commit(#[source] CommitError),
    /// The bucket failed, through which whoever has the store is asked.
    #[error("the bucket cannot take note of it, or tell")]
    Object(#[from] ObjectError),
}

impl From<PendingError> for AcceptError {
    fn from(error: PendingError) -> Self {
        match error {
            PendingError::Read(error) => Self::Read(error),
            PendingError::Row(error) => Self::Row(error),
        }
    }
}

impl From<TransactError<Self>> for AcceptError {
    fn from(error: TransactError<Self>) -> Self {
        match error {
            TransactError::Abort(error) => error,
            TransactError::Read(error) => Self::Read(error),
            TransactError::Commit(error) => Self::Commit(error),
        }
    }
}

/// Why it is not known whether a restore waits to be accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PendingError {
    /// The store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[from] StoreError),
    /// Its row is damaged.
    #[error("stored metadata is damaged")]
    Row(#[from] RowError),
}
