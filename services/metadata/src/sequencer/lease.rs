//! Ownership of a shard: taking it, proving it in every transaction, settling an unknown commit.

use bytes::Bytes;
use tidelog_env::Env;
use tidelog_store::{ReadMode, Store, Transaction, Version};
use tidelog_types::{GroupNumber, ShardId};

use super::error::{Next, SequencerError};
use crate::catalogue::RETRY;
use crate::generation::Generation;
use crate::keyspace::{Keyspace, LeaseRow, RowError};

/// From whom a shard may be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    /// From anybody: the store is open here and nowhere else.
    Any,
    /// From the owner that had this epoch, whether it has released the shard or not. Whoever came after it
    /// keeps the shard.
    Epoch(u64),
}

impl Claim {
    fn allows(self, row: Option<&LeaseRow>, owner: [u8; 16]) -> bool {
        match self {
            Self::Any => true,
            // Our own name is there after an attempt of ours whose outcome was unknown.
            Self::Epoch(epoch) => {
                row.map_or(epoch == 0, |row| row.epoch == epoch || row.owner == owner)
            }
        }
    }
}

/// The lease that this process holds on a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) keys: Keyspace,
    pub(crate) shard: ShardId,
    pub(crate) owner: [u8; 16],
    pub(crate) epoch: u64,
}

impl Lease {
    /// Takes the shard from whoever has it, if `claim` allows that: the epoch goes up, and all that the
    /// owner before does from now on conflicts or finds another name in the row.
    ///
    /// Returns the version of the transaction: what is read for the new owner must not be older (C4).
    ///
    /// A process of another generation of the cluster takes nothing: the store has been restored since it was
    /// opened, or is being restored now.
    ///
    /// A conflict, for example with an owner that settles a commit, and an unknown outcome are tried again:
    /// the next attempt raises the epoch above whatever is there, and what is late then conflicts.
    pub(crate) async fn take(
        store: &dyn Store,
        env: &Env,
        generation: &Generation,
        shard: ShardId,
        owner: [u8; 16],
        claim: Claim,
    ) -> Result<(Self, Version), SequencerError> {
        let mut backoff = RETRY.start();
        loop {
            let error = match Self::try_take(store, generation, shard, owner, claim).await {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            let wait = backoff.next_wait(env.rng.as_ref());
            let (Next::Recover, Some(wait)) = (error.next(), wait) else {
                return Err(error);
            };
            env.clock.sleep(wait).await;
        }
    }

    async fn try_take(
        store: &dyn Store,
        generation: &Generation,
        shard: ShardId,
        owner: [u8; 16],
        claim: Claim,
    ) -> Result<(Self, Version), SequencerError> {
        let mut transaction = store.begin().await?;
        generation.check(transaction.as_mut()).await?;
        let keys = generation.keys();
        let row = read_lease(keys, shard, transaction.as_mut()).await?;
        if !claim.allows(row.as_ref(), owner) {
            return Err(SequencerError::LeaseLost);
        }
        let epoch = row.map_or(0, |row| row.epoch).checked_add(1);
        let epoch = epoch.ok_or(RowError {
            kind: "lease",
            what: "its epoch has reached its end",
        })?;
        let lease = Self {
            keys,
            shard,
            owner,
            epoch,
        };
        transaction.put(keys.lease(shard), lease.row(0).encode());
        let version = transaction.commit().await?;
        Ok((lease, version))
    }

    const fn row(&self, settled: u64) -> LeaseRow {
        LeaseRow {
            owner: self.owner,
            epoch: self.epoch,
            settled,
        }
    }

    /// Rule C1: reads the row's value in this very transaction. The serializable read makes the commit
    /// conflict with a later takeover, the value shows an earlier one.
    pub(crate) async fn check(
        &self,
        transaction: &mut dyn Transaction,
    ) -> Result<LeaseRow, SequencerError> {
        let key = self.keys.lease(self.shard);
        self.check_row(transaction.get(&key, ReadMode::Serializable).await?)
    }

    /// The same, of a value that was read serializably.
    pub(crate) fn check_row(&self, value: Option<Bytes>) -> Result<LeaseRow, SequencerError> {
        match value.map(LeaseRow::decode).transpose()? {
            Some(row) if row.owner == self.owner && row.epoch == self.epoch => Ok(row),
            _ => Err(SequencerError::LeaseLost),
        }
    }

    /// Rule C3: commits a write to the own lease row, after which a transaction that was begun before
    /// can only conflict, then tells whether the group is there.
    pub(crate) async fn settle(
        &self,
        store: &dyn Store,
        group: GroupNumber,
    ) -> Result<bool, SequencerError> {
        self.touch(store).await?;
        let mut transaction = store.begin().await?;
        self.check(transaction.as_mut()).await?;
        let first: Bytes = self.keys.tail(self.shard, group, 0);
        Ok(transaction.get(&first, ReadMode::Snapshot).await?.is_some())
    }

    /// The lease that an owner with this epoch had.
    pub(crate) const fn of(keys: Keyspace, shard: ShardId, owner: [u8; 16], epoch: u64) -> Self {
        Self {
            keys,
            shard,
            owner,
            epoch,
        }
    }

    /// Gives the shard back, so that the next owner need not wait. Nothing of this one may be under way
    /// any more; what is all the same conflicts, or finds another name in the row.
    pub(crate) async fn release(&self, store: &dyn Store) -> Result<(), SequencerError> {
        let mut transaction = store.begin().await?;
        let row = self.check(transaction.as_mut()).await?;
        let released = LeaseRow {
            owner: LeaseRow::RELEASED,
            ..row
        };
        transaction.put(self.keys.lease(self.shard), released.encode());
        transaction.commit().await?;
        Ok(())
    }

    /// Commits a write to the own lease row. When it returns, this process was the owner at some time
    /// since the call (rule C9).
    pub(crate) async fn touch(&self, store: &dyn Store) -> Result<(), SequencerError> {
        let mut transaction = store.begin().await?;
        let row = self.check(transaction.as_mut()).await?;
        let touched = self.row(row.settled.wrapping_add(1));
        transaction.put(self.keys.lease(self.shard), touched.encode());
        transaction.commit().await?;
        Ok(())
    }
}

async fn read_lease(
    keys: Keyspace,
    shard: ShardId,
    transaction: &mut dyn Transaction,
) -> Result<Option<LeaseRow>, SequencerError> {
    let value = transaction
        .get(&keys.lease(shard), ReadMode::Serializable)
        .await?;
    Ok(value.map(LeaseRow::decode).transpose()?)
}

#[cfg(test)]
mod tests {
    use tidelog_store::memory::{MemoryOptions, MemoryStore};
    use tidelog_types::{ClusterGeneration, ClusterId};

    use super::*;
    use crate::keyspace::ClusterRow;

    async fn take(cluster: Option<ClusterRow>) -> Result<(Lease, Version), SequencerError> {
        let keys = Keyspace::default();
        let rows = cluster.map(|row| (keys.cluster(), row.encode()));
        let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
        let generation = Generation::new(keys, ClusterGeneration::new(1));
        let shard = ShardId::new(0);
        let env = Env::seeded(1);
        Lease::take(&store, &env, &generation, shard, [1; 16], Claim::Any).await
    }

    #[tokio::test]
    async fn a_shard_is_taken_only_in_the_generation_that_the_process_knows() {
        let of = |generation| ClusterRow {
            id: ClusterId::from_bytes([9; 16]),
            generation: ClusterGeneration::new(generation),
            shards: 1,
        };
        let (lease, _) = take(Some(of(1))).await.expect("it is its own");
        assert_eq!(lease.epoch, 1);
        for other in [None, Some(of(2))] {
            let taken = take(other).await;
            assert!(matches!(taken, Err(SequencerError::LeaseLost)), "{taken:?}");
        }
    }
}
