//! What follows from what a group was asked: rows on their way to the store, and answers that wait for them.

use futures::FutureExt as _;
use tidelog_metadata_api::{CommitError, GroupName, GroupsError};

use super::actor::{Actor, Done, Slot};
use super::errors::of_write;
use super::group::{Group, Turn};

impl Actor {
    /// Sends what a group has to store and answers who can be answered; the group goes back to its place.
    pub(super) fn end_turn(&mut self, mut group: Box<Group>) {
        let wall = self.parts.env.clock.wall();
        let now = self.parts.env.clock.now();
        if group.machine.settle(&self.parts.settings, now) {
            group.store();
        }
        let mut turn = group.end_turn(wall);
        let write = match self.write(&group, &mut turn) {
            Ok(write) => write,
            Err(error) => {
                self.forget(&group);
                group.fail(Some(turn), &error);
                return;
            }
        };
        group.begin_write(turn, write);
        self.note_expiry(&group, wall);
        self.put_back(group);
    }

    /// Puts what is to be written into the sequencer's mailbox.
    fn write(&mut self, group: &Group, turn: &mut Turn) -> Result<Option<u64>, GroupsError> {
        if turn.messages.is_empty() {
            return Ok(None);
        }
        let mut writes = Vec::with_capacity(turn.messages.len());
        for rows in turn.messages.drain(..) {
            match self.sequencer.write_rows(rows) {
                Ok(write) => writes.push(write),
                Err(error) => {
                    self.must_prove = true;
                    return Err(of_write(error));
                }
            }
        }
        self.next_write += 1;
        let (write, name, instance) = (self.next_write, group.place.name.clone(), group.instance);
        let writing = async move {
            let mut result = Ok(());
            for write in writes {
                result = result.and(write.await);
            }
            Done::Written {
                group: name,
                instance,
                write,
                result,
            }
        };
        self.jobs.push(writing.boxed());
        Ok(Some(write))
    }

    pub(super) fn put_back(&mut self, group: Box<Group>) {
        if group.is_idle() && !group.exists() {
            self.forget(&group);
        } else {
            self.keep(group);
        }
    }

    /// Puts a group in its place, and its timer on.
    pub(super) fn keep(&mut self, mut group: Box<Group>) {
        let mut wake = group.machine.wake();
        if group.is_idle() {
            wake = Some(group.last_used + self.parts.settings.idle);
        }
        if group.wake != wake {
            let name = &group.place.name;
            if let Some(before) = group.wake {
                self.wakes.remove(&(before, name.clone()));
            }
            self.wakes.extend(wake.map(|wake| (wake, name.clone())));
            group.wake = wake;
        }
        self.groups
            .insert(group.place.name.clone(), Slot::Here(group));
    }

    /// Forgets all groups that can be read again when they are asked for.
    pub(super) fn evict_idle(&mut self) {
        let idle = self.groups.iter().filter_map(|(name, slot)| match slot {
            Slot::Here(group) if group.is_idle() => Some(name.clone()),
            Slot::Here(_) | Slot::Loading(_) => None,
        });
        let idle: Vec<GroupName> = idle.collect();
        for name in idle {
            if let Some(Slot::Here(group)) = self.groups.remove(&name) {
                self.forget(&group);
            }
        }
    }

    /// Takes note that a group is not here any more.
    pub(super) fn forget(&mut self, group: &Group) {
        if let Some(wake) = group.wake {
            self.wakes.remove(&(wake, group.place.name.clone()));
        }
    }

    pub(super) fn written(
        &mut self,
        name: &GroupName,
        instance: u64,
        write: u64,
        result: Result<(), CommitError>,
    ) {
        let is_same =
            |slot: &mut Slot| matches!(slot, Slot::Here(group) if group.instance == instance);
        if !self.groups.get_mut(name).is_some_and(is_same) {
            return;
        }
        let Some(Slot::Here(mut group)) = self.groups.remove(name) else {
            return;
        };
        match result {
            Ok(()) => {
                group.end_write(write);
                self.put_back(group);
            }
            Err(error) => {
                tracing::warn!(
                    shard = self.shard.get(),
                    group = name.as_str(),
                    error = &error as &dyn std::error::Error,
                    "group was not stored and is read again"
                );
                self.parts.metrics.not_stored.inc();
                self.must_prove = true;
                self.forget(&group);
                group.fail(None, &of_write(error));
            }
        }
    }
}
