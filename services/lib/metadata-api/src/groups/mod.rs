//! Consumer groups: who reads which partitions, and how far they have come.
//!
//! ```text
//!   member -- join, sync, heartbeat --------> coordinator of the group's shard --> store
//!          -- consumer heartbeat (KIP-848) ->        |
//!          -- commit offsets --------------->        v
//!          <-- answer, once what it says is durable --
//! ```
//!
//! A group's shard is stored with it; the process that owns the shard coordinates the group. Requests are of the
//! domain: whoever speaks Kafka's protocol or gRPC turns its messages into these.

mod classic;
mod consumer;
mod error;
mod name;
mod nobody;
mod offsets;
mod show;

use std::fmt;

use async_trait::async_trait;

pub use self::classic::{
    GroupHeartbeat, GroupProtocol, JoinGroup, JoinedGroup, JoinedMember, LeaveGroup, LeavingMember,
    SyncGroup, SyncedGroup,
};
pub use self::consumer::{
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, EPOCH_JOIN, EPOCH_LEAVE, EPOCH_LEAVE_FOR_A_WHILE,
};
pub use self::error::GroupsError;
pub use self::name::{GROUP_NAME_BYTES_MAX, GroupName, GroupNameError};
pub use self::nobody::NoGroups;
pub use self::offsets::{
    CommitOffsets, CommittedOffset, CommittingMember, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffset, FetchedOffsets, GroupOffset, OFFSET_METADATA_BYTES_MAX,
    OpenTransaction,
};
pub use self::show::{
    ClassicDescription, ClassicMember, ConsumerDescription, ConsumerMember, GroupDescription,
    GroupFilter, GroupKind, GroupListing, GroupPage, GroupState,
};

/// Longest id of a member in bytes. With the name of a group it must fit a key of the store.
pub const MEMBER_ID_BYTES_MAX: usize = 200;

/// Longest other text that a member brings along, such as an instance id or a client id, in bytes.
pub const MEMBER_TEXT_BYTES_MAX: usize = 255;

/// Who speaks for a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupClient {
    /// What the client calls itself.
    pub id: String,
    /// Where it is, as Kafka's tools show it: `/` and an address.
    pub host: String,
}

/// Coordinators of groups.
///
/// - Whatever an answer says is durable. An owner that was replaced changes nothing, hands out no partitions, shows no
///   offsets and throws nobody out; only that a member lives it may say for as long as it does not know.
/// - Dropping a future does not withdraw the request.
/// - All requests may be made again after a retriable error ([`GroupsError::is_retriable`]).
/// - Each request is bounded in time by the service, those that wait for others ([`join`](Self::join) and
///   [`sync`](Self::sync)) by the rebalance timeouts of the group.
#[async_trait]
pub trait Groups: fmt::Debug + Send + Sync + 'static {
    /// A member of the classic protocol joins. The answer comes when the generation begins, which all members are
    /// waited for.
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError>;

    /// A member asks what it has to do. The answer comes when the leader has said so.
    async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup, GroupsError>;

    /// A member says that it lives, and hears of a rebalance by [`GroupsError::RebalanceInProgress`]. A member of
    /// the classic protocol in a group that moves to the consumer protocol does so too.
    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError>;

    /// Members leave; one outcome for each, in order.
    async fn leave(&self, request: LeaveGroup)
    -> Result<Vec<Result<(), GroupsError>>, GroupsError>;

    /// The one request of the consumer protocol.
    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError>;

    /// Commits offsets; one outcome for each, in order. Durable when answered.
    async fn commit_offsets(
        &self,
        request: CommitOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError>;

    /// Committed offsets of groups, one answer for each request and in their order.
    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets>;

    /// Deletes committed offsets; one outcome for each, in order. An offset that is not there is deleted already.
    async fn delete_offsets(
        &self,
        request: DeleteOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError>;

    /// Ends transactions in groups: offsets that wait for it are the group's then, or go. One outcome for each, in
    /// order, durable when answered. Asking again is safe.
    async fn end_group_transactions(
        &self,
        ends: Vec<EndGroupTransaction>,
    ) -> Vec<Result<(), GroupsError>>;

    /// Lists groups, about `count` in a page, from where `after` (a page's `next`, or empty) points.
    async fn list_groups(
        &self,
        filter: &GroupFilter,
        after: &[u8],
        count: usize,
    ) -> Result<GroupPage, GroupsError>;

    /// Describes groups, one answer for each name and in their order.
    async fn describe_groups(
        &self,
        groups: &[GroupName],
    ) -> Vec<Result<GroupDescription, GroupsError>>;

    /// Deletes groups that have no members, with their offsets; one outcome for each name and in their order.
    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<(), GroupsError>>;
}
