//! Rows on their way to the sequencer: few messages at a time, each with as much as is written together. So a burst of
//! small commits of many groups is a few transactions, and the queue of the sequencer is left to others.
//!
//! Rows become durable in the order in which groups have put them here. When some are not, none of those behind them
//! are, and all groups that have some here are read again.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt as _;
use tidelog_metadata_api::{CommitError, GroupName};

use super::actor::{Actor, Done, Slot};
use super::errors::of_write;
use super::group::Group;
use super::memory::{Hold, Memory};
use crate::sequencer::{GROUP_ROWS_MESSAGE_BYTES_MAX, GroupRows, group_rows_bytes};

/// Messages that the sequencer has at a time: one is on its way to the store, the next one gathers.
const OUTSTANDING_MAX: usize = 2;
/// When the sequencer has no room it is asked again so soon.
const PAUSE: Duration = Duration::from_millis(10);

/// Rows that wait.
#[derive(Debug)]
struct Queued {
    rows: GroupRows,
    bytes: usize,
    /// With these rows everything up to this write is there; none if they are the middle of one.
    up_to: Option<u64>,
    /// Their part of the memory for groups.
    holds: Vec<Hold>,
}

/// The rows on their way.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last: u64,
    queue: VecDeque<Queued>,
    /// Which group each write is of, oldest first.
    owners: VecDeque<(u64, GroupName, u64)>,
    outstanding: usize,
    is_pausing: bool,
}

impl Writes {
    /// Puts the messages of one write in their places.
    fn push(&mut self, group: &Group, messages: Vec<GroupRows>, memory: &Memory) -> u64 {
        self.last += 1;
        let count = messages.len();
        for (index, rows) in messages.into_iter().enumerate() {
            let bytes = group_rows_bytes(&rows);
            self.queue.push_back(Queued {
                rows,
                bytes,
                up_to: (index + 1 == count).then_some(self.last),
                holds: vec![memory.hold(bytes)],
            });
        }
        let name = group.place.name.clone();
        self.owners.push_back((self.last, name, group.instance));
        self.last
    }

    /// As much from the front as is written together.
    fn pop(&mut self) -> Option<Queued> {
        let mut first = self.queue.pop_front()?;
        while let Some(next) = self.queue.front()
            && first.bytes + next.bytes <= GROUP_ROWS_MESSAGE_BYTES_MAX
        {
            let Some(next) = self.queue.pop_front() else {
                break;
            };
            first.rows.extend(next.rows);
            first.bytes += next.bytes;
            first.up_to = next.up_to.or(first.up_to);
            first.holds.extend(next.holds);
        }
        Some(first)
    }
}

impl Actor {
    /// Takes what a group has to store. Gives the number of the write, if there is something.
    pub(super) fn write(&mut self, group: &Group, messages: Vec<GroupRows>) -> Option<u64> {
        if messages.is_empty() {
            return None;
        }
        let write = self.writes.push(group, messages, &self.parts.memory);
        self.pump();
        Some(write)
    }

    /// Hands over what the sequencer takes now.
    pub(super) fn pump(&mut self) {
        while self.writes.outstanding < OUTSTANDING_MAX && !self.writes.is_pausing {
            let Some(message) = self.writes.pop() else {
                return;
            };
            let up_to = message.up_to;
            match self.sequencer.write_rows(message.rows.clone()) {
                Ok(write) => {
                    self.writes.outstanding += 1;
                    let holds = message.holds;
                    let writing = async move {
                        let result = write.await;
                        drop(holds);
                        Done::Written { up_to, result }
                    };
                    self.jobs.push(writing.boxed());
                }
                Err(CommitError::Unavailable { .. }) => {
                    // It has no room: that of what it has will be free, and if it has nothing of ours, soon.
                    self.writes.queue.push_front(message);
                    if self.writes.outstanding > 0 {
                        return;
                    }
                    self.writes.is_pausing = true;
                    let pause = self.parts.env.clock.sleep(PAUSE);
                    let pausing = async move {
                        pause.await;
                        Done::Paused
                    };
                    self.jobs.push(pausing.boxed());
                }
                Err(error) => {
                    self.writes.outstanding += 1;
                    let result = Err(error);
                    let failed = async move { Done::Written { up_to, result } };
                    self.jobs.push(failed.boxed());
                    return;
                }
            }
        }
    }

    pub(super) fn paused(&mut self) {
        self.writes.is_pausing = false;
        self.pump();
    }

    /// Rows are durable, or are not.
    pub(super) fn written(&mut self, up_to: Option<u64>, result: Result<(), CommitError>) {
        self.writes.outstanding -= 1;
        match result {
            Ok(()) => {
                let is_done = |write: u64| up_to.is_some_and(|up_to| write <= up_to);
                while self.writes.owners.front().is_some_and(|it| is_done(it.0)) {
                    if let Some((write, name, instance)) = self.writes.owners.pop_front() {
                        self.written_of(write, &name, instance);
                    }
                }
                self.pump();
            }
            Err(error) => self.not_written(&error),
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
        tracing::warn!(
            shard = self.shard.get(),
            groups = self.writes.owners.len(),
            error = error as &dyn std::error::Error,
            "groups were not stored and are read again"
        );
        self.must_prove = true;
        self.writes.queue.clear();
        let owners = std::mem::take(&mut self.writes.owners);
        for (_, name, instance) in owners {
            if let Some(group) = self.take_out(&name, instance) {
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
