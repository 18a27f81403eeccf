//! What others than members ask of a group: whether it may move to the other protocol, what it reads, how large it
//! is.

use std::collections::BTreeSet;

use tidelog_env::MonoTime;

use super::member::Member;
use super::{ClassicGroup, ClassicSettings};
use crate::assign::Partitions;
use crate::consumer::ConsumerGroup;
use crate::embedded::Subscription;
use crate::{Effects, GroupError};

/// The type of protocol of consumers.
pub const CONSUMER_TYPE: &str = "consumer";
/// Bytes of memory of a member beside what it brings along.
const MEMBER_BYTES: usize = 600;
/// Bytes of memory of a partition that a member held before.
const HELD_BYTES: usize = 32;

impl ClassicGroup {
    /// A group without members that goes on from a generation, or from an epoch of the consumer protocol.
    pub const fn after(settings: ClassicSettings, generation: i32) -> Self {
        let mut group = Self::new(settings);
        group.generation = generation;
        group
    }

    /// The group as it goes on when only members are left that speak the classic protocol: they are asked to join
    /// again. Until they have, nothing of them is stored, so that they join anew if the owner is replaced.
    pub fn from_consumer(
        settings: ClassicSettings,
        consumer: &ConsumerGroup,
        now: MonoTime,
    ) -> Self {
        let mut group = Self::after(settings, consumer.epoch());
        group.protocol_type = Some(CONSUMER_TYPE.to_owned());
        group.is_provisional = true;
        for member in consumer.stored().members {
            let (id, Some(part)) = (member.member_id, member.classic) else {
                continue;
            };
            if let Some(instance) = &member.instance {
                group.instances.insert(instance.clone(), id.clone());
            }
            let joined = Member {
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                session: part.session,
                rebalance: member.rebalance,
                protocols: part.protocols,
                assignment: bytes::Bytes::new(),
                held: &member.assigned | &member.revoking,
                session_until: now + part.session,
                joining: None,
                syncing: None,
            };
            group.epochs.insert(id.clone(), member.epoch);
            group.members.insert(id, joined);
        }
        group.leader = group.members.keys().next().cloned();
        // There is no generation of this protocol to go on with.
        group.state = super::State::Stable;
        let mut effects = Effects::default();
        group.prepare_rebalance(now, &mut effects);
        group
    }

    /// What a member had when the group came from the consumer protocol and may still read, until it is given
    /// something else.
    pub(crate) fn held(&self, member_id: &str) -> Option<&Partitions> {
        self.members.get(member_id).map(|member| &member.held)
    }

    /// Tells all who wait that the group is moving to the other protocol: they join again.
    pub fn give_up_waiting(&mut self) -> Effects {
        let mut effects = Effects::default();
        for member in self.members.values_mut() {
            if let Some(ticket) = member.joining.take() {
                effects.join(ticket, Err(GroupError::RebalanceInProgress));
            }
            if let Some(ticket) = member.syncing.take() {
                effects.sync(ticket, Err(GroupError::RebalanceInProgress));
            }
        }
        effects
    }

    /// Such as `consumer`; none before the first member.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Whether it has members.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// The names of the topics that members read, if that can be known: it is consumers that know it of each other.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER_TYPE) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = match &self.protocol {
                Some(protocol) => member.metadata(protocol),
                None => member.protocols.first()?.metadata.clone(),
            };
            topics.extend(Subscription::decode(metadata)?.topics);
        }
        Some(topics)
    }

    /// About how many bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let members = self.members.values().map(|member| {
            let protocols = member.protocols.iter();
            let protocols =
                protocols.map(|protocol| protocol.name.len() + protocol.metadata.len() + 64);
            let held = member.held.len() * HELD_BYTES;
            MEMBER_BYTES + protocols.sum::<usize>() + member.assignment.len() + held
        });
        members.sum::<usize>() + self.pending.len() * MEMBER_BYTES
    }

    /// Nobody could be heard of for a while, and it was not the members' fault: all have a whole session again.
    pub fn forgive(&mut self, now: MonoTime) {
        for member in self.members.values_mut() {
            member.session_until = member.session_until.max(now + member.session);
        }
        self.set_wake();
    }
}
