//! What of a group outlives its owner, and what is shown of it.

use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;

use super::member::{Member, Protocol};
use super::{ClassicGroup, ClassicSettings, State};
use crate::assign::Partitions;

/// What of a group outlives its owner: its last whole generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    /// The generation.
    pub generation: i32,
    /// The type of protocol.
    pub protocol_type: Option<String>,
    /// The protocol of the generation.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<String>,
    /// The members, by id.
    pub members: Vec<StoredMember>,
}

/// A member of a [`StoredGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// After so long without a word it is taken for dead.
    pub session: Duration,
    /// How long it may take to join again.
    pub rebalance: Duration,
    /// The protocols that it knows.
    pub protocols: Vec<Protocol>,
    /// What it has to do.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// What is to be stored, when [`Effects::store`](crate::Effects::store) says so.
    pub fn stored(&self) -> StoredGroup {
        let mut stored = self.shown();
        if self.is_provisional {
            stored.leader = None;
            stored.members.clear();
        }
        stored
    }

    /// What can be shown at any time.
    pub fn shown(&self) -> StoredGroup {
        let members = self.members.iter().map(|(id, member)| StoredMember {
            member_id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session: member.session,
            rebalance: member.rebalance,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        });
        StoredGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// The group as a new owner finds it: all members have a whole session to be heard of.
    pub fn restore(settings: ClassicSettings, stored: StoredGroup, now: MonoTime) -> Self {
        let mut group = Self::new(settings);
        group.generation = stored.generation;
        group.protocol_type = stored.protocol_type;
        for member in stored.members {
            if let Some(instance) = &member.instance {
                let id = member.member_id.clone();
                group.instances.insert(instance.clone(), id);
            }
            let restored = Member {
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                session: member.session,
                rebalance: member.rebalance,
                protocols: member.protocols,
                assignment: member.assignment,
                held: Partitions::new(),
                session_until: now + member.session,
                joining: None,
                syncing: None,
            };
            group.members.insert(member.member_id, restored);
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
            group.protocol = stored.protocol;
            group.leader = stored.leader;
        }
        group.set_wake();
        group
    }
}
