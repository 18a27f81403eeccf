//! What is asked of a coordinator.

use tidelog_metadata_api::{
    CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EndGroupTransaction,
    GroupDescription, GroupHeartbeat, GroupName, GroupsError, JoinGroup, JoinedGroup, LeaveGroup,
    SyncGroup, SyncedGroup,
};
use tokio::sync::oneshot;

use crate::driver::Hold;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, GroupsError>>;
/// An outcome for each item of a request.
pub(super) type Outcomes = Vec<Result<(), GroupsError>>;

/// A request to a group.
#[derive(Debug)]
pub(super) enum Ask {
    Join(JoinGroup, Reply<JoinedGroup>),
    Sync(SyncGroup, Reply<SyncedGroup>),
    Heartbeat(GroupHeartbeat, Reply<()>),
    Leave(LeaveGroup, Reply<Outcomes>),
    Beat(ConsumerHeartbeat, Reply<ConsumerHeartbeatAnswer>),
    Commit(CommitOffsets, Reply<Outcomes>),
    /// Whether a member of the consumer protocol may fetch offsets.
    CheckFetch {
        group: GroupName,
        member_id: String,
        epoch: i32,
        reply: Reply<()>,
    },
    DeleteOffsets(DeleteOffsets, Reply<Outcomes>),
    EndTransaction(EndGroupTransaction, Reply<()>),
    Describe(GroupName, Reply<GroupDescription>),
    Delete(GroupName, Reply<()>),
    /// Look whether offsets have expired. Nobody waits for it.
    Expire(GroupName),
}

/// A request and the memory that it takes while it waits.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) hold: Option<Hold>,
}

impl Ask {
    pub(super) const fn group(&self) -> &GroupName {
        match self {
            Self::Join(request, _) => &request.group,
            Self::Sync(request, _) => &request.group,
            Self::Heartbeat(request, _) => &request.group,
            Self::Leave(request, _) => &request.group,
            Self::Beat(request, _) => &request.group,
            Self::Commit(request, _) => &request.group,
            Self::DeleteOffsets(request, _) => &request.group,
            Self::EndTransaction(request, _) => &request.group,
            Self::CheckFetch { group, .. }
            | Self::Describe(group, _)
            | Self::Delete(group, _)
            | Self::Expire(group) => group,
        }
    }

    /// Refuses the request. Who does not wait any more does not matter, here and below.
    pub(super) fn fail(self, error: GroupsError) {
        match self {
            Self::Join(_, reply) => drop(reply.send(Err(error))),
            Self::Sync(_, reply) => drop(reply.send(Err(error))),
            Self::Heartbeat(_, reply)
            | Self::CheckFetch { reply, .. }
            | Self::EndTransaction(_, reply)
            | Self::Delete(_, reply) => {
                drop(reply.send(Err(error)));
            }
            Self::Leave(_, reply) | Self::Commit(_, reply) | Self::DeleteOffsets(_, reply) => {
                drop(reply.send(Err(error)));
            }
            Self::Beat(_, reply) => drop(reply.send(Err(error))),
            Self::Describe(_, reply) => drop(reply.send(Err(error))),
            Self::Expire(_) => {}
        }
    }
}
