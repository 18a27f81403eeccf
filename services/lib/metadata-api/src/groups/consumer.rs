//! The request of members of the consumer protocol (KIP-848).

use std::time::Duration;

use tidelog_types::TopicPartition;

use super::{GroupClient, GroupName};

/// The epoch with which a member joins.
pub const EPOCH_JOIN: i32 = 0;
/// The epoch with which a member leaves.
pub const EPOCH_LEAVE: i32 = -1;
/// The epoch with which a static member leaves that will come back.
pub const EPOCH_LEAVE_FOR_A_WHILE: i32 = -2;

/// A member says that it lives, what it wants and what it has. What is `None` has not changed since it last said
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group; it is created if a member joins and it does not exist.
    pub group: GroupName,
    /// The member. Empty for one that joins and wants to be given an id (requests of version 0).
    pub member_id: String,
    /// [`EPOCH_JOIN`], [`EPOCH_LEAVE`], [`EPOCH_LEAVE_FOR_A_WHILE`], else the member's epoch.
    pub epoch: i32,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// Who asks.
    pub client: GroupClient,
    /// How long it may take to let go of partitions.
    pub rebalance: Option<Duration>,
    /// The topics that it wants, by name.
    pub topics: Option<Vec<String>>,
    /// The topics that it wants, by a pattern in the regular language of RE2; empty for none.
    pub pattern: Option<String>,
    /// The assignor that it likes, by name.
    pub assignor: Option<String>,
    /// The partitions that it has.
    pub owned: Option<Vec<TopicPartition>>,
}

/// What a member hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatAnswer {
    /// The member.
    pub member_id: String,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When to say that it lives again.
    pub heartbeat: Duration,
    /// What it may have from now on, in order; `None` if that is what it was.
    pub assignment: Option<Vec<TopicPartition>>,
}
