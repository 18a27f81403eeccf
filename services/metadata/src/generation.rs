//! The generation of the cluster that a process was opened in. A restore begins another one, in which a
//! process that slept meanwhile may change nothing (invariant I4).
//!
//! What a shard's owner changes is proved by its lease, of which a restore leaves nothing (rule C1). All
//! other changes, of topics, counters, floors and members, read the row of the cluster in the same way: in
//! the transaction itself.

use std::fmt;

use thiserror::Error;
use tidelog_metadata_api::{CatalogueError, ClusterError, LogError};
use tidelog_store::{ReadMode, StoreError, TransactError, Transaction};
use tidelog_types::ClusterGeneration;
use tokio::sync::watch;

use crate::keyspace::{ClusterRow, Keyspace, RowError};

/// The store does not hold the generation any more that this process was opened in, and never will again.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationEnded {
    /// A restore has begun, and has not ended when this was found out.
    #[error(
        "the metadata store is being restored, and this process is of generation `{known}`, which was \
         before: start it again when the restore has ended"
    )]
    Restoring {
        /// That of this process.
        known: ClusterGeneration,
    },
    /// The store was restored.
    #[error(
        "the metadata store was restored: it is in generation `{found}` of the cluster, and this process \
         is of generation `{known}`: start it again"
    )]
    Restored {
        /// That of this process.
        known: ClusterGeneration,
        /// That of the store.
        found: ClusterGeneration,
    },
}

/// Why nothing may be changed.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Ended(GenerationEnded),
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Why it is not known that something may be changed.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The generation that this process knows. Clones hear together that it has ended.
#[derive(Clone)]
pub(crate) struct Generation {
    keys: Keyspace,
    number: ClusterGeneration,
    ended: watch::Sender<Option<GenerationEnded>>,
}

impl Generation {
    pub(crate) fn new(keys: Keyspace, number: ClusterGeneration) -> Self {
        Self {
            keys,
            number,
            ended: watch::Sender::new(None),
        }
    }

    pub(crate) const fn keys(&self) -> Keyspace {
        self.keys
    }

    pub(crate) const fn number(&self) -> ClusterGeneration {
        self.number
    }

    /// Fails in every generation but this one. The value shows a restore that began before the transaction,
    /// and the serializable read lets the commit conflict with one that begins later.
    pub(crate) async fn check(&self, transaction: &mut dyn Transaction) -> Result<(), CheckError> {
        let value = transaction
            .get(&self.keys.cluster(), ReadMode::Serializable)
            .await?;
        let row = value.map(ClusterRow::decode).transpose();
        let row = row.map_err(Refusal::Row)?;
        let known = self.number;
        let ended = match row.map(|row| row.generation) {
            Some(found) if found == known => return Ok(()),
            Some(found) => GenerationEnded::Restored { known, found },
            None => GenerationEnded::Restoring { known },
        };
        self.end(ended);
        Err(Refusal::Ended(ended).into())
    }

    /// Takes note of the end, and says so once.
    fn end(&self, ended: GenerationEnded) {
        let is_first = self.ended.send_if_modified(|before| {
            let is_first = before.is_none();
            before.get_or_insert(ended);
            is_first
        });
        if is_first {
            let error = &ended as &dyn std::error::Error;
            tracing::error!(
                error,
                "this process changes nothing any more and must end: it is of before a restore"
            );
        }
    }

    /// Whether a check has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until a check has failed. Cancel-safe.
    pub(crate) async fn ended(&self) -> GenerationEnded {
        let mut receiver = self.ended.subscribe();
        loop {
            if let Some(ended) = *receiver.borrow_and_update() {
                return ended;
            }
            // The sender is here.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generation").field(&self.number).finish()
    }
}

impl<E: fmt::Debug + From<Refusal>> From<CheckError> for TransactError<E> {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Read(error) => Self::Read(error),
            CheckError::Refused(refusal) => Self::Abort(refusal.into()),
        }
    }
}

impl From<Refusal> for LogError {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        match refusal {
            Refusal::Ended(_) => Self::Unavailable { reason },
            Refusal::Row(_) => Self::Corrupt { reason },
        }
    }
}

impl From<Refusal> for CatalogueError {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        match refusal {
            Refusal::Ended(_) => Self::Unavailable { reason },
            Refusal::Row(_) => Self::Corrupt { reason },
        }
    }
}

impl From<Refusal> for ClusterError {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        match refusal {
            Refusal::Ended(_) => Self::Unavailable { reason },
            Refusal::Row(_) => Self::Corrupt { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelog_store::memory::MemoryStore;
    use tidelog_store::{CommitError, Store as _};
    use tidelog_types::ClusterId;

    use super::*;

    fn row(generation: u32) -> Bytes {
        let row = ClusterRow {
            id: ClusterId::from_bytes([9; 16]),
            generation: ClusterGeneration::new(generation),
            shards: 1,
        };
        row.encode()
    }

    async fn put(store: &MemoryStore, key: Bytes, value: Bytes) {
        let mut transaction = store.begin().await.unwrap();
        transaction.put(key, value);
        transaction.commit().await.unwrap();
    }

    async fn check(store: &MemoryStore, generation: &Generation) -> Result<(), CheckError> {
        let mut transaction = store.begin().await.unwrap();
        generation.check(transaction.as_mut()).await
    }

    #[tokio::test]
    async fn a_restore_that_begins_after_the_check_lets_the_commit_conflict() {
        let (store, keys) = (MemoryStore::new(), Keyspace::default());
        put(&store, keys.cluster(), row(1)).await;
        let generation = Generation::new(keys, ClusterGeneration::new(1));
        let mut transaction = store.begin().await.unwrap();
        generation.check(transaction.as_mut()).await.unwrap();
        transaction.put(Bytes::from_static(b"another"), Bytes::new());
        put(&store, keys.cluster(), row(2)).await;
        let committed = transaction.commit().await;
        assert!(
            matches!(committed, Err(CommitError::Conflict)),
            "{committed:?}"
        );
        assert!(!generation.has_ended());
        let checked = check(&store, &generation).await;
        let ended = GenerationEnded::Restored {
            known: ClusterGeneration::new(1),
            found: ClusterGeneration::new(2),
        };
        assert!(
            matches!(checked, Err(CheckError::Refused(Refusal::Ended(found))) if found == ended),
            "{checked:?}"
        );
        assert_eq!(generation.ended().await, ended);
    }

    #[tokio::test]
    async fn all_clones_hear_of_the_end_and_the_first_reason_stays() {
        let (store, keys) = (MemoryStore::new(), Keyspace::default());
        let generation = Generation::new(keys, ClusterGeneration::new(1));
        let other = generation.clone();
        let waiting = async {
            assert!(check(&store, &generation).await.is_err());
        };
        let (ended, ()) = tokio::join!(other.ended(), waiting);
        let known = ClusterGeneration::new(1);
        assert_eq!(ended, GenerationEnded::Restoring { known });
        put(&store, keys.cluster(), row(7)).await;
        assert!(check(&store, &generation).await.is_err());
        assert_eq!(generation.ended().await, ended);
    }
}
