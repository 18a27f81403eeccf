//! The groups of a process that has none.

use async_trait::async_trait;

use super::{
    CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter, GroupHeartbeat, GroupName,
    GroupPage, Groups, GroupsError, JoinGroup, JoinedGroup, LeaveGroup, SyncGroup, SyncedGroup,
};

/// Answers to every request that no coordinator is available.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGroups;

fn refuse() -> GroupsError {
    GroupsError::Unavailable {
        reason: "this process knows no coordinators".to_owned(),
    }
}

#[async_trait]
impl Groups for NoGroups {
    async fn join(&self, _: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        Err(refuse())
    }

    async fn sync(&self, _: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        Err(refuse())
    }

    async fn heartbeat(&self, _: GroupHeartbeat) -> Result<(), GroupsError> {
        Err(refuse())
    }

    async fn leave(&self, _: LeaveGroup) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        Err(refuse())
    }

    async fn consumer_heartbeat(
        &self,
        _: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        Err(refuse())
    }

    async fn commit_offsets(
        &self,
        _: CommitOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        Err(refuse())
    }

    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        requests.iter().map(|_| Err(refuse())).collect()
    }

    async fn delete_offsets(
        &self,
        _: DeleteOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        Err(refuse())
    }

    async fn end_group_transactions(
        &self,
        ends: Vec<EndGroupTransaction>,
    ) -> Vec<Result<(), GroupsError>> {
        ends.iter().map(|_| Err(refuse())).collect()
    }

    async fn list_groups(
        &self,
        _: &GroupFilter,
        _: &[u8],
        _: usize,
    ) -> Result<GroupPage, GroupsError> {
        Err(refuse())
    }

    async fn describe_groups(
        &self,
        groups: &[GroupName],
    ) -> Vec<Result<GroupDescription, GroupsError>> {
        groups.iter().map(|_| Err(refuse())).collect()
    }

    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<(), GroupsError>> {
        groups.iter().map(|_| Err(refuse())).collect()
    }
}
