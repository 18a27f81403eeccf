//! Coordinators whose members wait for as long as a test says.

use async_trait::async_trait;
use tidelog_metadata_api::*;

use crate::fake::Fake;

impl Fake {
    fn coordinates(&self, group: &GroupName) -> Result<(), GroupsError> {
        let count = u32::try_from(self.view.borrow().shards.len()).expect("few");
        let shard = group_shard(group, count);
        let owns = self.said.lock().groups.contains_key(&shard);
        owns.then_some(()).ok_or(GroupsError::NotCoordinator)
    }
}

fn refuse() -> GroupsError {
    GroupsError::InvalidRequest {
        reason: "no test asks for it".to_owned(),
    }
}

#[async_trait]
impl Groups for Fake {
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        self.coordinates(&request.group)?;
        self.joins.send_modify(|joins| *joins += 1);
        let mut gate = self.gate.subscribe();
        // The sender is here.
        let _ = gate.wait_for(|is_open| *is_open).await;
        self.coordinates(&request.group)?;
        Ok(JoinedGroup {
            generation: 1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member_id: request.member_id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    async fn sync(&self, _: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        Err(refuse())
    }

    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError> {
        self.coordinates(&request.group)
    }

    async fn leave(&self, _: LeaveGroup) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        Err(refuse())
    }

    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        self.coordinates(&request.group)?;
        self.joins.send_modify(|joins| *joins += 1);
        let mut gate = self.gate.subscribe();
        let _ = gate.wait_for(|is_open| *is_open).await;
        Ok(ConsumerHeartbeatAnswer {
            member_id: request.member_id,
            epoch: request.epoch + 1,
            heartbeat: std::time::Duration::from_secs(5),
            assignment: None,
        })
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
        let ended = ends.iter().map(|end| self.coordinates(&end.group));
        ended.collect()
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
