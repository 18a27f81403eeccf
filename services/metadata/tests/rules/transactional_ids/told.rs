//! A log and groups that note what they are told of ends, and refuse as long as a test says.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_metadata::Reach;
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, CommitOffsets,
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, DeleteOffsets, EndGroupTransaction, FencingToken,
    FetchOffsets, FetchedOffsets, GroupDescription, GroupFilter, GroupHeartbeat, GroupName,
    GroupPage, Groups, GroupsError, JoinGroup, JoinedGroup, LeaveGroup, Log, LogError,
    LookupAnswer, LookupRequest, NoticeStream, OffsetAnswer, OffsetQuery, Participant,
    PartitionBounds, ProducerIdentity, ReadToken, ShardCommit, SyncGroup, SyncedGroup,
    TransactionMarker,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, OffsetRange, SegmentSequence, TopicPartition,
};
use tokio::sync::watch;

type Outcomes = Vec<Result<(), GroupsError>>;

/// What is said to somebody who tells of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now; nothing was noted.
    Busy,
    /// It was taken, and the answer was lost.
    Lost,
    /// There is no such partition or group.
    Gone,
}

/// A log and groups that note what they are told. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToldLog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: Mutex<Vec<Vec<TransactionMarker>>>,
    ends: Mutex<Vec<EndGroupTransaction>>,
    refusals: Mutex<HashMap<Participant, Refusal>>,
    is_held: watch::Sender<bool>,
}

impl ToldLog {
    /// From now on ends are told here.
    pub(crate) fn is_reached_by(&self, reach: &Reach) {
        reach.set(Arc::new(self.clone()), Arc::new(self.clone()));
    }

    /// All markers that were taken, in order.
    pub(crate) fn markers(&self) -> Vec<TransactionMarker> {
        self.0.calls.lock().concat()
    }

    /// The same by the calls that brought them.
    pub(crate) fn calls(&self) -> Vec<Vec<TransactionMarker>> {
        self.0.calls.lock().clone()
    }

    /// All ends that groups have taken.
    pub(crate) fn ends(&self) -> Vec<EndGroupTransaction> {
        self.0.ends.lock().clone()
    }

    /// Refuses what is told to one that takes part, until [`takes`](Self::takes).
    pub(crate) fn refuses(&self, participant: Participant, refusal: Refusal) {
        self.0.refusals.lock().insert(participant, refusal);
    }

    pub(crate) fn takes(&self, participant: &Participant) {
        self.0.refusals.lock().remove(participant);
    }

    /// Answers nothing while this holds.
    pub(crate) fn hold(&self, is_held: bool) {
        self.0.is_held.send_replace(is_held);
    }

    async fn released(&self) {
        let mut held = self.0.is_held.subscribe();
        held.wait_for(|is_held| !is_held).await.expect("it lives");
    }

    fn refusal(&self, participant: &Participant) -> Option<Refusal> {
        self.0.refusals.lock().get(participant).copied()
    }
}

#[async_trait]
impl Log for ToldLog {
    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        self.released().await;
        let mut taken = Vec::new();
        let outcomes = markers.into_iter().map(|marker| {
            let refusal = self.refusal(&Participant::Partition(marker.partition));
            if matches!(refusal, None | Some(Refusal::Lost)) {
                taken.push(marker);
            }
            match refusal {
                None => Ok(()),
                Some(Refusal::Busy) => Err(LogError::NotOwner),
                Some(Refusal::Lost) => Err(LogError::Behind),
                Some(Refusal::Gone) => Err(LogError::UnknownPartition(marker.partition)),
            }
        });
        let outcomes = outcomes.collect();
        self.0.calls.lock().push(taken);
        outcomes
    }

    async fn aborted(
        &self,
        _: TopicPartition,
        _: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        unreachable!("only markers come here")
    }

    async fn producers(&self, _: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        unreachable!("only markers come here")
    }

    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        unreachable!("only markers come here")
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        unreachable!("only markers come here")
    }

    fn commit(
        &self,
        _: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        unreachable!("only markers come here")
    }

    async fn set_fencing_token(
        &self,
        _: TopicPartition,
        _: Option<FencingToken>,
        _: FencingToken,
    ) -> Result<ReadToken, LogError> {
        unreachable!("only markers come here")
    }

    async fn locate(&self, _: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        unreachable!("only markers come here")
    }

    async fn bounds(&self, _: TopicPartition) -> Result<PartitionBounds, LogError> {
        unreachable!("only markers come here")
    }

    async fn offset(&self, _: TopicPartition, _: OffsetQuery) -> Result<OffsetAnswer, LogError> {
        unreachable!("only markers come here")
    }

    async fn delete_records(
        &self,
        _: TopicPartition,
        _: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        unreachable!("only markers come here")
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        unreachable!("only markers come here")
    }

    async fn inline_segment(
        &self,
        _: tidelog_types::SegmentName,
    ) -> Result<Option<bytes::Bytes>, LogError> {
        Ok(None)
    }

    async fn raise_floor(&self, _: Incarnation, _: SegmentSequence) -> Result<(), LogError> {
        unreachable!("only markers come here")
    }

    fn seen(&self) -> Vec<ReadToken> {
        unreachable!("only markers come here")
    }

    async fn reached(&self, _: ReadToken) -> Result<(), LogError> {
        unreachable!("only markers come here")
    }

    fn subscribe(&self) -> NoticeStream {
        unreachable!("only markers come here")
    }
}

#[async_trait]
impl Groups for ToldLog {
    async fn end_group_transactions(&self, ends: Vec<EndGroupTransaction>) -> Outcomes {
        self.released().await;
        let outcomes = ends.into_iter().map(|end| {
            let refusal = self.refusal(&Participant::Group(end.group.clone()));
            if matches!(refusal, None | Some(Refusal::Lost)) {
                self.0.ends.lock().push(end);
            }
            match refusal {
                None => Ok(()),
                Some(Refusal::Busy) => Err(GroupsError::Loading),
                Some(Refusal::Lost) => Err(GroupsError::Unknown),
                Some(Refusal::Gone) => Err(GroupsError::GroupNotFound),
            }
        });
        outcomes.collect()
    }

    async fn join(&self, _: JoinGroup) -> Result<JoinedGroup, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn sync(&self, _: SyncGroup) -> Result<SyncedGroup, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn heartbeat(&self, _: GroupHeartbeat) -> Result<(), GroupsError> {
        unreachable!("only ends come here")
    }

    async fn leave(&self, _: LeaveGroup) -> Result<Outcomes, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn consumer_heartbeat(
        &self,
        _: ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatAnswer, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn commit_offsets(&self, _: CommitOffsets) -> Result<Outcomes, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn fetch_offsets(&self, _: Vec<FetchOffsets>) -> Vec<FetchedOffsets> {
        unreachable!("only ends come here")
    }

    async fn delete_offsets(&self, _: DeleteOffsets) -> Result<Outcomes, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn list_groups(
        &self,
        _: &GroupFilter,
        _: &[u8],
        _: usize,
    ) -> Result<GroupPage, GroupsError> {
        unreachable!("only ends come here")
    }

    async fn describe_groups(&self, _: &[GroupName]) -> Vec<Result<GroupDescription, GroupsError>> {
        unreachable!("only ends come here")
    }

    async fn delete_groups(&self, _: &[GroupName]) -> Outcomes {
        unreachable!("only ends come here")
    }
}
