//! Takes what a tail has into pages and rows, as the checkpoints of a shard's owner do. There is no owner: nothing else of
//! the shard changes, nothing of it is retained, reclaimed, purged or merged, and no transaction of it is ended.

use std::time::Duration;

use tidelog_env::Env;
use tidelog_store::{Store, Version};
use tidelog_types::ShardId;

use super::checkpoint::CheckpointPass;
use super::error::{Next, SequencerError};
use super::lease::{Claim, Lease};
use super::load::load;
use super::state::ShardState;
use crate::catalogue::RETRY;
use crate::generation::Generation;

/// What shards are folded with.
#[derive(Debug)]
pub(crate) struct Folding<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) env: &'a Env,
    pub(crate) generation: &'a Generation,
    /// How long a producer is known after its last batch.
    pub(crate) producer_expiry: Duration,
}

impl Folding<'_> {
    /// Folds the tail of a shard. When it returns, no entry of it is later than the checkpoint.
    pub(crate) async fn shard(&self, shard: ShardId) -> Result<(), SequencerError> {
        let (store, owner) = (self.store, self.env.rng.bytes_16());
        let taken = Lease::take(store, self.env, self.generation, shard, owner, Claim::Any);
        let (lease, since) = taken.await?;
        let mut backoff = RETRY.start();
        while let Err(error) = self.try_shard(&lease, since).await {
            let wait = backoff.next_wait(self.env.rng.as_ref());
            let (Next::Recover | Next::Wait, Some(wait)) = (error.next(), wait) else {
                return Err(error);
            };
            self.env.clock.sleep(wait).await;
        }
        if let Err(error) = lease.release(store).await {
            // Who takes the shard next waits for the lease to end, and takes it all the same.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(shard = shard.get(), error, "shard was not given back");
        }
        Ok(())
    }

    async fn try_shard(&self, lease: &Lease, since: Version) -> Result<(), SequencerError> {
        // What an attempt before has left on its way can only conflict from here on (rule C3).
        lease.touch(self.store).await?;
        let state = ShardState::new(lease.keys, self.producer_expiry);
        let (mut state, mut view) = load(self.store, state, lease.shard, since).await?;
        if state.group == state.checkpoint && !state.has_changes() {
            return Ok(());
        }
        let key = lease.keys.checkpoint(lease.shard);
        let mut pass = CheckpointPass::begin(&mut state);
        loop {
            let (step, is_last) = pass.step(&state, &view, key.clone());
            let mut transaction = self.store.begin().await?;
            lease.check(transaction.as_mut()).await?;
            for (key, value) in &step.rows {
                transaction.put(key.clone(), value.clone());
            }
            transaction.commit().await?;
            for (partition, last_base, next) in step.paged {
                view.set_paged(partition, last_base, next);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
