//! Groups of the whole cluster: each request goes to the coordinator of its group, and to the next one when it is
//! none any more.

use std::future::Future;

use super::Router;
use super::ask::Twice;
use super::coordinators::{CHANGE, Coordinated, LONG, Manner, QUESTION};
use crate::server::Parts;
use async_trait::async_trait;
use futures::future::join_all;
use tidelog_metadata_api::{
    ClusterView, CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets,
    EndGroupTransaction, FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter,
    GroupHeartbeat, GroupName, GroupPage, GroupPlace, Groups, GroupsError, JoinGroup, JoinedGroup,
    LeaveGroup, SyncGroup, SyncedGroup, group_shard,
};

type Outcomes = Vec<Result<(), GroupsError>>;

impl Router {
    /// Asks the coordinator of a group.
    async fn at_group<T, F, Fut>(
        &self,
        group: &GroupName,
        manner: Manner,
        ask: F,
    ) -> Result<T, GroupsError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, GroupsError>> + Send,
    {
        let shard = |view: &ClusterView| {
            let count = u32::try_from(view.shards.len()).unwrap_or(u32::MAX);
            group_shard(group, count)
        };
        self.at_coordinator(shard, manner, ask).await
    }
}

impl Coordinated for GroupsError {
    fn is_elsewhere(&self, twice: Twice) -> bool {
        match self {
            // Who is not available may only have been out of reach, or have too much to do.
            Self::NotCoordinator | Self::Loading | Self::Unavailable { .. } => true,
            // Asked again, it could find what it has done itself.
            Self::Unknown => twice == Twice::Harmless,
            _ => false,
        }
    }

    fn unheard(reason: String, twice: Twice) -> Self {
        match twice {
            Twice::Harmless => Self::Unavailable { reason },
            Twice::Harmful => Self::Unknown,
        }
    }

    fn loading() -> Self {
        Self::Loading
    }

    fn not_coordinator() -> Self {
        Self::NotCoordinator
    }
}

/// Heard again, a member that says what it has is told the same. One that does not may be in its next epoch, and would
/// be fenced; one that has no id yet would be two members; one who leaves is not there any more.
const fn manner_of(beat: &ConsumerHeartbeat) -> Manner {
    if beat.epoch < 0 || beat.owned.is_none() || beat.member_id.is_empty() {
        CHANGE
    } else {
        QUESTION
    }
}

#[async_trait]
impl Groups for Router {
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        let request = &request;
        self.at_group(&request.group, LONG, |parts| async move {
            parts.groups.join(request.clone()).await
        })
        .await
    }

    async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        let request = &request;
        self.at_group(&request.group, LONG, |parts| async move {
            parts.groups.sync(request.clone()).await
        })
        .await
    }

    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError> {
        let request = &request;
        self.at_group(&request.group, QUESTION, |parts| async move {
            parts.groups.heartbeat(request.clone()).await
        })
        .await
    }

    async fn leave(&self, request: LeaveGroup) -> Result<Outcomes, GroupsError> {
        let request = &request;
        self.at_group(&request.group, CHANGE, |parts| async move {
            parts.groups.leave(request.clone()).await
        })
        .await
    }

    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        let request = &request;
        let manner = manner_of(request);
        self.at_group(&request.group, manner, |parts| async move {
            parts.groups.consumer_heartbeat(request.clone()).await
        })
        .await
    }

    async fn commit_offsets(&self, request: CommitOffsets) -> Result<Outcomes, GroupsError> {
        let request = &request;
        self.at_group(&request.group, QUESTION, |parts| async move {
            parts.groups.commit_offsets(request.clone()).await
        })
        .await
    }

    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        let fetches = requests.iter().map(|request| {
            self.at_group(&request.group, QUESTION, move |parts| async move {
                let fetched = parts.groups.fetch_offsets(vec![request.clone()]).await;
                one(fetched)
            })
        });
        join_all(fetches).await
    }

    async fn delete_offsets(&self, request: DeleteOffsets) -> Result<Outcomes, GroupsError> {
        let request = &request;
        self.at_group(&request.group, QUESTION, |parts| async move {
            parts.groups.delete_offsets(request.clone()).await
        })
        .await
    }

    async fn end_group_transactions(&self, ends: Vec<EndGroupTransaction>) -> Outcomes {
        let ended = ends.iter().map(|end| {
            self.at_group(&end.group, QUESTION, move |parts| async move {
                one(parts.groups.end_group_transactions(vec![end.clone()]).await)
            })
        });
        join_all(ended).await
    }

    async fn list_groups(
        &self,
        filter: &GroupFilter,
        after: &[u8],
        count: usize,
    ) -> Result<GroupPage, GroupsError> {
        let shard = GroupPlace::decode(after)?.shard;
        self.at_coordinator(
            |_| shard,
            QUESTION,
            |parts| async move { parts.groups.list_groups(filter, after, count).await },
        )
        .await
    }

    async fn describe_groups(
        &self,
        groups: &[GroupName],
    ) -> Vec<Result<GroupDescription, GroupsError>> {
        let asked = groups.iter().map(|group| {
            self.at_group(group, QUESTION, move |parts| async move {
                one(parts
                    .groups
                    .describe_groups(std::slice::from_ref(group))
                    .await)
            })
        });
        join_all(asked).await
    }

    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<(), GroupsError>> {
        let asked = groups.iter().map(|group| {
            self.at_group(group, CHANGE, move |parts| async move {
                one(parts
                    .groups
                    .delete_groups(std::slice::from_ref(group))
                    .await)
            })
        });
        join_all(asked).await
    }
}

/// The only answer of one question.
fn one<T>(mut answers: Vec<Result<T, GroupsError>>) -> Result<T, GroupsError> {
    answers.pop().unwrap_or(Err(GroupsError::Unknown))
}
