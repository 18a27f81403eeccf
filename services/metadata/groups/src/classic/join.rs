//! Members join, for the first time or again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;

use super::member::{Member, Protocol};
use super::{ClassicGroup, State};
use crate::{Effects, GroupError, Ticket};

/// A request to join.
#[derive(Clone, Debug)]
pub struct Join {
    /// The id that the member was given; empty for one that has none yet.
    pub member_id: String,
    /// An id that nobody has had, for a member that needs one.
    pub new_id: String,
    /// The user's name for this member, if it is a static one.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// After so long without a word it is taken for dead.
    pub session: Duration,
    /// How long it may take to join again when the group is rebalanced.
    pub rebalance: Duration,
    /// Such as `consumer`; all members have the same.
    pub protocol_type: String,
    /// The protocols that it knows, the one that it likes best first.
    pub protocols: Vec<Protocol>,
    /// Whether the member has to learn its id before it joins (requests of version 4 and later).
    pub id_first: bool,
    /// Whether a leader understands that it need not assign (requests of version 9 and later).
    pub may_skip: bool,
}

/// A member as the one who assigns sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id.
    pub instance: Option<String>,
    /// What it says of itself in the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a join: the generation has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The type of protocol.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: String,
    /// The member that hears this.
    pub member_id: String,
    /// The leader must not assign: what it would say is known already.
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

impl ClassicGroup {
    /// A member joins. The answer comes with these effects or with later ones.
    pub fn join(&mut self, join: &Join, ticket: Ticket, now: MonoTime) -> Effects {
        let mut effects = Effects::default();
        match self.try_join(join, ticket, now, &mut effects) {
            Ok(()) => self.try_complete_join(now, &mut effects),
            Err(error) => effects.join(ticket, Err(error)),
        }
        effects
    }

    fn try_join(
        &mut self,
        join: &Join,
        ticket: Ticket,
        now: MonoTime,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let settings = &self.settings;
        if join.session < settings.session_min || join.session > settings.session_max {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if !self.supports(join) {
            return Err(GroupError::InconsistentProtocol);
        }
        if join.member_id.is_empty() {
            return self.join_anew(join, ticket, now, effects);
        }
        if self.pending.contains_key(&join.member_id) {
            // A static member never gets its id first.
            if join.instance.is_some() {
                return Err(GroupError::UnknownMember);
            }
            self.check_room(&join.member_id)?;
            self.pending.remove(&join.member_id);
            self.add(&join.member_id, join, ticket, now, effects);
            return Ok(());
        }
        self.check_member(&join.member_id, join.instance.as_deref())?;
        self.join_again(join, ticket, now, effects);
        Ok(())
    }

    /// Whether the group could work with what the member knows.
    fn supports(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let known = |protocol: &&Protocol| {
            let mut members = self.members.values();
            members.all(|member| member.knows(&protocol.name))
        };
        self.protocol_type.as_deref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|protocol| known(&protocol))
    }

    /// Whether one more may come in; those who were given an id count as if they had.
    fn check_room(&self, member_id: &str) -> Result<(), GroupError> {
        let pending = self.pending.len() - usize::from(self.pending.contains_key(member_id));
        if self.members.len() + pending >= self.settings.members_max {
            return Err(GroupError::GroupFull);
        }
        Ok(())
    }

    /// A member without an id joins.
    fn join_anew(
        &mut self,
        join: &Join,
        ticket: Ticket,
        now: MonoTime,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let before = join.instance.as_ref().and_then(|id| self.instances.get(id));
        if let Some(before) = before.cloned() {
            self.replace(&before, join, ticket, now, effects);
            return Ok(());
        }
        self.check_room("")?;
        if join.id_first && join.instance.is_none() {
            let until = now + join.session;
            self.pending.insert(join.new_id.clone(), until);
            self.wake_at(until);
            return Err(GroupError::MemberIdRequired(join.new_id.clone()));
        }
        self.add(&join.new_id, join, ticket, now, effects);
        Ok(())
    }

    /// Takes a member in, and rebalances.
    fn add(
        &mut self,
        member_id: &str,
        join: &Join,
        ticket: Ticket,
        now: MonoTime,
        effects: &mut Effects,
    ) {
        let mut member = Member::new(join, now);
        member.joining = Some(ticket);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member_id.to_owned());
        }
        if let Some(instance) = &join.instance {
            self.instances
                .insert(instance.clone(), member_id.to_owned());
        }
        self.members.insert(member_id.to_owned(), member);
        if let State::Preparing(preparing) = &mut self.state
            && let Some(initial) = &mut preparing.initial
        {
            initial.one_more = true;
        }
        self.prepare_rebalance(now, effects);
    }

    /// A member that is known joins again.
    fn join_again(&mut self, join: &Join, ticket: Ticket, now: MonoTime, effects: &mut Effects) {
        let id = &join.member_id;
        let Some(member) = self.members.get_mut(id) else {
            effects.join(ticket, Err(GroupError::UnknownMember));
            return;
        };
        let same = member.protocols == join.protocols;
        let is_leader = self.leader.as_deref() == Some(id);
        let answer_again = match self.state {
            // Its answer was lost.
            State::Completing => same,
            // A follower that has nothing new; a leader joins again because it wants to assign anew.
            State::Stable => same && !is_leader,
            State::Empty | State::Preparing(_) => false,
        };
        member.update(join);
        if answer_again {
            self.renew(id, now);
            effects.join(ticket, Ok(self.joined(id)));
            return;
        }
        // Whoever asked before under this id hears nothing good: the member has asked again.
        if let Some(earlier) = member.joining.replace(ticket) {
            effects.join(earlier, Err(GroupError::RebalanceInProgress));
        }
        self.prepare_rebalance(now, effects);
    }

    /// A static member has come back under its instance id and gets a new member id: whoever has the old one
    /// is fenced.
    fn replace(
        &mut self,
        before: &str,
        join: &Join,
        ticket: Ticket,
        now: MonoTime,
        effects: &mut Effects,
    ) {
        let Some(mut member) = self.members.remove(before) else {
            effects.join(ticket, Err(GroupError::UnknownMember));
            return;
        };
        if let Some(earlier) = member.joining.take() {
            effects.join(earlier, Err(GroupError::FencedInstance));
        }
        if let Some(earlier) = member.syncing.take() {
            effects.sync(earlier, Err(GroupError::FencedInstance));
        }
        member.update(join);
        member.session_until = now + join.session;
        let id = join.new_id.clone();
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let old_leader = self.leader.clone().unwrap_or_default();
        if old_leader == before {
            self.leader = Some(id.clone());
        }
        if let Some((_, unsynced)) = &mut self.unsynced
            && unsynced.remove(before)
        {
            unsynced.insert(id.clone());
        }
        self.members.insert(id.clone(), member);
        self.renew(&id, now);
        if matches!(self.state, State::Stable) && self.choose_protocol() == self.protocol {
            // Nothing changes for the others. The new id must outlive this owner.
            effects.store = true;
            let mut joined = self.joined(&id);
            if join.may_skip {
                joined.skip_assignment = joined.leader == id;
            } else {
                // A leader that cannot be told to be quiet does not hear that it is one (KIP-345).
                joined.leader = old_leader;
                joined.members.clear();
            }
            effects.join(ticket, Ok(joined));
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(ticket);
        }
        self.prepare_rebalance(now, effects);
    }

    /// The answer to a member of this generation.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = if leader == member_id {
            let members = self.members.iter();
            let members = members.map(|(id, member)| JoinedMember {
                member_id: id.clone(),
                instance: member.instance.clone(),
                metadata: member.metadata(protocol),
            });
            members.collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members,
        }
    }

    /// The protocol that most members like best, among those that all know.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let common: BTreeSet<&str> = first
            .protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .filter(|name| self.members.values().all(|member| member.knows(name)))
            .collect();
        let votes = |name: &str| {
            let favourites = self.members.values().filter_map(|member| {
                let mut protocols = member.protocols.iter().map(|known| known.name.as_str());
                protocols.find(|known| common.contains(known))
            });
            favourites.filter(|favourite| *favourite == name).count()
        };
        let chosen = common.iter().max_by_key(|name| votes(name))?;
        Some((*chosen).to_owned())
    }
}
