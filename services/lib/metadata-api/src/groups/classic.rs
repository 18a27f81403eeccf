//! Requests of members of Kafka's classic group protocol.

use std::time::Duration;

use bytes::Bytes;

use super::{GroupClient, GroupName};

/// A way to assign partitions that a member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProtocol {
    /// Its name, such as `range`.
    pub name: String,
    /// What the member that assigns has to know of this member; the coordinator hands it on.
    pub metadata: Bytes,
}

/// A member joins, for the first time or again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group; it is created if it does not exist.
    pub group: GroupName,
    /// The id that the member was given; empty for one that has none yet.
    pub member_id: String,
    /// The user's name for this member, if it is a static one.
    pub instance: Option<String>,
    /// Who asks.
    pub client: GroupClient,
    /// After so long without a word the member is taken for dead.
    pub session: Duration,
    /// How long it may take to join again when the group is rebalanced. For requests that do not say (version 0):
    /// the session.
    pub rebalance: Duration,
    /// Such as `consumer`; all members have the same.
    pub protocol_type: String,
    /// The protocols that it knows, the one that it likes best first.
    pub protocols: Vec<GroupProtocol>,
    /// Whether a member without an id has to learn it before it joins (requests of version 4 and later).
    pub id_first: bool,
    /// Whether a leader understands that it need not assign (requests of version 9 and later).
    pub may_skip_assignment: bool,
    /// Why it joins, for the log (KIP-800).
    pub reason: Option<String>,
}

/// A member as the one who assigns sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// What it says of itself in the chosen protocol.
    pub metadata: Bytes,
}

/// A generation of the group has begun, and the member is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedGroup {
    /// The generation.
    pub generation: i32,
    /// The type of protocol.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol: Option<String>,
    /// The id of the member that assigns.
    pub leader: String,
    /// The id of the member that asked.
    pub member_id: String,
    /// The leader must not assign: what it would say is known already (KIP-814).
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member of a generation asks what it has to do; the leader says it for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group: GroupName,
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
    /// From the leader: member ids, and what each has to do.
    pub assignments: Vec<(String, Bytes)>,
}

/// What a member has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedGroup {
    /// The type of protocol.
    pub protocol_type: Option<String>,
    /// The protocol of this generation.
    pub protocol: Option<String>,
    /// What the member has to do, as the leader has said.
    pub assignment: Bytes,
}

/// A member says that it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHeartbeat {
    /// The group.
    pub group: GroupName,
    /// The member.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// The generation that it is in.
    pub generation: i32,
}

/// Members leave. An operator may name members of either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group.
    pub group: GroupName,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One who leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member; may be empty if the instance is named, as an operator does who removes a static member.
    pub member_id: String,
    /// Its instance id, if it is a static one.
    pub instance: Option<String>,
    /// Why, for the log (KIP-800).
    pub reason: Option<String>,
}
