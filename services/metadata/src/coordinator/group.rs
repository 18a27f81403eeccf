//! A group in memory: the state machine, who waits for it, and what of it is on its way to the store.

use std::collections::HashMap;
use std::mem;

use tidelog_env::MonoTime;
use tidelog_groups::{Answer, Effects, GroupError, Ticket};
use tidelog_metadata_api::{GroupsError, JoinedGroup, JoinedMember, SyncedGroup};
use tidelog_types::Timestamp;

use super::ask::{Asked, Reply};
use super::errors::of_group;
use super::machine::Machine;
use super::rows::{About, Mirror, Place, split};
use super::transactions::Transactions;
use crate::driver::{Answers, Hold};
use crate::sequencer::{GROUP_ROWS_MESSAGE_BYTES_MAX, GroupRows, group_rows_bytes};

/// Bytes of memory of a group beside its members.
const GROUP_BYTES: usize = 1_500;

/// Who waits under a ticket.
#[derive(Debug)]
pub(super) enum Waiting {
    Join(Reply<JoinedGroup>),
    Sync(Reply<SyncedGroup>),
}

/// What of a group is to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    #[default]
    Nothing,
    /// What is known beside its state.
    About,
    /// Its state too.
    State,
}

/// A group in memory.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) place: Place,
    /// Tells this one from others of the same name, before and after.
    pub(super) instance: u64,
    pub(super) machine: Machine,
    pub(super) mirror: Mirror,
    pub(super) about: About,
    pub(super) transactions: Transactions,
    /// Goes up with each join and each commit: what was decided on the group as it was then may not hold.
    pub(super) changes: u64,
    pub(super) last_used: MonoTime,
    /// When it is to be looked at again, as the actor has noted it.
    pub(super) wake: Option<MonoTime>,
    waiting: HashMap<Ticket, Waiting>,
    next_ticket: u64,
    change: Change,
    /// What members take in memory may be more or less than before.
    is_reweighed: bool,
    machine_bytes: usize,
    had_members: bool,
    /// Other rows that are to be stored.
    rows: GroupRows,
    /// Answers, and the writes that they hang on.
    answers: Answers<GroupsError>,
    /// Requests that are served once nothing is on its way.
    deferred: Vec<Asked>,
    memory: Hold,
}

impl Group {
    pub(super) fn new(
        place: Place,
        instance: u64,
        machine: Machine,
        mirror: Mirror,
        about: About,
        memory: Hold,
    ) -> Self {
        let had_members = machine.has_members();
        Self {
            place,
            instance,
            machine,
            mirror,
            about,
            transactions: Transactions::default(),
            changes: 0,
            last_used: MonoTime::START,
            wake: None,
            waiting: HashMap::new(),
            next_ticket: 0,
            change: Change::Nothing,
            is_reweighed: true,
            machine_bytes: 0,
            had_members,
            rows: GroupRows::new(),
            answers: Answers::default(),
            deferred: Vec::new(),
            memory,
        }
    }

    /// Whether there is such a group for others than its coordinator.
    pub(super) fn exists(&self) -> bool {
        let is_trace = !self.about.has_offsets && !self.machine.had_members();
        (self.mirror.exists() && !is_trace) || !self.machine.is_idle()
    }

    /// Whether it can be forgotten and read again without a loss.
    pub(super) fn is_idle(&self) -> bool {
        self.machine.is_idle() && self.waiting.is_empty() && !self.is_writing()
    }

    /// Whether something of it is on its way to the store.
    pub(super) fn is_writing(&self) -> bool {
        self.answers.is_writing()
    }

    /// Puts a request off until nothing is on its way.
    pub(super) fn defer(&mut self, asked: Asked) {
        self.deferred.push(asked);
    }

    /// The requests that were put off, if nothing is on its way any more.
    pub(super) fn deferred(&mut self) -> Vec<Asked> {
        if self.is_writing() {
            return Vec::new();
        }
        mem::take(&mut self.deferred)
    }

    /// A ticket for somebody who waits.
    pub(super) fn ticket(&mut self, waiting: Waiting) -> Ticket {
        // Who waits may have brought something along.
        self.is_reweighed = true;
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// Gives an answer once everything is durable that happened up to now.
    pub(super) fn answer<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        answer: Result<T, GroupsError>,
    ) {
        self.answers.answer(reply, answer);
    }

    /// The state is to be stored before any answer of this turn is given.
    pub(super) const fn store(&mut self) {
        self.change = Change::State;
        self.is_reweighed = true;
    }

    /// What the group's row says beside the state is to be stored before any answer of this turn is given. The state
    /// may be between two that can be stored.
    pub(super) fn store_about(&mut self) {
        self.change = self.change.max(Change::About);
    }

    /// Rows are to be stored before any answer of this turn is given.
    pub(super) fn put_rows(&mut self, rows: GroupRows) {
        self.rows.extend(rows);
    }

    /// Takes what follows from an event.
    pub(super) fn take(&mut self, effects: Effects) {
        if effects.store {
            self.store();
        }
        for (ticket, answer) in effects.answers {
            match (self.waiting.remove(&ticket), answer) {
                (Some(Waiting::Join(reply)), Answer::Join(answer)) => {
                    let answer = answer.map(joined).map_err(of_group);
                    self.answers.answer(reply, answer);
                }
                (Some(Waiting::Sync(reply)), Answer::Sync(answer)) => {
                    let answer = answer.map(synced_group);
                    self.answers.answer(reply, answer.map_err(of_group));
                }
                // Tickets are given out here, each for one kind of answer.
                (Some(Waiting::Join(reply)), Answer::Sync(_)) => {
                    drop(reply.send(Err(of_group(GroupError::UnknownMember))));
                }
                (Some(Waiting::Sync(reply)), Answer::Join(_)) => {
                    drop(reply.send(Err(of_group(GroupError::UnknownMember))));
                }
                (None, _) => {}
            }
        }
    }

    /// Ends the turn: what is to be written now, in this order; nothing if there is nothing.
    pub(super) fn end_turn(&mut self, wall: Timestamp) -> Vec<GroupRows> {
        let has_members = self.machine.has_members();
        if mem::replace(&mut self.had_members, has_members) && !has_members {
            self.about.empty_since = wall;
        }
        let mut messages = match mem::take(&mut self.change) {
            Change::Nothing => Vec::new(),
            Change::About => {
                let head = self.mirror.tell(&self.place, &self.machine, self.about);
                head.map(|row| vec![row]).into_iter().collect()
            }
            Change::State => self.mirror.update(&self.place, &self.machine, self.about),
        };
        add_rows(&mut messages, mem::take(&mut self.rows));
        if mem::take(&mut self.is_reweighed) {
            self.machine_bytes = self.machine.memory_bytes();
        }
        let bytes = GROUP_BYTES + self.machine_bytes + self.transactions.memory_bytes();
        self.memory.resize(bytes);
        messages
    }

    /// What the turn says is on its way under this number, if it had to be written: answers wait for it, and for
    /// all that was on its way before.
    pub(super) fn begin_write(&mut self, write: Option<u64>) {
        self.answers.end_turn(write);
    }

    /// A write is durable, and so are all before it.
    pub(super) fn end_write(&mut self, write: u64) {
        self.answers.written(write);
    }

    /// What the group says may not be so: nobody hears it, and the group is to be read again.
    pub(super) fn fail(self, error: &GroupsError) {
        for asked in self.deferred {
            asked.ask.fail(error.clone());
        }
        // What was on its way may be stored all the same: the next owner may have it, and must not be asked for it
        // twice by somebody who does not know that.
        self.answers.fail(error, &GroupsError::Unknown);
        for waiting in self.waiting.into_values() {
            match waiting {
                Waiting::Join(reply) => drop(reply.send(Err(error.clone()))),
                Waiting::Sync(reply) => drop(reply.send(Err(error.clone()))),
            }
        }
    }
}

/// Adds rows to what is written first: to the one message that there is, if it has room for them.
fn add_rows(messages: &mut Vec<GroupRows>, rows: GroupRows) {
    if let [only] = &mut messages[..]
        && group_rows_bytes(only) + group_rows_bytes(&rows) <= GROUP_ROWS_MESSAGE_BYTES_MAX
    {
        only.extend(rows);
    } else {
        messages.extend(split(rows));
    }
}

pub(super) fn synced_group(synced: tidelog_groups::classic::Synced) -> SyncedGroup {
    SyncedGroup {
        protocol_type: synced.protocol_type,
        protocol: synced.protocol,
        assignment: synced.assignment,
    }
}

pub(super) fn joined(joined: tidelog_groups::classic::Joined) -> JoinedGroup {
    let members = joined.members.into_iter().map(|member| JoinedMember {
        member_id: member.member_id,
        instance: member.instance,
        metadata: member.metadata,
    });
    JoinedGroup {
        generation: joined.generation,
        protocol_type: joined.protocol_type,
        protocol: joined.protocol,
        leader: joined.leader,
        member_id: joined.member_id,
        skip_assignment: joined.skip_assignment,
        members: members.collect(),
    }
}
