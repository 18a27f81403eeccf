//! A group and members that talk to it, in time that the test makes.

mod fail;
mod random;
mod rebalances;
mod statics;

use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;

use super::{ClassicGroup, ClassicSettings, Join, Joined, Leaver, Protocol, Sync, Synced};
use crate::{Answer, Effects, GroupError, Ticket};

pub(super) const SESSION: Duration = Duration::from_secs(10);
pub(super) const REBALANCE: Duration = Duration::from_mins(1);
pub(super) const DELAY: Duration = Duration::from_secs(3);

/// A group, the time, and what was answered.
pub(super) struct World {
    pub(super) group: ClassicGroup,
    pub(super) now: MonoTime,
    tickets: u64,
    ids: u64,
    answers: Vec<(Ticket, Answer)>,
    /// How often something was to be stored.
    pub(super) stored: usize,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(ClassicSettings {
            initial_delay: DELAY,
            members_max: 5,
            ..ClassicSettings::default()
        })
    }

    pub(super) fn with(settings: ClassicSettings) -> Self {
        Self {
            group: ClassicGroup::new(settings),
            now: MonoTime::START,
            tickets: 0,
            ids: 0,
            answers: Vec::new(),
            stored: 0,
        }
    }

    /// What a member that has no id yet asks.
    pub(super) fn newcomer(&mut self) -> Join {
        self.ids += 1;
        Join {
            member_id: String::new(),
            new_id: format!("m{}", self.ids),
            instance: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session: SESSION,
            rebalance: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: protocols(&["range", "sticky"]),
            id_first: false,
            may_skip: true,
        }
    }

    /// What a member with this id asks.
    pub(super) fn known(&mut self, id: &str) -> Join {
        Join {
            member_id: id.to_owned(),
            ..self.newcomer()
        }
    }

    fn take(&mut self, effects: Effects) {
        self.stored += usize::from(effects.store);
        self.answers.extend(effects.answers);
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn join(&mut self, join: &Join) -> Ticket {
        let ticket = self.ticket();
        let effects = self.group.join(join, ticket, self.now);
        self.take(effects);
        ticket
    }

    pub(super) fn sync(&mut self, sync: Sync) -> Ticket {
        let ticket = self.ticket();
        let effects = self.group.sync(sync, ticket, self.now);
        self.take(effects);
        ticket
    }

    pub(super) fn leave(&mut self, id: &str) -> Result<(), GroupError> {
        self.leave_as(id, None)
    }

    pub(super) fn leave_as(&mut self, id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        let leaver = Leaver {
            member_id: id.to_owned(),
            instance: instance.map(str::to_owned),
        };
        let (mut outcomes, effects) = self.group.leave(&[leaver], self.now);
        self.take(effects);
        outcomes.pop().expect("one leaver, one outcome")
    }

    pub(super) fn heartbeat(&mut self, id: &str) -> Result<(), GroupError> {
        let generation = self.group.generation();
        self.group.heartbeat(id, None, generation, self.now)
    }

    /// Lets time pass, as one who calls the group exactly when it wants to be called.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.group.wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            let effects = self.group.tick(self.now);
            self.take(effects);
        }
        self.now = end;
    }

    /// The answer to a request; none if it still waits.
    pub(super) fn answer(&self, ticket: Ticket) -> Option<&Answer> {
        let mut answers = self.answers.iter().filter(|(to, _)| *to == ticket);
        let answer = answers.next().map(|(_, answer)| answer);
        assert!(answers.next().is_none(), "{ticket:?} was answered twice");
        answer
    }

    pub(super) fn waits(&self, ticket: Ticket) -> bool {
        self.answer(ticket).is_none()
    }

    pub(super) fn joined(&self, ticket: Ticket) -> Result<Joined, GroupError> {
        match self.answer(ticket) {
            Some(Answer::Join(answer)) => answer.clone(),
            other => panic!("no answer to a join but {other:?}"),
        }
    }

    pub(super) fn synced(&self, ticket: Ticket) -> Result<Synced, GroupError> {
        match self.answer(ticket) {
            Some(Answer::Sync(answer)) => answer.clone(),
            other => panic!("no answer to a sync but {other:?}"),
        }
    }

    /// A sync of a member of this generation, with assignments if it is the leader's.
    pub(super) fn sync_of(&self, id: &str, assignments: &[(&str, &'static str)]) -> Sync {
        let assignments = assignments.iter();
        Sync {
            member_id: id.to_owned(),
            instance: None,
            generation: self.group.generation(),
            protocol_type: Some("consumer".to_owned()),
            protocol: None,
            assignments: assignments
                .map(|(to, what)| ((*to).to_owned(), Bytes::from_static(what.as_bytes())))
                .collect(),
        }
    }

    /// A stable group of two: `m1`, which leads, and `m2`.
    pub(super) fn of_two() -> Self {
        let mut world = Self::new();
        let (first, second) = (world.newcomer(), world.newcomer());
        let first = world.join(&first);
        world.join(&second);
        world.pass(2 * DELAY);
        assert_eq!(world.joined(first).unwrap().leader, "m1");
        let follower = world.sync(world.sync_of("m2", &[]));
        world.sync(world.sync_of("m1", &[("m1", "one"), ("m2", "two")]));
        assert_eq!(world.synced(follower).unwrap().assignment, "two");
        world
    }
}

pub(super) fn protocols(names: &[&str]) -> Vec<Protocol> {
    let names = names.iter();
    let protocols = names.map(|name| Protocol {
        name: (*name).to_owned(),
        metadata: Bytes::from(format!("about {name}")),
    });
    protocols.collect()
}
