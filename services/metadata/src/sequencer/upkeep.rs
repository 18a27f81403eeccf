//! The rest of the task that owns a shard: what it does between groups, so that memory and rows stay
//! within bounds.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::{GroupNumber, Timestamp};

use super::actor::{Actor, End, Ended};
use super::checkpoint::{CheckpointDue, CheckpointPass, CheckpointStep};
use super::error::{Next, SequencerError};
use super::view::ShardView;

/// Under load one checkpoint may follow the other. After so many steps of them, rows are looked at that nobody
/// needs: a step writes about as much as groups have changed in its time, and a look deletes up to 1,000.
const CHECKPOINT_STEPS_MAX: u32 = 2;

impl Actor {
    /// Lets commits wait for checkpoints while memory holds more than it may (invariant I7).
    pub(super) async fn make_room(&mut self) -> Result<(), Ended> {
        while self.is_over_memory() {
            self.parts.metrics.checkpoints_forced.inc();
            if !self.checkpoint_step().await? {
                // It is tried again after the next group.
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_over_memory(&self) -> bool {
        let settings = &self.parts.settings;
        let is_over = |changed: usize, max: usize| changed > max.max(settings.changed_max);
        self.view.read().unpaged_bytes() > settings.extent_bytes
            || is_over(
                self.state.changed_partitions.len(),
                settings.partitions_in_memory,
            )
            || is_over(
                self.state.changed_producers.len(),
                settings.producers_in_memory,
            )
    }

    /// Why the shard takes no commits now, if so: its tail is older than it may grow.
    pub(super) fn overload(&self, now: Timestamp) -> Option<String> {
        let max = self.parts.settings.tail_age_max?;
        let since = self.state.tail_since.filter(|_| self.unmerged.are_some())?;
        let age = now.as_millis().saturating_sub(since.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        let shard = self.lease.shard;
        (age > max).then(|| {
            format!(
                "the tail of shard `{shard}` has not been merged for `{age:?}`, more than `{max:?}`: see \
                 whether a janitor runs"
            )
        })
    }

    pub(super) fn report(&self) {
        let shard = self.lease.shard;
        // One segment alone waits for another, however long: that is no tail that grows.
        let tail_since = self.state.tail_since.filter(|_| self.unmerged.are_some());
        self.parts.metrics.report_tail(shard, tail_since);
        self.parts
            .metrics
            .report_inline(shard, self.inlined.bytes());
        let view = self.view.read();
        self.parts.metrics.held.report(shard, &view, &self.state);
    }

    fn checkpoint_deadline(&self) -> Option<MonoTime> {
        let settings = &self.parts.settings;
        let is_much = || self.view.read().unpaged_bytes() > settings.extent_bytes / 2;
        let is_full = || self.inlined.needs_checkpoint(settings.inline_bytes_max);
        let is_many = self.due.manifests >= settings.checkpoint_manifests;
        if self.pass.is_some() || is_many || is_much() || is_full() {
            return Some(MonoTime::START);
        }
        self.due
            .since
            .map(|since| since + settings.checkpoint_interval)
    }

    fn checkpoint_is_due(&self) -> bool {
        let now = self.parts.env.clock.now();
        self.checkpoint_deadline()
            .is_some_and(|deadline| deadline <= now)
    }

    /// Whether a step of a checkpoint is what comes after this group.
    pub(super) fn is_checkpoint_turn(&mut self, has_merges: bool) -> bool {
        let can_tidy = has_merges
            || self.keeping_is_due()
            || self.floors.is_time()
            || self.own_receipts.is_due(&self.floors)
            || self.tidy.is_time(self.lease.shard);
        let has_turn = self.checkpoint_steps < CHECKPOINT_STEPS_MAX || !can_tidy;
        let is_turn = has_turn && self.checkpoint_is_due();
        self.checkpoint_steps = if is_turn {
            self.checkpoint_steps + 1
        } else {
            0
        };
        is_turn
    }

    /// Ends when a checkpoint is due; never on a shard in which nothing changes (invariant I8).
    pub(super) async fn checkpoint_time(&self) {
        match self.checkpoint_deadline() {
            Some(deadline) => self.parts.env.clock.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Writes some rows of the pass under way, or begins one. Returns whether they are durable.
    pub(super) async fn checkpoint_step(&mut self) -> Result<bool, Ended> {
        let mut pass = self.pass.take().unwrap_or_else(|| {
            self.due = CheckpointDue::default();
            self.inlined.checkpoint_begins();
            CheckpointPass::begin(&mut self.state)
        });
        let key = self.parts.keys.checkpoint(self.lease.shard);
        let (step, last) = pass.step(&self.state, &self.view.read(), key);
        if let Err(error) = self.write_step(&step).await {
            self.warn("checkpoint was not written", &error);
            pass.give_up(&mut self.state, step);
            self.due.group(0, self.parts.env.clock.now());
            // A checkpoint that lands late would put old rows over new ones: settle it first.
            if let Err(error) = self.recover_patiently().await {
                return Err(self.end(Vec::new(), &error));
            }
            return Ok(false);
        }
        for partition in step.partitions() {
            self.reclaim.written(partition);
        }
        let shared = Arc::clone(&self.view);
        let mut view = shared.write();
        for (partition, last_base, next) in step.paged {
            view.set_paged(partition, last_base, next);
            self.retention
                .written(partition, self.state.bytes(partition));
        }
        view.evict_extents(self.parts.settings.extent_bytes);
        if last {
            self.forget(&mut view, pass.reached());
        } else {
            self.pass = Some(pass);
        }
        Ok(true)
    }

    /// Drops from memory what a finished checkpoint has made safe, beyond what is kept.
    fn forget(&mut self, view: &mut ShardView, reached: GroupNumber) {
        let settings = &self.parts.settings;
        view.evict_partitions(
            settings.partitions_in_memory,
            &self.state.changed_partitions,
        );
        self.state.evict_partitions(settings.partitions_in_memory);
        self.state.evict_producers(settings.producers_in_memory);
        self.state.checkpoint = reached;
        self.publish_unmerged();
        self.purge.wake();
        self.floors.begin();
        self.own_receipts.begin();
        self.tidy.begin();
        tracing::debug!(
            shard = self.lease.shard.get(),
            group = reached.get(),
            "checkpoint written"
        );
    }

    async fn write_step(&self, step: &CheckpointStep) -> Result<(), SequencerError> {
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        for (key, value) in &step.rows {
            transaction.put(key.clone(), value.clone());
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Deletes some rows that nobody needs any more, if a checkpoint was finished not long ago. It comes
    /// only after a group, so that an idle shard does nothing (invariant I8).
    pub(super) async fn tidy_step(&mut self) -> Result<(), Ended> {
        self.has_kept = !self.has_kept && self.keeping_is_due();
        if self.has_kept {
            return self.keeping_step().await;
        }
        let store = Arc::clone(&self.parts.store);
        let due = self.floors.take_due();
        if !due.is_empty() {
            let now = self.parts.env.clock.now();
            let raised = self.floors.raise(store.as_ref(), &self.lease, &due, now);
            let raised = raised.await;
            // It is tried again after the next checkpoint, and what lands late is true all the same.
            match raised {
                Ok(()) => self.parts.deletions.tell(),
                Err(error) => self.warn("floors of writers were not raised", &error),
            }
            return Ok(());
        }
        let due = self.own_receipts.due(&self.floors);
        if !due.is_empty() {
            let deleted = self.own_receipts.delete(store.as_ref(), &self.lease, due);
            match deleted.await {
                Ok(deleted) => drop(self.parts.metrics.rows_deleted.inc_by(deleted)),
                // As for floors.
                Err(error) => self.warn("receipts were not deleted", &error),
            }
            return Ok(());
        }
        let deleted = self
            .tidy
            .step(store.as_ref(), &self.lease, &self.state)
            .await;
        match deleted {
            Ok(deleted) => {
                self.parts.metrics.rows_deleted.inc_by(deleted);
                Ok(())
            }
            Err(error) => {
                self.warn("old rows were not deleted", &error);
                // As for a checkpoint: what lands late would delete rows that are new by then.
                match self.recover_patiently().await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(self.end(Vec::new(), &error)),
                }
            }
        }
    }

    /// Ends when a floor could have gone up for long; never where all have (invariant I8).
    pub(super) async fn floor_time(&self) {
        match self.floors.deadline() {
            Some(deadline) => self.parts.env.clock.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Raises floors that could have gone up for long, and deletes receipts below them, as many as one transaction takes:
    /// others go after the next checkpoint. So a writer that is quiet keeps nothing that is not needed.
    pub(super) async fn floor_step(&mut self) {
        let store = Arc::clone(&self.parts.store);
        let now = self.parts.env.clock.now();
        let due = self.floors.overdue(now);
        let raised = self.floors.raise(store.as_ref(), &self.lease, &due, now);
        if let Err(error) = raised.await {
            // As after a checkpoint: what lands late is true all the same.
            self.warn("floors of writers were not raised", &error);
            self.floors.put_off(&due, now);
            return;
        }
        self.parts.deletions.tell();
        self.own_receipts.begin();
        let due = self.own_receipts.due(&self.floors);
        if due.is_empty() {
            return;
        }
        let deleted = self.own_receipts.delete(store.as_ref(), &self.lease, due);
        match deleted.await {
            Ok(deleted) => drop(self.parts.metrics.rows_deleted.inc_by(deleted)),
            Err(error) => self.warn("receipts were not deleted", &error),
        }
    }

    /// Whether a checkpoint has been written since the shard was asked for, so that its next owner has
    /// little to replay. Groups are committed meanwhile. One that fails is not tried again.
    pub(super) fn is_ready_to_leave(&mut self) -> bool {
        if !self.is_leaving {
            self.is_leaving = true;
            if self.pass.is_none() && self.state.has_changes() {
                self.due = CheckpointDue::default();
                self.inlined.checkpoint_begins();
                self.pass = Some(CheckpointPass::begin(&mut self.state));
            }
        }
        self.pass.is_none()
    }

    /// Gives the shard back, again and again while the store is only out of reach.
    pub(super) async fn give_back(&self) -> End {
        let mut backoff = self.parts.settings.retry.start();
        loop {
            let error = match self.lease.release(self.parts.store.as_ref()).await {
                Ok(()) => return End::Released,
                Err(error) => error,
            };
            let wait = backoff.next_wait(self.parts.env.rng.as_ref());
            match (error.next(), wait) {
                // Perhaps an attempt has landed unseen, and perhaps another has the shard already.
                (Next::Fenced, _) => return End::Released,
                (Next::Wait | Next::Recover, Some(wait)) if !self.drained.is_cancelled() => {
                    self.warn("shard could not be given back yet", &error);
                    self.parts.env.clock.sleep(wait).await;
                }
                _ => {
                    self.warn("shard was not given back", &error);
                    return End::Broken;
                }
            }
        }
    }
}
