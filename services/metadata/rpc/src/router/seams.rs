//! The seams of the whole cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tidelog_metadata_api::{
    AbortedTransaction, ActiveProducer, Catalogue, CatalogueError, Cluster, ClusterError,
    ClusterView, CommitAnswer, CommitError, FencingToken, Log, LogError, LookupAnswer,
    LookupRequest, Member, Membership, NewTopic, NoticeStream, OffsetAnswer, OffsetQuery,
    PartitionBounds, ProducerIdentity, ReadToken, ShardCommit, TopicInfo, TopicPage, TopicSelector,
    TransactionMarker,
};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, MemberId, Offset, OffsetRange, SegmentName,
    SegmentSequence, ShardId, TopicPartition,
};
use tokio::sync::watch;

use super::Router;
use super::ask::Twice;
use crate::server::Parts;

type CommitAnswers = Vec<Result<CommitAnswer, CommitError>>;

/// Commits for one process, with their places among all.
struct Share {
    owner: MemberId,
    parts: Parts,
    places: Vec<usize>,
    commits: Vec<ShardCommit>,
}

#[async_trait]
impl Log for Router {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        (self.inner.cluster, self.inner.following.generation())
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        // Twice may skip a number, which is free.
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.log.register_writer().await
        })
        .await
    }

    fn commit(&self, commits: Vec<ShardCommit>) -> BoxFuture<'static, CommitAnswers> {
        let view = self.view();
        let count = commits.len();
        let mut shares: Vec<Share> = Vec::new();
        let mut without_owner = Vec::new();
        for (place, commit) in commits.into_iter().enumerate() {
            let shard = commit.manifest.shard;
            let Some((owner, parts)) = self.owner(&view, shard) else {
                without_owner.push((place, shard));
                continue;
            };
            match shares.iter_mut().find(|share| share.owner == owner) {
                Some(known) => {
                    known.places.push(place);
                    known.commits.push(commit);
                }
                None => shares.push(Share {
                    owner,
                    parts,
                    places: vec![place],
                    commits: vec![commit],
                }),
            }
        }
        // Called now, so that every commit has its place before the future is first polled.
        let answers = shares.into_iter().map(|share| {
            let (owner, count) = (share.owner, share.commits.len());
            let commits = share.commits.iter();
            let touched = commits.map(|commit| commit.manifest.shard).collect();
            let answers = share.parts.log.commit(share.commits);
            let answers = self
                .clone()
                .unless_another_owns(owner, touched, count, answers);
            answers.map(move |answers| share.places.into_iter().zip(answers).collect::<Vec<_>>())
        });
        let answers = join_all(answers.collect::<Vec<_>>());
        let router = self.clone();
        async move {
            let waited = router.await_owners(&without_owner);
            let (answers, ()) = tokio::join!(answers, waited);
            // One place that nobody answers would be a commit of which nothing is known.
            let mut all: CommitAnswers = (0..count).map(|_| Err(CommitError::Unknown)).collect();
            for (place, answer) in answers.into_iter().flatten() {
                put(&mut all, place, answer);
            }
            for (place, shard) in without_owner {
                let reason = format!("shard `{shard}` had no owner");
                put(&mut all, place, Err(CommitError::Unavailable { reason }));
            }
            all
        }
        .boxed()
    }

    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        // Twice it could find its own token in place of the expected one.
        self.at_owner(partition, Twice::Harmful, |parts: Parts| {
            let (expected, token) = (expected.clone(), token.clone());
            async move {
                parts
                    .log
                    .set_fencing_token(partition, expected, token)
                    .await
            }
        })
        .await
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        self.locate_all(requests).await
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        let request = LookupRequest {
            partition,
            offset: Offset::ZERO,
            bytes_max: 0,
            extents_max: 0,
        };
        Ok(self.lookup(request).await?.bounds)
    }

    async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        self.at_owner(partition, Twice::Harmless, |parts: Parts| async move {
            parts.log.offset(partition, query).await
        })
        .await
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        self.at_owner(partition, Twice::Harmless, |parts: Parts| async move {
            parts.log.delete_records(partition, before).await
        })
        .await
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.log.init_producer().await
        })
        .await
    }

    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        self.end_everywhere(markers).await
    }

    async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        // It is durable and never changes, so that whoever has the store can tell.
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.log.aborted(partition, offsets).await
        })
        .await
    }

    async fn producers(&self, partition: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        self.at_owner(partition, Twice::Harmless, |parts: Parts| async move {
            parts.log.producers(partition).await
        })
        .await
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        // It is durable and never changes, so that whoever has the store can tell.
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.log.inline_segment(segment).await
        })
        .await
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.log.raise_floor(incarnation, floor).await
        })
        .await
    }

    fn seen(&self) -> Vec<ReadToken> {
        self.inner.following.seen()
    }

    async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        let within = self.inner.settings.request_timeout;
        let clock = self.inner.env.clock.as_ref();
        self.inner.following.reached(clock, within, token).await
    }

    fn subscribe(&self) -> NoticeStream {
        self.inner.following.subscribe()
    }
}

fn put(
    all: &mut [Result<CommitAnswer, CommitError>],
    place: usize,
    answer: Result<CommitAnswer, CommitError>,
) {
    if let Some(at) = all.get_mut(place) {
        *at = answer;
    }
}

impl Router {
    /// Waits until shards have owners, but not for long. Commits are not sent then: they would come after
    /// what was asked for later.
    async fn await_owners(&self, without: &[(usize, ShardId)]) {
        if without.is_empty() {
            return;
        }
        let mut view = self.inner.view.subscribe();
        let owned = view.wait_for(|view| {
            let mut shards = without.iter();
            shards.all(|(_, shard)| view.owner(*shard).is_some())
        });
        let clock = self.inner.env.clock.as_ref();
        let within = self.inner.settings.owner_wait;
        let waited = tidelog_env::clock::timeout(clock, within, owned).await;
        drop(waited);
    }
}

#[async_trait]
impl Catalogue for Router {
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmful, |parts: Parts| {
            let topic = topic.clone();
            async move { parts.catalogue.create_topic(topic).await }
        })
        .await
    }

    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.catalogue.topic(selector).await
        })
        .await
    }

    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.catalogue.list_topics(after, count, deleted).await
        })
        .await
    }

    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmful, |parts: Parts| {
            let changes = changes.clone();
            async move {
                parts
                    .catalogue
                    .alter_topic_config(selector, changes, validate_only)
                    .await
            }
        })
        .await
    }

    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmful, |parts: Parts| async move {
            parts.catalogue.add_partitions(selector, count).await
        })
        .await
    }

    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmful, |parts: Parts| async move {
            parts.catalogue.delete_topic(selector).await
        })
        .await
    }

    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.anywhere(Twice::Harmful, |parts: Parts| async move {
            parts.catalogue.undelete_topic(selector).await
        })
        .await
    }
}

#[async_trait]
impl Cluster for Router {
    fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.inner.view.subscribe()
    }

    async fn join(&self, member: Member) -> Result<Membership, ClusterError> {
        self.join_somewhere(member).await
    }

    async fn set_draining(&self, member: MemberId, draining: bool) -> Result<(), ClusterError> {
        self.anywhere(Twice::Harmless, |parts: Parts| async move {
            parts.cluster.set_draining(member, draining).await
        })
        .await
    }
}
