//! A metadata service whose every answer a test decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_format::manifest::Outcome;
use tidelog_metadata_api::*;
use tidelog_types::*;
use tokio::sync::{broadcast, oneshot, watch};

use crate::fake_compactions::Compacting;
use crate::fake_merges::Merging;
use crate::world::{CLUSTER, GENERATION};

/// What a test sees and says of a [`Fake`].
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The shards it owns, and their groups.
    pub(crate) groups: BTreeMap<ShardId, u64>,
    /// Sequences in the order in which they were asked for.
    pub(crate) commits: Vec<u64>,
    /// Markers, call by call.
    pub(crate) markers: Vec<Vec<TransactionMarker>>,
    pub(crate) high_watermarks: HashMap<TopicPartition, u64>,
    pub(crate) lookups: usize,
    /// How often a topic was asked for.
    pub(crate) topics: usize,
    /// The topic is deleted, and may be brought back.
    pub(crate) is_deleted: bool,
    /// It has lost its shards and does not know it; asked for a proof, it finds out.
    pub(crate) is_stale: bool,
    /// How long each answer takes.
    pub(crate) takes: Takes,
    pub(crate) members: Vec<(Member, oneshot::Receiver<()>)>,
}

/// How long answers take; no time by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takes {
    pub(crate) topic: Duration,
    pub(crate) locate: Duration,
    pub(crate) offset: Duration,
    pub(crate) change: Duration,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) said: Mutex<Said>,
    pub(crate) view: watch::Sender<Arc<ClusterView>>,
    /// Commits wait until it opens.
    pub(crate) gate: watch::Sender<bool>,
    pub(crate) joins: watch::Sender<usize>,
    pub(crate) merging: Merging,
    pub(crate) compacting: Compacting,
    news: broadcast::Sender<Notice>,
}

/// The fakes share one topic; partition `n` is in shard `n`.
pub(crate) const TOPIC: TopicNumber = TopicNumber::new(1);

pub(crate) fn partition(index: u32) -> TopicPartition {
    TopicPartition::new(TOPIC, PartitionIndex::new(index))
}

impl Fake {
    pub(crate) fn owning(shards: &[u32]) -> Arc<Self> {
        let groups = shards.iter().map(|shard| (ShardId::new(*shard), 1));
        Arc::new(Self {
            said: Mutex::new(Said {
                groups: groups.collect(),
                ..Said::default()
            }),
            view: watch::Sender::new(Arc::new(ClusterView::empty(CLUSTER, GENERATION))),
            gate: watch::Sender::new(true),
            joins: watch::Sender::new(0),
            merging: Merging::default(),
            compacting: Compacting::default(),
            news: broadcast::channel(64).0,
        })
    }

    /// A group moves a partition up.
    pub(crate) fn advance(&self, index: u32, high_watermark: u64) -> ReadToken {
        let shard = ShardId::new(index);
        let at = partition(index);
        let mut said = self.said.lock();
        said.high_watermarks.insert(at, high_watermark);
        let group = said.groups.entry(shard).or_default();
        *group += 1;
        let group = GroupNumber::new(*group);
        let advance = PartitionAdvance {
            partition: at,
            bounds: upto(high_watermark),
            extents: Vec::new(),
        };
        let _ = self.news.send(Notice::Commit(Arc::new(CommitNotice {
            shard,
            group,
            advances: vec![advance],
        })));
        ReadToken {
            generation: GENERATION,
            shard,
            group,
        }
    }

    async fn takes(&self, of: impl FnOnce(Takes) -> Duration) {
        let takes = of(self.said.lock().takes);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
    }

    fn owns(&self, shard: ShardId) -> bool {
        self.said.lock().groups.contains_key(&shard)
    }

    fn one(&self, request: &LookupRequest) -> Result<LookupAnswer, LogError> {
        let mut said = self.said.lock();
        said.lookups += 1;
        let shard = ShardId::new(request.partition.partition.get());
        if !said.groups.contains_key(&shard) {
            return Err(LogError::NotOwner);
        }
        let high_watermark = said.high_watermarks.get(&request.partition);
        Ok(LookupAnswer {
            bounds: upto(high_watermark.copied().unwrap_or_default()),
            extents: Vec::new(),
        })
    }
}

pub(crate) fn upto(high_watermark: u64) -> PartitionBounds {
    PartitionBounds {
        high_watermark: Offset::new(high_watermark),
        aborted_below: Offset::ZERO,
        ..PartitionBounds::default()
    }
}

fn not_here<T>() -> Result<T, LogError> {
    Err(LogError::Unavailable {
        reason: "a fake does not".to_owned(),
    })
}

fn not_in_catalogue<T>() -> Result<T, CatalogueError> {
    Err(CatalogueError::Corrupt {
        reason: "a fake does not".to_owned(),
    })
}

#[async_trait]
impl Log for Fake {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        (CLUSTER, GENERATION)
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        Ok(Incarnation::new(7))
    }

    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        let answers = commits.into_iter().map(|commit| {
            let shard = commit.manifest.shard;
            if !self.owns(shard) {
                return Err(CommitError::NotOwner);
            }
            let sequence = commit.manifest.segment.sequence.get();
            self.said.lock().commits.push(sequence);
            let outcomes = (0..commit.manifest.batch_count()).map(|_| Outcome::Accepted {
                base_offset: Offset::new(sequence),
            });
            Ok(CommitAnswer {
                outcomes: outcomes.collect(),
                token: ReadToken::default(),
            })
        });
        let answers: Vec<_> = answers.collect();
        let mut gate = self.gate.subscribe();
        async move {
            let _ = gate.wait_for(|open| *open).await;
            answers
        }
        .boxed()
    }

    async fn set_fencing_token(
        &self,
        _: TopicPartition,
        _: Option<FencingToken>,
        _: FencingToken,
    ) -> Result<ReadToken, LogError> {
        not_here()
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        self.takes(|takes| takes.locate).await;
        requests.iter().map(|request| self.one(request)).collect()
    }

    async fn bounds(&self, _: TopicPartition) -> Result<PartitionBounds, LogError> {
        not_here()
    }

    async fn offset(
        &self,
        partition: TopicPartition,
        _: OffsetQuery,
    ) -> Result<OffsetAnswer, LogError> {
        self.takes(|takes| takes.offset).await;
        if self.said.lock().is_stale || !self.owns(ShardId::new(partition.partition.get())) {
            return Err(LogError::NotOwner);
        }
        Ok(OffsetAnswer::Offset(Offset::new(3)))
    }

    async fn delete_records(
        &self,
        _: TopicPartition,
        _: Offset,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        not_here()
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        not_here()
    }

    async fn end_transactions(&self, markers: Vec<TransactionMarker>) -> Vec<Result<(), LogError>> {
        let answer = |marker: &TransactionMarker| {
            let index = marker.partition.partition.get();
            if self.owns(ShardId::new(index)) {
                Ok(())
            } else {
                Err(LogError::NotOwner)
            }
        };
        let answers = markers.iter().map(answer).collect();
        self.said.lock().markers.push(markers);
        answers
    }

    async fn aborted(
        &self,
        _: TopicPartition,
        _: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        not_here()
    }

    async fn producers(&self, _: TopicPartition) -> Result<Vec<ActiveProducer>, LogError> {
        not_here()
    }

    async fn inline_segment(&self, segment: SegmentName) -> Result<Option<Bytes>, LogError> {
        let is_there = segment.sequence.get() % 2 == 1;
        Ok(is_there.then(|| Bytes::from(segment.to_string())))
    }

    async fn raise_floor(&self, _: Incarnation, _: SegmentSequence) -> Result<(), LogError> {
        // Longer than anybody waits.
        std::future::pending().await
    }

    fn seen(&self) -> Vec<ReadToken> {
        let said = self.said.lock();
        let groups = said.groups.iter();
        let seen = groups.map(|(shard, group)| ReadToken {
            generation: GENERATION,
            shard: *shard,
            group: GroupNumber::new(*group),
        });
        seen.collect()
    }

    async fn reached(&self, _: ReadToken) -> Result<(), LogError> {
        not_here()
    }

    fn subscribe(&self) -> NoticeStream {
        NoticeStream::new(self.news.subscribe())
    }
}

#[async_trait]
impl Catalogue for Fake {
    async fn create_topic(&self, _: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.takes(|takes| takes.change).await;
        not_in_catalogue()
    }

    async fn topic(&self, _: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.said.lock().topics += 1;
        self.takes(|takes| takes.topic).await;
        let partitions = (0..4).map(|shard| PartitionInfo {
            shard: ShardId::new(shard),
        });
        Ok(Arc::new(TopicInfo {
            id: TopicId::from_bytes([1; 16]),
            number: TOPIC,
            name: TopicName::new("log").expect("a test process answers"),
            partitions: partitions.collect(),
            counts: Vec::new(),
            config: TopicConfig::default(),
            state: if self.said.lock().is_deleted {
                let at = Timestamp::default();
                let purge_after = at;
                TopicState::Deleted { at, purge_after }
            } else {
                TopicState::Live
            },
            created_at: Timestamp::default(),
        }))
    }

    async fn list_topics(&self, _: &[u8], _: usize, _: bool) -> Result<TopicPage, CatalogueError> {
        not_in_catalogue()
    }

    async fn alter_topic_config(
        &self,
        _: &TopicSelector,
        _: BTreeMap<String, Option<String>>,
        _: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        not_in_catalogue()
    }

    async fn add_partitions(
        &self,
        _: &TopicSelector,
        _: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        not_in_catalogue()
    }

    async fn delete_topic(&self, _: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        not_in_catalogue()
    }

    async fn undelete_topic(&self, _: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        not_in_catalogue()
    }
}

#[async_trait]
impl Cluster for Fake {
    fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.subscribe()
    }

    async fn join(&self, member: Member) -> Result<Membership, ClusterError> {
        let (membership, ended) = Membership::new();
        self.said.lock().members.push((member, ended));
        self.joins.send_modify(|count| *count += 1);
        Ok(membership)
    }

    async fn set_draining(&self, member: MemberId, _: bool) -> Result<(), ClusterError> {
        Err(ClusterError::UnknownMember(member))
    }
}
