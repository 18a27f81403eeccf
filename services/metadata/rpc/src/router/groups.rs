//! Groups of the whole cluster: each request goes to the coordinator of its group, and to the next one when it is
//! none any more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tidelog_metadata_api::{
    ClusterView, CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets,
    EndGroupTransaction, FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter,
    GroupHeartbeat, GroupName, GroupPage, GroupPlace, Groups, GroupsError, JoinGroup, JoinedGroup,
    LeaveGroup, SyncGroup, SyncedGroup, group_shard,
};
use tidelog_types::{MemberId, ShardId};

use super::ask::{Twice, no_answer};
use super::{Router, named};
use crate::server::Parts;

/// How long a coordinator of before may still answer: one that has given its shard away says so at once.
const LAST_ANSWER: Duration = Duration::from_millis(250);

type Outcomes = Vec<Result<(), GroupsError>>;

/// How a request is to be treated on its way.
#[derive(Clone, Copy, Debug)]
struct Manner {
    twice: Twice,
    /// Whether it waits for others, so that nobody can say how long it takes.
    waits: bool,
}

const QUESTION: Manner = Manner {
    twice: Twice::Harmless,
    waits: false,
};
const CHANGE: Manner = Manner {
    twice: Twice::Harmful,
    waits: false,
};
const LONG: Manner = Manner {
    twice: Twice::Harmful,
    waits: true,
};

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

    async fn at_coordinator<T, F, Fut>(
        &self,
        shard: impl Fn(&ClusterView) -> ShardId + Send,
        manner: Manner,
        ask: F,
    ) -> Result<T, GroupsError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, GroupsError>> + Send,
    {
        let mut patience = self.patience();
        loop {
            let view = self.view();
            let shard = shard(&view);
            let error = match self.owner(&view, shard) {
                Some((owner, parts)) => {
                    let asked = self.unless_moved(owner, shard, manner, ask(parts));
                    let answer = if manner.waits {
                        Ok(asked.await)
                    } else {
                        self.until(patience.deadline(), asked).await
                    };
                    match answer {
                        Ok(Err(error)) if is_elsewhere(&error, manner.twice) => error,
                        Ok(answer) => return answer,
                        // There is no time left to ask again.
                        Err(elapsed) => return Err(unheard(no_answer(elapsed), manner.twice)),
                    }
                }
                None => GroupsError::Loading,
            };
            self.inner.metrics.rerouted.inc();
            if !patience.wait().await {
                return Err(error);
            }
        }
    }

    /// What a coordinator answers, or that it is none any more when a view says so and it says nothing more.
    async fn unless_moved<T>(
        &self,
        owner: MemberId,
        shard: ShardId,
        manner: Manner,
        answer: impl Future<Output = Result<T, GroupsError>> + Send,
    ) -> Result<T, GroupsError> {
        let mut view = self.inner.view.subscribe();
        let has_moved = |view: &Arc<ClusterView>| {
            let now = named(view, shard).and_then(|now| now.owner);
            now.is_some_and(|now| now != owner)
        };
        let moved = async {
            if view.wait_for(has_moved).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.inner.env.clock.sleep(LAST_ANSWER).await;
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = moved => Err(if manner.twice == Twice::Harmful && !manner.waits {
                // It may have been done.
                GroupsError::Unknown
            } else {
                GroupsError::NotCoordinator
            }),
        }
    }
}

/// Whether another process, or the same one later, may have an answer.
fn is_elsewhere(error: &GroupsError, twice: Twice) -> bool {
    match error {
        // Who is not available may only have been out of reach, or have too much to do.
        GroupsError::NotCoordinator | GroupsError::Loading | GroupsError::Unavailable { .. } => {
            true
        }
        // Asked again, it could find what it has done itself.
        GroupsError::Unknown => twice == Twice::Harmless,
        _ => false,
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

fn unheard(reason: String, twice: Twice) -> GroupsError {
    match twice {
        Twice::Harmless => GroupsError::Unavailable { reason },
        Twice::Harmful => GroupsError::Unknown,
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
