//! Groups come into memory when they are first asked for.

use std::sync::Arc;

use futures::FutureExt as _;
use tidelog_groups::{classic, consumer};
use tidelog_metadata_api::GroupName;

use super::actor::{Actor, Done, Read, Slot, no_memory};
use super::ask::Asked;
use super::errors::of_proof;
use super::group::Group;
use super::machine::Machine;
use super::rows::{About, Loaded, Mirror, Place, load};
use super::transactions::Transactions;
use crate::driver::Hold;

impl Actor {
    /// Reads a group, for those who wait for it. Returns whether there is the memory for it.
    pub(super) fn begin_load(&mut self, name: GroupName, waiting: Vec<Asked>) -> bool {
        let memory = self.parts.memory.clone();
        let hold = memory.try_hold(0).or_else(|| {
            self.evict_idle();
            memory.try_hold(0)
        });
        let Some(hold) = hold else {
            for asked in waiting {
                asked.ask.fail(no_memory());
            }
            return false;
        };
        self.next_instance += 1;
        let instance = self.next_instance;
        let slot = Slot::Loading(instance, waiting);
        self.groups.insert(name.clone(), slot);
        self.loading += 1;
        let proof = self.must_prove.then(|| Arc::clone(&self.sequencer));
        let store = Arc::clone(&self.parts.store);
        let place = self.place(name);
        let loading = async move {
            let proven = match proof {
                Some(sequencer) => sequencer.barrier().await.map(drop).map_err(of_proof),
                None => Ok(()),
            };
            let loaded = match proven {
                Ok(()) => load(store.as_ref(), &place).await,
                Err(error) => Err(error),
            };
            let loaded = loaded.map(|loaded| loaded.map(Box::new));
            Done::Loaded(Read {
                name: place.name,
                instance,
                loaded,
                hold,
            })
        };
        self.jobs.push(loading.boxed());
        true
    }

    fn place(&self, name: GroupName) -> Place {
        Place {
            keys: self.parts.keys,
            shard: self.shard,
            name,
        }
    }

    pub(super) fn loaded(&mut self, read: Read) {
        self.loading -= 1;
        let Read {
            name,
            instance,
            loaded,
            hold,
        } = read;
        let waiting = match self.groups.remove(&name) {
            Some(Slot::Loading(number, waiting)) if number == instance => waiting,
            other => {
                // Nobody waits for this one any more; whatever has its place keeps it.
                self.groups.extend(other.map(|slot| (name, slot)));
                self.go_on_sweeping();
                return;
            }
        };
        self.go_on_sweeping();
        match loaded {
            Ok(loaded) => {
                let group = self.restore(name, instance, loaded, hold);
                self.keep(group);
                for asked in waiting {
                    self.asked(asked);
                }
            }
            Err(error) => {
                // What a sweep wanted of it, it wants again.
                self.note_retry();
                tracing::warn!(
                    shard = self.shard.get(),
                    group = name.as_str(),
                    error = &error as &dyn std::error::Error,
                    "group could not be read"
                );
                for asked in waiting {
                    asked.ask.fail(error.clone());
                }
            }
        }
    }

    fn restore(
        &self,
        name: GroupName,
        instance: u64,
        loaded: Option<Box<Loaded>>,
        hold: Hold,
    ) -> Box<Group> {
        let settings = &self.parts.settings;
        let (now, wall) = (self.parts.env.clock.now(), self.parts.env.clock.wall());
        let mut transactions = Transactions::default();
        let (machine, mirror, about) = match loaded {
            None => {
                let about = About::new(wall);
                (Machine::new(settings), Mirror::default(), about)
            }
            Some(mut loaded) => {
                let mirror = std::mem::take(&mut loaded.mirror);
                let about = loaded.about();
                transactions = std::mem::take(&mut loaded.transactions);
                let machine = if loaded.is_consumer() {
                    let (settings, stored) = (settings.consumer, loaded.into_consumer());
                    Machine::Consumer(consumer::ConsumerGroup::restore(settings, stored, now))
                } else {
                    let (settings, stored) = (settings.classic, loaded.into_classic());
                    Machine::Classic(classic::ClassicGroup::restore(settings, stored, now))
                };
                (machine, mirror, about)
            }
        };
        let place = self.place(name);
        let mut group = Group::new(place, instance, machine, mirror, about, hold);
        group.last_used = now;
        group.transactions = transactions;
        Box::new(group)
    }
}
