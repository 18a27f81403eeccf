//! The part of the task that owns a shard that deals with errors: it settles what is unknown and reads
//! the shard again, or ends.

use std::sync::Arc;

use tidelog_types::GroupNumber;

use super::actor::{Actor, Ended};
use super::error::{Next, SequencerError};
use super::load::load;
use super::message::Message;
use super::state::ShardState;

impl Actor {
    /// Rules C2 and C3: settles whether the last group landed, then rereads the shard.
    async fn recover(&mut self) -> Result<bool, SequencerError> {
        self.own_receipts.doubt();
        self.lately.forget();
        let store = Arc::clone(&self.parts.store);
        let group = GroupNumber::new(self.state.group.get() + 1);
        let landed = self.lease.settle(store.as_ref(), group).await?;
        let since = store.begin().await?.read_version();
        let state = ShardState::new(self.parts.keys, self.parts.settings.producer_expiry);
        let (state, mut view) = load(store.as_ref(), state, self.lease.shard, since).await?;
        self.pass = None;
        self.state = state;
        self.unmerged.recovered(&self.state);
        self.publish_unmerged();
        for (partition, state) in &self.state.partitions {
            if state.reclaimed < state.log_start {
                self.reclaim.note(*partition);
            }
        }
        if self.state.has_changes() {
            // The pass that was given up had reset the time of the next one.
            self.due.group(0, self.parts.env.clock.now());
        }
        let mut shown = self.view.write();
        view.generation = shown.generation + 1;
        *shown = view;
        drop(shown);
        self.shown.send_replace(self.state.group);
        tracing::info!(
            shard = self.lease.shard.get(),
            group = group.get(),
            landed,
            "settled shard after an error"
        );
        Ok(landed)
    }

    /// Recovers, again and again while the store is only out of reach.
    pub(super) async fn recover_patiently(&mut self) -> Result<bool, SequencerError> {
        let mut backoff = self.parts.settings.retry.start();
        loop {
            let error = match self.recover().await {
                Ok(landed) => return Ok(landed),
                Err(error) => error,
            };
            self.warn("shard could not be settled yet", &error);
            let may_pass = matches!(error.next(), Next::Wait | Next::Recover);
            let wait = backoff.next_wait(self.parts.env.rng.as_ref());
            let (true, Some(wait), false) = (may_pass, wait, self.drained.is_cancelled()) else {
                return Err(error);
            };
            self.parts.env.clock.sleep(wait).await;
        }
    }

    pub(super) fn warn(&self, what: &'static str, error: &SequencerError) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(shard = self.lease.shard.get(), error, "{what}");
    }

    /// Ends the task: answers from state that may not exist are never given (rule C10).
    pub(super) fn end(&self, group: Vec<Message>, error: &SequencerError) -> Ended {
        let fenced = error.next() == Next::Fenced;
        let reason = error.to_string();
        tracing::error!(
            shard = self.lease.shard.get(),
            fenced,
            error = error as &dyn std::error::Error,
            "sequencer ends"
        );
        self.parts.metrics.ended.inc();
        for message in group {
            message.give_up(fenced, &reason);
        }
        Ended { fenced }
    }
}
