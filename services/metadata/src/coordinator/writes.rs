//! What groups have to store, and what becomes of it.

use futures::FutureExt as _;
use tidelog_metadata_api::{CommitError, GroupName};

use super::actor::{Actor, Done, Slot};
use super::errors::of_write;
use super::group::Group;
use crate::driver::Sent;
use crate::sequencer::GroupRows;

impl Actor {
    /// Takes what a group has to store. Gives the number of the write, if there is something.
    pub(super) fn write(&mut self, group: &Group, messages: Vec<GroupRows>) -> Option<u64> {
        if messages.is_empty() {
            return None;
        }
        let name = group.place.name.clone();
        let memory = &self.parts.memory;
        let write = self.writes.push(name, group.instance, messages, memory);
        self.pump();
        Some(write)
    }

    /// Hands over what the sequencer takes now.
    fn pump(&mut self) {
        let clock = self.parts.env.clock.as_ref();
        for sending in self.writes.pump(&self.sequencer, clock) {
            self.jobs.push(sending.map(Done::Sent).boxed());
        }
    }

    /// Rows are durable, or are not, or there may be room for more.
    pub(super) fn sent(&mut self, sent: Sent) {
        match sent {
            Sent::Paused => {
                self.writes.paused();
                self.pump();
            }
            Sent::Written {
                up_to,
                result: Ok(()),
            } => {
                for owner in self.writes.written(up_to) {
                    self.written_of(owner.write, &owner.name, owner.instance);
                }
                self.pump();
            }
            Sent::Written {
                result: Err(error), ..
            } => self.not_written(&error),
        }
    }

    /// Everything of a group up to a write is durable.
    fn written_of(&mut self, write: u64, name: &GroupName, instance: u64) {
        let Some(mut group) = self.take_out(name, instance) else {
            return;
        };
        group.end_write(write);
        let deferred = group.deferred();
        self.put_back(group);
        for asked in deferred {
            self.asked(asked);
        }
    }

    /// What was on its way may not come: all groups of which there is something are read again.
    fn not_written(&mut self, error: &CommitError) {
        let owners = self.writes.failed();
        tracing::warn!(
            shard = self.shard.get(),
            groups = owners.len(),
            error = error as &dyn std::error::Error,
            "groups were not stored and are read again"
        );
        self.must_prove = true;
        for owner in owners {
            if let Some(group) = self.take_out(&owner.name, owner.instance) {
                self.parts.metrics.not_stored.inc();
                self.forget(&group);
                group.fail(&of_write(error.clone()));
            }
        }
    }

    fn take_out(&mut self, name: &GroupName, instance: u64) -> Option<Box<Group>> {
        match self.groups.remove(name) {
            Some(Slot::Here(group)) if group.instance == instance => Some(group),
            other => {
                self.groups.extend(other.map(|slot| (name.clone(), slot)));
                None
            }
        }
    }
}
