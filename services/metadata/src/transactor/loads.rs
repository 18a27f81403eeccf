//! Ids come into memory when they are first asked for, or when a sweep finds that something is to be done for them.

use std::sync::Arc;

use futures::FutureExt as _;
use tidelog_metadata_api::{TransactionalId, TransactionsError};
use tidelog_transactions::{Coordinator, StoredTransaction};

use super::actor::{Actor, Done, Slot};
use super::ask::Asked;
use super::errors::{no_memory, of_log};
use super::keeper::Keeper;
use super::rows::load;
use crate::driver::Hold;

/// An id as it was read, or why it was not.
#[derive(Debug)]
pub(super) struct Read {
    id: TransactionalId,
    /// Which time of reading it is, among all ids.
    instance: u64,
    loaded: Result<Option<StoredTransaction>, TransactionsError>,
    hold: Hold,
}

impl Actor {
    /// Reads an id that is not here, for those who wait for it. Returns whether there is the memory for it.
    pub(super) fn begin_load(&mut self, id: TransactionalId, waiting: Vec<Asked>) -> bool {
        if self.ids.contains_key(&id) {
            return true;
        }
        let memory = self.parts.memory.clone();
        let hold = memory.try_hold_last(0).or_else(|| {
            self.evict_idle();
            memory.try_hold_last(0)
        });
        let Some(hold) = hold else {
            for asked in waiting {
                asked.ask.fail(no_memory());
            }
            return false;
        };
        self.next_instance += 1;
        let instance = self.next_instance;
        self.ids
            .insert(id.clone(), Slot::Loading(instance, waiting));
        self.loading += 1;
        let proof = self.must_prove.then(|| Arc::clone(&self.sequencer));
        let store = Arc::clone(&self.parts.store);
        let (keys, shard) = (self.parts.keys, self.shard);
        let loading = async move {
            let proven = match proof {
                Some(sequencer) => sequencer.barrier().await.map(drop).map_err(of_log),
                None => Ok(()),
            };
            let loaded = match proven {
                Ok(()) => load(store.as_ref(), keys, shard, &id).await,
                Err(error) => Err(error),
            };
            Done::Loaded(Box::new(Read {
                id,
                instance,
                loaded,
                hold,
            }))
        };
        self.jobs.push(loading.boxed());
        true
    }

    pub(super) fn loaded(&mut self, read: Read) {
        self.loading -= 1;
        let Read {
            id,
            instance,
            loaded,
            hold,
        } = read;
        let waiting = match self.ids.remove(&id) {
            Some(Slot::Loading(number, waiting)) if number == instance => waiting,
            other => {
                // Nobody waits for this one any more; whatever has its place keeps it.
                self.ids.extend(other.map(|slot| (id, slot)));
                self.go_on_sweeping();
                return;
            }
        };
        match loaded {
            Ok(loaded) => {
                let keeper = self.restore(id, instance, loaded, hold);
                if waiting.is_empty() {
                    self.put_back(keeper);
                } else {
                    // Whoever waits is served next: one that is nothing must not be forgotten before.
                    self.ids.insert(keeper.id.clone(), Slot::Here(keeper));
                }
                for asked in waiting {
                    self.asked(asked);
                }
            }
            Err(error) => {
                // What a sweep wanted of it, it wants again.
                self.note_retry();
                tracing::warn!(
                    shard = self.shard.get(),
                    id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "transactional id could not be read"
                );
                for asked in waiting {
                    asked.ask.fail(error.clone());
                }
            }
        }
        self.go_on_sweeping();
    }

    /// An id as it was stored. A decision is told, since nobody knows who has been.
    fn restore(
        &mut self,
        id: TransactionalId,
        instance: u64,
        loaded: Option<StoredTransaction>,
        hold: Hold,
    ) -> Box<Keeper> {
        let (now, limits) = (self.now(), self.parts.settings.limits());
        let epoch = i32::try_from(self.sequencer.epoch()).unwrap_or(i32::MAX);
        let machine = match loaded {
            None => Coordinator::new(limits, epoch),
            Some(stored) => Coordinator::restore(limits, epoch, stored, now),
        };
        let missing = machine.missing_markers();
        let mut keeper = Box::new(Keeper::new(id, instance, machine, hold, now.mono));
        if let Some(markers) = missing
            && !markers.participants.is_empty()
        {
            self.begin_telling(&mut keeper, markers);
        }
        keeper
    }
}
