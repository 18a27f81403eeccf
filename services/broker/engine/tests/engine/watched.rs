//! The metadata service, and how often it is asked for bounds, for extents and for aborted transactions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_metadata::MetadataService;
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, CommitAnswer, CommitError, FencingToken, Log, LogError,
    LookupAnswer, LookupRequest, NoticeStream, OffsetAnswer, OffsetQuery, PartitionBounds,
    ProducerIdentity, ReadToken, ShardCommit, TransactionMarker,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, OffsetRange, SegmentName, SegmentSequence,
    TopicPartition,
};

/// Passes everything on and counts.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: MetadataService,
    aborted: AtomicUsize,
    bounds: AtomicUsize,
    /// Lookups of extents.
    lookups: AtomicUsize,
    /// Segments that were read from the store.
    inline_reads: AtomicUsize,
    /// What becomes of the next commits that bring their bytes along.
    troubles: Mutex<VecDeque<Trouble>>,
}

/// What becomes of a commit that brings its bytes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It happens, and nobody hears of it.
    Lost,
    /// The store takes no segments.
    Full,
    /// It is committed after so much time.
    Slow(Duration),
}

impl Watched {
    pub(crate) const fn new(inner: MetadataService) -> Self {
        Self {
            inner,
            aborted: AtomicUsize::new(0),
            bounds: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            inline_reads: AtomicUsize::new(0),
            troubles: Mutex::new(VecDeque::new()),
        }
    }

    /// The next commit that brings its bytes along and meets no other trouble meets this one.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.troubles.lock().push_back(trouble);
    }

    /// No commit meets trouble any more.
    pub(crate) fn heal(&self) {
        self.troubles.lock().clear();
    }

    /// How many segments were read from the store.
    pub(crate) fn inline_reads(&self) -> usize {
        self.inline_reads.load(Ordering::Relaxed)
    }

    /// How often aborted transactions were asked for.
    pub(crate) fn asked_for_aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// How often it was asked where extents lie.
    pub(crate) fn asked_for_extents(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
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
        let brings_bytes = commits.iter().any(|commit| commit.inline.is_some());
        let trouble = brings_bytes.then(|| self.troubles.lock().pop_front());
        let count = commits.len();
        let all = move |error: CommitError| (0..count).map(|_| Err(error.clone())).collect();
        match trouble.flatten() {
            None => self.inner.commit(commits),
            Some(Trouble::Full) => Box::pin(async move { all(CommitError::NotInline) }),
            Some(Trouble::Lost) => {
                let answers = self.inner.commit(commits);
                Box::pin(async move {
                    drop(answers.await);
                    all(CommitError::Unknown)
                })
            }
            Some(Trouble::Slow(time)) => {
                let inner = self.inner.clone();
                Box::pin(async move {
                    tokio::time::sleep(time).await;
                    inner.commit(commits).await
                })
            }
        }
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
        let wanted = requests.iter().filter(|request| request.extents_max > 0);
        self.lookups.fetch_add(wanted.count(), Ordering::Relaxed);
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

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        self.inline_reads.fetch_add(1, Ordering::Relaxed);
        self.inner.inline_segment(segment).await
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
