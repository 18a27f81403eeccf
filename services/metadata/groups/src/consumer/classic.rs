//! Members that still speak the classic protocol, in a group that has moved to the consumer protocol: their requests
//! are told as heartbeats, and the epoch of such a member is the generation that it knows.
//!
//! ```text
//!   join      a heartbeat that says what the member wants and has; its epoch is the answer
//!   sync      what it may have in that epoch
//!   heartbeat that it lives; it hears when it is to join again, since there is something for it to do
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_types::{TopicNumber, TopicPartition};

use super::heartbeat::Beat;
use super::member::{Member, MemberState};
use super::{ConsumerGroup, ConsumerSettings, TopicShape, Topics};
use crate::GroupError;
use crate::assign::Partitions;
use crate::classic::{CONSUMER_TYPE, ClassicGroup, Join, Joined, Protocol, Sync, Synced};
use crate::embedded::{NamedPartition, Subscription, decode_assignment, encode_assignment};

/// What only a member of the classic protocol has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicPart {
    /// After so long without a word it is taken for dead.
    pub session: Duration,
    /// The protocols that it knows.
    pub protocols: Vec<Protocol>,
}

/// The answer to a member of the classic protocol, and whether the group must be durable before it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// The group has changed in a way that must be durable before.
    pub store: bool,
}

impl ConsumerGroup {
    /// The group as it goes on when somebody joins who speaks the consumer protocol, if all its members say what
    /// they want and have in a way that is known.
    pub fn from_classic(
        settings: ConsumerSettings,
        classic: &ClassicGroup,
        topics: &dyn Topics,
        now: MonoTime,
    ) -> Option<Self> {
        let stored = classic.shown();
        if stored.protocol_type.as_deref() != Some(CONSUMER_TYPE)
            || stored.members.len() >= settings.members_max
        {
            return None;
        }
        let mut group = Self::after(settings, stored.generation);
        for member in stored.members {
            let chosen = stored.protocol.as_deref();
            let subscription = subscription_of(&member.protocols, chosen)?;
            let assigned = decode_assignment(member.assignment).unwrap_or_default();
            let mut assigned = numbered(&assigned, topics);
            // What it had before the group moved the other way it may not have let go of.
            assigned.extend(classic.held(&member.member_id).into_iter().flatten());
            let taken = group.holders.keys().any(|held| assigned.contains(held));
            if taken {
                // The leader's assignment makes no sense: let the members settle it among themselves.
                return None;
            }
            let id = member.member_id;
            let joined = Member {
                instance: member.instance,
                rack: subscription.rack,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance: member.rebalance,
                topics: subscription.topics.into_iter().collect(),
                pattern: None,
                assignor: None,
                epoch: stored.generation,
                previous_epoch: stored.generation,
                state: MemberState::Stable,
                assigned,
                revoking: Partitions::new(),
                is_away: false,
                session_until: now + member.session,
                release_until: None,
                classic: Some(ClassicPart {
                    session: member.session,
                    protocols: member.protocols,
                }),
            };
            if let Some(instance) = &joined.instance {
                group.instances.insert(instance.clone(), id.clone());
            }
            group.target.insert(id.clone(), joined.assigned.clone());
            group.hold(&id, &joined);
            group.members.insert(id, joined);
        }
        group.set_wake();
        Some(group)
    }

    /// Whether all members that are left speak the classic protocol, so that the group moves back to it.
    pub fn is_all_classic(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|member| member.classic.is_some())
    }

    /// What members have that speak the classic protocol.
    fn classic_parts(&self) -> impl Iterator<Item = &ClassicPart> {
        let members = self.members.values();
        members.filter_map(|member| member.classic.as_ref())
    }

    /// A member of the classic protocol joins, for the first time or again.
    pub fn join(
        &mut self,
        join: &Join,
        topics: &dyn Topics,
        now: MonoTime,
    ) -> Result<Told<Joined>, GroupError> {
        if join.protocol_type != CONSUMER_TYPE {
            return Err(GroupError::InconsistentProtocol);
        }
        let subscription = subscription_of(&join.protocols, None);
        let subscription = subscription.ok_or(GroupError::InconsistentProtocol)?;
        let common = |protocol: &&Protocol| {
            let mut parts = self.classic_parts();
            parts.all(|part| part.protocols.iter().any(|it| it.name == protocol.name))
        };
        let chosen = join.protocols.iter().find(common);
        let chosen = chosen.ok_or(GroupError::InconsistentProtocol)?.name.clone();
        let (id, epoch) = self.place_of(join)?;
        let beat = Beat {
            member_id: id.clone(),
            epoch,
            instance: join.instance.clone(),
            rack: subscription.rack,
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance: Some(join.rebalance),
            topics: Some(subscription.topics),
            pattern: Some(String::new()),
            assignor: None,
            owned: Some(numbered(&subscription.owned, topics)),
        };
        let part = ClassicPart {
            session: join.session,
            protocols: join.protocols.clone(),
        };
        let beaten = self.heartbeat_as(&beat, Some(part), topics, now)?;
        let answer = Joined {
            generation: beaten.epoch,
            protocol_type: Some(CONSUMER_TYPE.to_owned()),
            protocol: Some(chosen),
            // Nobody of them assigns.
            leader: String::new(),
            member_id: id,
            skip_assignment: false,
            members: Vec::new(),
        };
        let store = beaten.store;
        Ok(Told { answer, store })
    }

    /// Under which id a member joins, and as which epoch that counts.
    fn place_of(&mut self, join: &Join) -> Result<(String, i32), GroupError> {
        if join.member_id.is_empty() {
            let holder = join.instance.as_ref().and_then(|id| self.instances.get(id));
            if let Some(holder) = holder.cloned() {
                // A static member of the classic protocol does not say when it goes.
                if let Some(member) = self.members.get_mut(&holder)
                    && member.classic.is_some()
                {
                    member.is_away = true;
                }
            } else if join.id_first && join.instance.is_none() {
                return Err(GroupError::MemberIdRequired(join.new_id.clone()));
            }
            return Ok((join.new_id.clone(), 0));
        }
        let holder = join.instance.as_ref().and_then(|id| self.instances.get(id));
        if holder.is_some_and(|holder| *holder != join.member_id) {
            return Err(GroupError::FencedInstance);
        }
        match self.members.get(&join.member_id) {
            Some(member) if member.classic.is_some() => {
                // One that joins knows what it has, whatever epoch it has heard of last.
                Ok((join.member_id.clone(), member.epoch))
            }
            // One that was given its id a moment ago; nobody remembers that.
            None if join.instance.is_none() => Ok((join.member_id.clone(), 0)),
            Some(_) | None => Err(GroupError::UnknownMember),
        }
    }

    /// A member of the classic protocol asks what it has to do.
    pub fn sync(
        &mut self,
        sync: &Sync,
        names: &dyn Fn(TopicNumber) -> Option<String>,
        now: MonoTime,
    ) -> Result<Synced, GroupError> {
        let part =
            self.check_classic(&sync.member_id, sync.instance.as_deref(), sync.generation)?;
        let is_known = |protocol: &String| part.protocols.iter().any(|it| it.name == *protocol);
        let is_other = |kind: &String| kind != CONSUMER_TYPE;
        if sync.protocol_type.as_ref().is_some_and(is_other)
            || sync.protocol.as_ref().is_some_and(|it| !is_known(it))
        {
            return Err(GroupError::InconsistentProtocol);
        }
        if self.has_work(&sync.member_id) {
            return Err(GroupError::RebalanceInProgress);
        }
        self.renew(&sync.member_id, now);
        Ok(Synced {
            protocol_type: Some(CONSUMER_TYPE.to_owned()),
            protocol: sync.protocol.clone(),
            assignment: self.assignment_of(&sync.member_id, names),
        })
    }

    /// A member of the classic protocol says that it lives. It hears when it has to join again.
    pub fn classic_heartbeat(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now: MonoTime,
    ) -> Result<(), GroupError> {
        self.check_classic(member_id, instance, generation)?;
        self.renew(member_id, now);
        let has_work = self.has_work(member_id);
        let member = self.members.get_mut(member_id);
        let member = member.ok_or(GroupError::UnknownMember)?;
        if member.state != MemberState::Unrevoked && !has_work {
            return Ok(());
        }
        // It has as long as for any rebalance.
        let until = *member.release_until.get_or_insert(now + member.rebalance);
        self.wake_at(until);
        Err(GroupError::RebalanceInProgress)
    }

    /// Whether there is a step for the member to take once it joins again.
    fn has_work(&self, member_id: &str) -> bool {
        let Some(member) = self.members.get(member_id) else {
            return false;
        };
        match member.state {
            MemberState::Stable => member.epoch < self.epoch,
            MemberState::Unrevoked => false,
            MemberState::Unreleased => {
                let target = self.target.get(member_id);
                let missing = target.into_iter().flatten();
                let mut missing = missing.filter(|one| !member.assigned.contains(one));
                let is_free = |one: &TopicPartition| {
                    let holder = self.holders.get(one);
                    holder.is_none_or(|holder| holder == member_id)
                };
                member.epoch < self.epoch || missing.any(is_free)
            }
        }
    }

    fn check_classic(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<&ClassicPart, GroupError> {
        let holder = instance.and_then(|instance| self.instances.get(instance));
        if holder.is_some_and(|holder| holder != member_id) {
            return Err(GroupError::FencedInstance);
        }
        let member = self.members.get(member_id);
        let member = member.ok_or(GroupError::UnknownMember)?;
        let part = member.classic.as_ref().ok_or(GroupError::UnknownMember)?;
        if member.epoch != generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok(part)
    }

    fn renew(&mut self, member_id: &str, now: MonoTime) {
        let session = self.settings.session;
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_until = now + member.session(session);
            let until = member.session_until;
            self.wake_at(until);
        }
    }

    fn assignment_of(
        &self,
        member_id: &str,
        names: &dyn Fn(TopicNumber) -> Option<String>,
    ) -> Bytes {
        let member = self.members.get(member_id);
        let assigned = member.map(|member| &member.assigned).into_iter().flatten();
        let mine = assigned.filter_map(|one| {
            let index = i32::try_from(one.partition.get()).ok()?;
            Some((names(one.topic)?, index))
        });
        encode_assignment(&mine.collect::<Vec<_>>())
    }
}

/// What a member wants and has, as it says in the chosen protocol, or in the one that it likes best.
fn subscription_of(protocols: &[Protocol], chosen: Option<&str>) -> Option<Subscription> {
    let chosen = chosen.and_then(|name| protocols.iter().find(|it| it.name == name));
    let metadata = chosen.or_else(|| protocols.first())?.metadata.clone();
    Subscription::decode(metadata)
}

/// Partitions by number; those that there are not, or not any more, are nobody's.
fn numbered(partitions: &[NamedPartition], topics: &dyn Topics) -> Partitions {
    let found: BTreeSet<&str> = partitions.iter().map(|(name, _)| name.as_str()).collect();
    let shapes: BTreeMap<&str, TopicShape> = found
        .into_iter()
        .filter_map(|name| Some((name, topics.find(name)?)))
        .collect();
    let numbered = partitions.iter().filter_map(|(name, index)| {
        let shape = shapes.get(name.as_str())?;
        let index = u32::try_from(*index).ok();
        let index = index.filter(|index| *index < shape.partitions)?;
        let index = tidelog_types::PartitionIndex::new(index);
        Some(TopicPartition::new(shape.number, index))
    });
    numbered.collect()
}
