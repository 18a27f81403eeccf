//! A group of either protocol.

use std::collections::BTreeSet;

use tidelog_env::MonoTime;
use tidelog_groups::Effects;
use tidelog_groups::classic::{ClassicGroup, ClassicState};
use tidelog_groups::consumer::{ConsumerGroup, ConsumerState, Topics};
use tidelog_metadata_api::{
    ClassicDescription, ClassicMember, ConsumerDescription, ConsumerMember, GroupClient,
    GroupDescription, GroupKind, GroupState,
};

use super::settings::GroupSettings;

/// A group of either protocol.
#[derive(Debug)]
pub(super) enum Machine {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Machine {
    /// A group that nobody has joined yet.
    pub(super) const fn new(settings: &GroupSettings) -> Self {
        Self::Classic(ClassicGroup::new(settings.classic))
    }

    pub(super) fn has_members(&self) -> bool {
        match self {
            Self::Classic(group) => group.has_members(),
            Self::Consumer(group) => group.has_members(),
        }
    }

    /// Whether nobody is a member or about to be one.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_idle(),
            Self::Consumer(group) => !group.has_members(),
        }
    }

    /// Whether it ever had a member.
    pub(super) fn had_members(&self) -> bool {
        match self {
            Self::Classic(group) => group.protocol_type().is_some() || group.generation() > 0,
            Self::Consumer(_) => true,
        }
    }

    pub(super) const fn wake(&self) -> Option<MonoTime> {
        match self {
            Self::Classic(group) => group.wake(),
            Self::Consumer(group) => group.wake(),
        }
    }

    pub(super) fn tick(&mut self, now: MonoTime) -> Effects {
        match self {
            Self::Classic(group) => group.tick(now),
            Self::Consumer(group) => Effects {
                store: group.tick(now),
                answers: Vec::new(),
            },
        }
    }

    /// Moves back to the classic protocol when no member is left that speaks the other one. Returns whether it has.
    pub(super) fn settle(&mut self, settings: &GroupSettings, now: MonoTime) -> bool {
        let Self::Consumer(group) = self else {
            return false;
        };
        if !group.is_all_classic() {
            return false;
        }
        let after = ClassicGroup::from_consumer(settings.classic, group, now);
        *self = Self::Classic(after);
        true
    }

    pub(super) fn forgive(&mut self, now: MonoTime) {
        match self {
            Self::Classic(group) => group.forgive(now),
            Self::Consumer(group) => group.forgive(now),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Classic(group) => group.memory_bytes(),
            Self::Consumer(group) => group.memory_bytes(),
        }
    }

    /// The names of the topics that members read, if that can be known.
    pub(super) fn subscribed_topics(&self, topics: &dyn Topics) -> Option<BTreeSet<String>> {
        match self {
            Self::Classic(group) => group.subscribed_topics(),
            Self::Consumer(group) => Some(group.subscribed_topics(topics)),
        }
    }

    pub(super) const fn kind(&self) -> GroupKind {
        match self {
            Self::Classic(_) => GroupKind::Classic,
            Self::Consumer(_) => GroupKind::Consumer,
        }
    }

    pub(super) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type().unwrap_or_default(),
            Self::Consumer(_) => tidelog_groups::classic::CONSUMER_TYPE,
        }
    }

    pub(super) fn state(&self) -> GroupState {
        match self {
            Self::Classic(group) => match group.state() {
                ClassicState::Empty => GroupState::Empty,
                ClassicState::PreparingRebalance => GroupState::PreparingRebalance,
                ClassicState::CompletingRebalance => GroupState::CompletingRebalance,
                ClassicState::Stable => GroupState::Stable,
            },
            Self::Consumer(group) => match group.state() {
                ConsumerState::Empty => GroupState::Empty,
                ConsumerState::Assigning => GroupState::Assigning,
                ConsumerState::Reconciling => GroupState::Reconciling,
                ConsumerState::Stable => GroupState::Stable,
            },
        }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        match self {
            Self::Classic(group) => {
                GroupDescription::Classic(describe_classic(group, self.state()))
            }
            Self::Consumer(group) => {
                GroupDescription::Consumer(describe_consumer(group, self.state()))
            }
        }
    }
}

fn describe_classic(group: &ClassicGroup, state: GroupState) -> ClassicDescription {
    let stored = group.shown();
    // Between two generations neither what a member says nor what it has to do holds.
    let is_stable = state == GroupState::Stable;
    let protocol = stored.protocol.filter(|_| is_stable).unwrap_or_default();
    let members = stored.members.into_iter().map(|member| {
        let mut known = member.protocols.into_iter();
        let metadata = known.find(|known| known.name == protocol);
        ClassicMember {
            member_id: member.member_id,
            instance: member.instance,
            client: GroupClient {
                id: member.client_id,
                host: member.client_host,
            },
            metadata: metadata.map(|known| known.metadata).unwrap_or_default(),
            assignment: if is_stable {
                member.assignment
            } else {
                bytes::Bytes::new()
            },
        }
    });
    let members = members.collect();
    ClassicDescription {
        state,
        generation: stored.generation,
        protocol_type: stored.protocol_type.unwrap_or_default(),
        protocol,
        members,
    }
}

fn describe_consumer(group: &ConsumerGroup, state: GroupState) -> ConsumerDescription {
    let stored = group.stored();
    let members = stored.members.into_iter().map(|member| ConsumerMember {
        member_id: member.member_id,
        instance: member.instance,
        rack: member.rack,
        client: GroupClient {
            id: member.client_id,
            host: member.client_host,
        },
        epoch: if member.is_away {
            tidelog_metadata_api::EPOCH_LEAVE_FOR_A_WHILE
        } else {
            member.epoch
        },
        rebalance: member.rebalance,
        topics: member.topics.into_iter().collect(),
        pattern: member.pattern,
        assigned: member.assigned.into_iter().collect(),
        target: member.target.into_iter().collect(),
        is_classic: member.classic.is_some(),
    });
    let members = members.collect();
    ConsumerDescription {
        state,
        epoch: stored.epoch,
        target_epoch: stored.target_epoch,
        assignor: group.assignor_name().to_owned(),
        members,
    }
}
