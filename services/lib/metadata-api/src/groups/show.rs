//! Groups as operators see them.

use std::time::Duration;

use bytes::Bytes;
use tidelog_types::TopicPartition;

use super::{GroupClient, GroupName};

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// Kafka's classic protocol; also a group that has only offsets.
    Classic,
    /// The consumer protocol (KIP-848).
    Consumer,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; there may be offsets.
    Empty,
    /// Classic: members join.
    PreparingRebalance,
    /// Classic: all have joined, the leader's assignment is awaited.
    CompletingRebalance,
    /// Consumer: something has changed, and the assignment is not made yet.
    Assigning,
    /// Consumer: some member does not have what it is to have.
    Reconciling,
    /// All members have what they are to have.
    Stable,
}

/// Which groups are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only groups in one of these states; empty for all.
    pub states: Vec<GroupState>,
    /// Only groups of one of these kinds; empty for all.
    pub kinds: Vec<GroupKind>,
}

impl GroupFilter {
    /// Whether a group is wanted.
    pub fn takes(&self, kind: GroupKind, state: GroupState) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.states.is_empty() || self.states.contains(&state))
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group: GroupName,
    /// Its kind.
    pub kind: GroupKind,
    /// Such as `consumer`; empty for a group that has only offsets.
    pub protocol_type: String,
    /// Where it stands.
    pub state: GroupState,
}

/// Some groups, in no order that means anything; the same in each list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupListing>,
    /// Ask with this for more; empty at the end. A page may be empty and not be the last one.
    pub next: Vec<u8>,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupDescription {
    /// A group of the classic protocol, or one that has only offsets.
    Classic(ClassicDescription),
    /// A group of the consumer protocol.
    Consumer(ConsumerDescription),
}

/// A group of the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicDescription {
    /// Where it stands.
    pub state: GroupState,
    /// The generation.
    pub generation: i32,
    /// Such as `consumer`; empty before the first member.
    pub protocol_type: String,
    /// The chosen protocol; empty if none is chosen now.
    pub protocol: String,
    /// Its members.
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Who it is.
    pub client: GroupClient,
    /// What it says of itself in the chosen protocol; empty while none is chosen.
    pub metadata: Bytes,
    /// What it has to do; empty while the group is not stable.
    pub assignment: Bytes,
}

/// A group of the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// Where it stands.
    pub state: GroupState,
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch that the targets were made for.
    pub target_epoch: i32,
    /// The assignor in use, by name.
    pub assignor: String,
    /// Its members.
    pub members: Vec<ConsumerMember>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// Who it is.
    pub client: GroupClient,
    /// Its epoch.
    pub epoch: i32,
    /// How long it may take to let go of partitions.
    pub rebalance: Duration,
    /// The topics that it wants, by name.
    pub topics: Vec<String>,
    /// The topics that it wants, by a pattern.
    pub pattern: Option<String>,
    /// What it may have now, in order.
    pub assigned: Vec<TopicPartition>,
    /// What it is to have, in order.
    pub target: Vec<TopicPartition>,
    /// Whether it still speaks the classic protocol, in a group that moves to the consumer protocol.
    pub is_classic: bool,
}
