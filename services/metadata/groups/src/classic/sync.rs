//! The leader's assignment goes to all.

use bytes::Bytes;
use tidelog_env::MonoTime;

use super::{ClassicGroup, State};
use crate::{Effects, GroupError, Ticket};

/// A request for the assignment; the leader's brings it.
#[derive(Clone, Debug)]
pub struct Sync {
    /// The member.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// The generation that it has joined.
    pub generation: i32,
    /// The type of protocol as the member knows it, if it says so.
    pub protocol_type: Option<String>,
    /// The protocol as the member knows it, if it says so.
    pub protocol: Option<String>,
    /// From the leader: what each member has to do.
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The type of protocol.
    pub protocol_type: Option<String>,
    /// The protocol of this generation.
    pub protocol: Option<String>,
    /// What the member has to do.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// A member asks what it has to do. The answer comes with these effects or with later ones.
    pub fn sync(&mut self, sync: Sync, ticket: Ticket, now: MonoTime) -> Effects {
        let mut effects = Effects::default();
        if let Err(error) = self.try_sync(sync, ticket, now, &mut effects) {
            effects.sync(ticket, Err(error));
        }
        effects
    }

    fn try_sync(
        &mut self,
        sync: Sync,
        ticket: Ticket,
        now: MonoTime,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        self.check(&sync.member_id, sync.instance.as_deref(), sync.generation)?;
        let differs =
            |said: &Option<String>, holds: &Option<String>| said.is_some() && said != holds;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.state {
            State::Empty => return Err(GroupError::UnknownMember),
            State::Preparing(_) => return Err(GroupError::RebalanceInProgress),
            State::Completing | State::Stable => {}
        }
        self.has_synced(&sync.member_id);
        if matches!(self.state, State::Stable) {
            self.renew(&sync.member_id, now);
            effects.sync(ticket, Ok(self.synced(&sync.member_id)));
            return Ok(());
        }
        if let Some(member) = self.members.get_mut(&sync.member_id)
            && let Some(earlier) = member.syncing.replace(ticket)
        {
            effects.sync(earlier, Err(GroupError::RebalanceInProgress));
        }
        if self.leader.as_deref() == Some(&sync.member_id) {
            self.assign(sync.assignments, now, effects);
        }
        Ok(())
    }

    fn has_synced(&mut self, member_id: &str) {
        if let Some((_, unsynced)) = &mut self.unsynced {
            unsynced.remove(member_id);
            if unsynced.is_empty() {
                self.unsynced = None;
            }
        }
    }

    /// The leader has said who does what; one whom it has forgotten does nothing.
    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: MonoTime, effects: &mut Effects) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            member.held.clear();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.state = State::Stable;
        self.is_provisional = false;
        effects.store = true;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            if let Some(ticket) = member.syncing.take() {
                member.session_until = now + member.session;
                effects.sync(ticket, Ok(self.synced(&id)));
            }
        }
        self.set_wake();
    }

    fn synced(&self, member_id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.assignment(member_id),
        }
    }
}
