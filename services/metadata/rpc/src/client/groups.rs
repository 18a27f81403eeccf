//! The coordinators of a remote process.

use async_trait::async_trait;
use futures::future::join_all;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::ask_request::Request as Ask;
use tidelog_api::internal::v1::ask_response::Answer;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{
    CommitOffsets, ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter, GroupHeartbeat, GroupName,
    GroupPage, Groups, GroupsError, JoinGroup, JoinedGroup, LeaveGroup, SyncGroup, SyncedGroup,
};

use super::node::RemoteNode;
use crate::wire::{
    WireError, beat_to, beaten_from, commit_offsets_to, delete_offsets_to, description_from,
    end_transaction_to, fetch_to, fetched_from, group_page_from, heartbeat_to, join_to,
    joined_from, leave_to, list_to, name_to, outcomes_from, sync_to, synced_from,
};

type Outcomes = Vec<Result<(), GroupsError>>;

/// The answer is none to what was asked, or makes no sense: nothing is known of what was done.
fn nonsense(error: &WireError) -> GroupsError {
    tracing::warn!(%error, "an answer of a coordinator makes no sense");
    GroupsError::Unknown
}

fn other() -> GroupsError {
    nonsense(&WireError::Missing("answer"))
}

impl RemoteNode {
    /// Asks for what is answered soon.
    async fn ask(&self, ask: Ask) -> Result<Answer, GroupsError> {
        let within = self.peer.settings.request_timeout;
        let clock = self.peer.env.clock.as_ref();
        let answer = timeout(clock, within, self.asks.ask(ask)).await;
        answer.unwrap_or(Err(GroupsError::Unknown))
    }

    async fn ask_done(&self, ask: Ask) -> Result<(), GroupsError> {
        match self.ask(ask).await? {
            Answer::Done(_) => Ok(()),
            _ => Err(other()),
        }
    }

    async fn ask_each(&self, ask: Ask, count: usize) -> Result<Outcomes, GroupsError> {
        match self.ask(ask).await? {
            Answer::Outcomes(outcomes) => Ok(outcomes_from(outcomes, count)),
            _ => Err(other()),
        }
    }
}

#[async_trait]
impl Groups for RemoteNode {
    async fn join(&self, request: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        match self.asks.ask(Ask::Join(join_to(request))).await? {
            Answer::Joined(joined) => Ok(joined_from(joined)),
            _ => Err(other()),
        }
    }

    async fn sync(&self, request: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        match self.asks.ask(Ask::Sync(sync_to(request))).await? {
            Answer::Synced(synced) => Ok(synced_from(synced)),
            _ => Err(other()),
        }
    }

    async fn heartbeat(&self, request: GroupHeartbeat) -> Result<(), GroupsError> {
        self.ask_done(Ask::Heartbeat(heartbeat_to(request))).await
    }

    async fn leave(&self, request: LeaveGroup) -> Result<Outcomes, GroupsError> {
        let count = request.members.len();
        self.ask_each(Ask::Leave(leave_to(request)), count).await
    }

    async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        match self.ask(Ask::ConsumerHeartbeat(beat_to(request))).await? {
            Answer::Beaten(beaten) => beaten_from(beaten).map_err(|error| nonsense(&error)),
            _ => Err(other()),
        }
    }

    async fn commit_offsets(&self, request: CommitOffsets) -> Result<Outcomes, GroupsError> {
        let count = request.offsets.len();
        let ask = Ask::CommitOffsets(commit_offsets_to(request));
        self.ask_each(ask, count).await
    }

    async fn fetch_offsets(&self, requests: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        let fetches = requests.iter().map(|request| async {
            match self.ask(Ask::FetchOffsets(fetch_to(request))).await? {
                Answer::Fetched(fetched) => fetched_from(fetched, request.partitions.as_deref())
                    .map_err(|error| nonsense(&error)),
                _ => Err(other()),
            }
        });
        join_all(fetches).await
    }

    async fn delete_offsets(&self, request: DeleteOffsets) -> Result<Outcomes, GroupsError> {
        let count = request.partitions.len();
        let ask = Ask::DeleteOffsets(delete_offsets_to(&request));
        self.ask_each(ask, count).await
    }

    async fn end_group_transactions(
        &self,
        ends: Vec<EndGroupTransaction>,
    ) -> Vec<Result<(), GroupsError>> {
        let ended = ends
            .iter()
            .map(|end| self.ask_done(Ask::EndTransaction(end_transaction_to(end))));
        join_all(ended).await
    }

    async fn list_groups(
        &self,
        filter: &GroupFilter,
        after: &[u8],
        count: usize,
    ) -> Result<GroupPage, GroupsError> {
        let ask = Ask::ListGroups(list_to(filter, after, count));
        match self.ask(ask).await? {
            Answer::Listed(page) => group_page_from(page).map_err(|error| nonsense(&error)),
            _ => Err(other()),
        }
    }

    async fn describe_groups(
        &self,
        groups: &[GroupName],
    ) -> Vec<Result<GroupDescription, GroupsError>> {
        let asked = groups.iter().map(|group| async {
            let group = name_to(group);
            match self
                .ask(Ask::DescribeGroup(v1::DescribeGroup { group }))
                .await?
            {
                Answer::Description(description) => {
                    description_from(description).map_err(|error| nonsense(&error))
                }
                _ => Err(other()),
            }
        });
        join_all(asked).await
    }

    async fn delete_groups(&self, groups: &[GroupName]) -> Vec<Result<(), GroupsError>> {
        let asked = groups.iter().map(|group| {
            let group = name_to(group);
            self.ask_done(Ask::DeleteGroup(v1::DeleteGroup { group }))
        });
        join_all(asked).await
    }
}
