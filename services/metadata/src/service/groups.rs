//! What the service offers to groups of consumers: the coordinators of its shards.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use tidelog_metadata_api::{
    CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter, GroupHeartbeat, GroupListing,
    GroupName, GroupPage, GroupPlace, Groups, GroupsError, JoinGroup, JoinedGroup, LeaveGroup,
    SyncGroup, SyncedGroup, group_shard,
};

use super::MetadataService;
use crate::coordinator::Coordinator;

/// Groups in a page at most.
const PAGE_MAX: usize = 1_000;
/// Of a change that was under way when the store was lost nobody knows what became.
const LOST: GroupsError = GroupsError::Unknown;

impl MetadataService {
    fn coordinator(&self, group: &GroupName) -> Result<Arc<Coordinator>, GroupsError> {
        let shard = group_shard(group, self.inner.cluster.shards);
        Ok(self.inner.shards.coordinator(shard)?)
    }

    /// Some groups of the first shard from `place` on that is here or that should be.
    async fn list_from(
        &self,
        mut place: GroupPlace,
        count: usize,
    ) -> Result<(Vec<GroupListing>, Option<GroupPlace>), GroupsError> {
        let coordinator = self.inner.shards.coordinator(place.shard)?;
        let listed = coordinator.list(place.after.as_ref(), count).await?;
        let (listings, after) = listed;
        if after.is_some() {
            place.after = after;
            return Ok((listings, Some(place)));
        }
        Ok((listings, place.next_shard(self.inner.cluster.shards)))
    }
}

#[async_trait]
impl Groups for MetadataService {
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.join(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.sync(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.heartbeat(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn leave(
        &self,
        request: LeaveGroup,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.leave(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.beat(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn commit_offsets(
        &self,
        request: CommitOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.commit(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        let fetches = requests.into_iter().map(|request| async {
            let coordinator = self.coordinator(&request.group)?;
            let work = coordinator.fetch_offsets(request);
            self.inner.touch.answer(work).await
        });
        join_all(fetches).await
    }

    async fn delete_offsets(
        &self,
        request: DeleteOffsets,
    ) -> Result<Vec<Result<(), GroupsError>>, GroupsError> {
        let coordinator = self.coordinator(&request.group)?;
        let work = coordinator.delete_offsets(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn end_group_transactions(
        &self,
        ends: Vec<EndGroupTransaction>,
    ) -> Vec<Result<(), GroupsError>> {
        let ended = ends.into_iter().map(|end| async {
            let coordinator = self.coordinator(&end.group)?;
            let work = coordinator.end_transaction(end);
            self.inner.touch.change(LOST, work).await
        });
        join_all(ended).await
    }

    async fn list_groups(
        &self,
        filter: &GroupFilter,
        after: &[u8],
        count: usize,
    ) -> Result<GroupPage, GroupsError> {
        let place = GroupPlace::decode(after)?;
        let count = count.clamp(1, PAGE_MAX);
        let work = self.list_from(place, count);
        let (mut groups, next) = self.inner.touch.answer(work).await?;
        groups.retain(|listing| filter.takes(listing.kind, listing.state));
        let next = next.map(|place| place.encode()).unwrap_or_default();
        Ok(GroupPage { groups, next })
    }

    async fn describe_groups(
        &self,
        groups: &[GroupName],
    ) -> Vec<Result<GroupDescription, GroupsError>> {
        let descriptions = groups.iter().map(|group| async move {
            let coordinator = self.coordinator(group)?;
            let work = coordinator.describe(group.clone());
            self.inner.touch.answer(work).await
        });
        join_all(descriptions).await
    }

    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<(), GroupsError>> {
        let deletions = groups.iter().map(|group| async move {
            let coordinator = self.coordinator(group)?;
            let work = coordinator.delete(group.clone());
            self.inner.touch.change(LOST, work).await
        });
        join_all(deletions).await
    }
}
