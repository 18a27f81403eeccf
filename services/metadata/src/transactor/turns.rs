//! What follows from what an id was asked: rows on their way to the store, answers that wait for them, and its place in
//! memory.

use futures::FutureExt as _;
use tidelog_metadata_api::{Decision, TransactionalId};
use tidelog_transactions::{Cause, Effects, Phase};

use super::actor::{Actor, Done, Slot};
use super::keeper::Keeper;
use crate::keyspace::encode_transaction;
use crate::sequencer::GroupRows;

impl Actor {
    /// Sends what an id has to store and answers who can be answered; the id goes back to its place.
    pub(super) fn end_turn(&mut self, mut keeper: Box<Keeper>) {
        let effects = keeper.end_turn();
        self.count(&keeper, &effects);
        let key = || self.parts.keys.transaction(self.shard, &keeper.id);
        let rows: GroupRows = match keeper.machine.stored() {
            Some(_) if effects.forget => vec![(key(), None)],
            Some(stored) if effects.store => vec![(key(), Some(encode_transaction(stored)))],
            Some(_) | None => Vec::new(),
        };
        let write = (!rows.is_empty()).then(|| {
            let (id, memory) = (keeper.id.clone(), &self.parts.memory);
            self.writes.push(id, keeper.instance, vec![rows], memory)
        });
        keeper.begin_write(write, effects);
        self.note_expiry(&keeper);
        self.put_back(keeper);
        if write.is_some() {
            self.pump();
        }
    }

    fn count(&self, keeper: &Keeper, effects: &Effects) {
        let metrics = &self.parts.metrics;
        if effects.forget {
            metrics.expired.inc();
        }
        if effects.markers.is_none() {
            return;
        }
        let phase = keeper.machine.stored().map(|stored| &stored.phase);
        if let Some(Phase::Ending { ending, .. }) = phase {
            match ending.decision {
                Decision::Commit => metrics.committed.inc(),
                Decision::Abort => metrics.aborted.inc(),
            };
            if ending.cause == Cause::Timeout {
                metrics.timed_out.inc();
            }
        }
    }

    /// Hands over what the sequencer takes now.
    pub(super) fn pump(&mut self) {
        let clock = self.parts.env.clock.as_ref();
        for sending in self.writes.pump(&self.sequencer, clock) {
            self.jobs.push(sending.map(Done::Sent).boxed());
        }
    }

    /// Takes an id out of its place. One that is being read stays there with those who wait for it.
    pub(super) fn take_here(&mut self, id: &TransactionalId) -> Option<Box<Keeper>> {
        match self.ids.remove(id) {
            Some(Slot::Here(keeper)) => Some(keeper),
            other => {
                self.ids.extend(other.map(|slot| (id.clone(), slot)));
                None
            }
        }
    }

    /// The same for one instance of it.
    pub(super) fn take_instance(
        &mut self,
        id: &TransactionalId,
        instance: u64,
    ) -> Option<Box<Keeper>> {
        let keeper = self.take_here(id)?;
        if keeper.instance == instance {
            return Some(keeper);
        }
        self.ids.insert(id.clone(), Slot::Here(keeper));
        None
    }

    /// Puts an id in its place, and its timer on; one that is nothing is forgotten.
    pub(super) fn put_back(&mut self, mut keeper: Box<Keeper>) {
        let is_nothing = keeper.machine.stored().is_none() && keeper.is_idle();
        if is_nothing || keeper.has_gone() {
            self.forget(&keeper);
            return;
        }
        let mut wake = keeper.machine.wake();
        if keeper.is_idle() {
            let idle = keeper.last_used + self.parts.settings.idle;
            wake = Some(wake.map_or(idle, |wake| wake.min(idle)));
        }
        if keeper.wake != wake {
            if let Some(before) = keeper.wake {
                self.wakes.remove(&(before, keeper.id.clone()));
            }
            self.wakes
                .extend(wake.map(|wake| (wake, keeper.id.clone())));
            keeper.wake = wake;
        }
        self.ids.insert(keeper.id.clone(), Slot::Here(keeper));
    }

    /// Takes note that an id is not here any more.
    pub(super) fn forget(&mut self, keeper: &Keeper) {
        if let Some(wake) = keeper.wake {
            self.wakes.remove(&(wake, keeper.id.clone()));
        }
    }

    /// Forgets all ids that can be read again when they are asked for.
    pub(super) fn evict_idle(&mut self) {
        let idle = self.ids.iter().filter_map(|(id, slot)| match slot {
            Slot::Here(keeper) if keeper.is_idle() => Some(id.clone()),
            Slot::Here(_) | Slot::Loading(..) => None,
        });
        let idle: Vec<TransactionalId> = idle.collect();
        for id in idle {
            if let Some(keeper) = self.take_here(&id) {
                self.forget(&keeper);
            }
        }
    }
}
