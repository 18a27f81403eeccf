//! The metadata service, and how often it is asked for bounds and for aborted transactions.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tidelog_metadata::MetadataService;
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, FencingToken, Log, LogError,
    LookupAnswer, LookupRequest, NoticeStream, OffsetAnswer, OffsetQuery, PartitionBounds,
    ProducerIdentity, ReadToken, ShardCommit, TransactionMarker,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, OffsetRange, SegmentSequence, TopicPartition,
};

/// Passes everything on and counts.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: MetadataService,
    aborted: AtomicUsize,
    bounds: AtomicUsize,
}

impl Watched {
    pub(crate) const fn new(inner: MetadataService) -> Self {
        Self {
            inner,
            aborted: AtomicUsize::new(0),
            bounds: AtomicUsize::new(0),
        }
    }

    /// How often aborted transactions were asked for.
    pub(crate) fn asked_for_aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// How often bounds were asked for.
    pub(crate) fn asked_for_bounds(&self) -> usize {
        self.bounds.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Log for Watched {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        self.inner.cluster()
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        self.inner.register_writer().await
    }

    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        self.inner.commit(commits)
    }

    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        let set = self.inner.set_fencing_token(partition, expected, token);
        set.await
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        self.inner.locate(requests).await
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        self.bounds.fetch_add(1, Ordering::Relaxed);
        self.inner.bounds(partition).await
    }

    async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        self.inner.offset(partition, query).await
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        self.inner.delete_records(partition, before).await
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        self.inner.init_producer().await
    }

    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        self.aborted.fetch_add(1, Ordering::Relaxed);
        self.inner.aborted(partition, offsets).await
    }

    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        self.inner.end_transactions(markers).await
    }

    async fn producers(&self, partition: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        self.inner.producers(partition).await
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        self.inner.raise_floor(incarnation, floor).await
    }

    fn seen(&self) -> Vec<ReadToken> {
        self.inner.seen()
    }

    async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        self.inner.reached(token).await
    }

    fn subscribe(&self) -> NoticeStream {
        self.inner.subscribe()
    }
}
