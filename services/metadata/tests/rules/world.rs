//! What every scenario starts from: a store, a clock, services on them, and plain questions to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tidelog_env::{BackoffPolicy, Clock, Env, MonoTime, Rng, SeededRng, Supervisor};
use tidelog_format::location::Location;
use tidelog_metadata::{
    ClassBuckets, ClusterOptions, GroupSettings, MetadataService, OpenError, OpenOptions, Reach,
    SequencerMetrics, SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::{
    Catalogue as _, CommitAnswer, CommitError, Decision, Log as _, LogError, LookupRequest,
    NewTopic, OffsetAnswer, OffsetQuery, PartitionBounds, ShardCommit,
};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{
    ClusterId, Offset, PartitionIndex, ShardId, Timestamp, TopicName, TopicNumber, TopicPartition,
};

use crate::store::TestStore;

/// The only shard of most scenarios.
pub(crate) const SHARD: ShardId = ShardId::new(0);
/// The partitions of the topic that every world has.
pub(crate) const PARTITIONS: u32 = 4;

/// A partition of the topic that every world has.
pub(crate) const fn partition(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
}

/// Tokio's time, which tests pause, and a wall clock that a test can make jump.
#[derive(Clone, Debug)]
pub(crate) struct TestClock {
    start: tokio::time::Instant,
    wall: Arc<AtomicI64>,
}

impl TestClock {
    fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wall: Arc::new(AtomicI64::new(1_000_000)),
        }
    }

    pub(crate) fn jump_wall(&self, by_millis: i64) {
        self.wall.fetch_add(by_millis, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> MonoTime {
        MonoTime::START + self.start.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(
            self.start + deadline.since_start(),
        ))
    }
}

/// A store and the clock of all processes that open it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: TestStore,
    pub(crate) clock: TestClock,
    pub(crate) settings: SequencerSettings,
    pub(crate) classes: ClassBuckets,
    pub(crate) groups: GroupSettings,
    pub(crate) transactions: TransactionSettings,
    /// Where the ends of transactions are told, by all processes.
    pub(crate) reach: Reach,
    pub(crate) shards: u32,
    seeds: AtomicU64,
    is_fixed: bool,
}

/// Numbers instead of chance: ids in golden files must not hang on a generator.
#[derive(Debug)]
struct CountingRng(AtomicU64);

impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        bytes.fill(u8::try_from(count % 251).unwrap_or_default());
    }
}

/// One process with its tasks.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) service: MetadataService,
    pub(crate) env: Env,
    registry: Registry,
}

impl std::ops::Deref for Process {
    type Target = MetadataService;

    fn deref(&self) -> &MetadataService {
        &self.service
    }
}

/// Checkpoints only when time or the number says so, and waits that cost a test nothing.
pub(crate) fn settings(checkpoint_manifests: u32) -> SequencerSettings {
    SequencerSettings {
        checkpoint_interval: Duration::from_secs(10),
        checkpoint_manifests,
        producers_in_memory: 100_000,
        retry: BackoffPolicy::new(Duration::from_millis(1), Duration::from_millis(20), 40),
        ..SequencerSettings::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(MemoryStore::new())
    }

    pub(crate) fn on(memory: MemoryStore) -> Self {
        Self {
            store: TestStore::new(memory),
            clock: TestClock::new(),
            settings: settings(u32::MAX),
            classes: ClassBuckets::default(),
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            reach: Reach::default(),
            shards: 1,
            seeds: AtomicU64::new(1),
            is_fixed: false,
        }
    }

    /// A world whose processes draw from their own seeds.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seeds: AtomicU64::new(seed),
            ..Self::new()
        }
    }

    pub(crate) fn with(settings: SequencerSettings) -> Self {
        Self {
            settings,
            ..Self::new()
        }
    }

    /// A world whose ids do not hang on a generator.
    pub(crate) fn fixed(settings: SequencerSettings) -> Self {
        Self {
            is_fixed: true,
            ..Self::with(settings)
        }
    }

    /// A world and its first process.
    pub(crate) async fn opened() -> (Self, Process) {
        let world = Self::new();
        let process = world.open().await;
        (world, process)
    }

    /// Opens a process on the world's store: it takes every shard from the one before.
    pub(crate) async fn open(&self) -> Process {
        self.open_on(&self.store).await
    }

    pub(crate) async fn open_on(&self, store: &TestStore) -> Process {
        self.try_open_on(store).await.expect("the store answers")
    }

    pub(crate) async fn try_open_on(&self, store: &TestStore) -> Result<Process, OpenError> {
        self.try_open_in(store, None).await
    }

    /// Opens a process that is a member of a cluster.
    pub(crate) async fn open_in(&self, store: &TestStore, cluster: ClusterOptions) -> Process {
        let opened = self.try_open_in(store, Some(cluster)).await;
        opened.expect("the store answers")
    }

    async fn try_open_in(
        &self,
        store: &TestStore,
        cluster: Option<ClusterOptions>,
    ) -> Result<Process, OpenError> {
        let env = self.env();
        let mut registry = Registry::default();
        let options = OpenOptions {
            env: env.clone(),
            store: Arc::new(store.clone()),
            cluster: ClusterId::from_bytes([9; 16]),
            shards: self.shards,
            classes: self.classes.clone(),
            sequencer: self.settings,
            groups: self.groups,
            transactions: self.transactions,
            reach: self.reach.clone(),
            metrics: SequencerMetrics::new(&mut registry),
        };
        let service = match cluster {
            None => MetadataService::open(options).await?,
            Some(cluster) => MetadataService::open_in(options, cluster).await?,
        };
        let process = Process {
            service,
            env,
            registry,
        };
        process.create_topic_once().await;
        Ok(process)
    }

    fn env(&self) -> Env {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        let rng: Arc<dyn Rng> = if self.is_fixed {
            Arc::new(CountingRng(AtomicU64::new(seed * 16)))
        } else {
            Arc::new(SeededRng::new(seed))
        };
        Env {
            clock: Arc::new(self.clock.clone()),
            rng,
            supervisor: Supervisor::new(),
        }
    }
}

impl Process {
    async fn create_topic_once(&self) {
        let topic = NewTopic {
            name: TopicName::new("log").expect("a good name"),
            partitions: PARTITIONS,
            config: BTreeMap::new(),
            validate_only: false,
        };
        // It is there already in all processes but the first.
        let _ = self.service.create_topic(topic).await;
    }

    /// The value of one of the sequencers' metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_of("tidelog_sequencer", name)
    }

    /// The value of one of the metrics of transactions.
    pub(crate) fn transactions(&self, name: &str) -> u64 {
        self.metric_of("tidelog_transaction", name)
    }

    /// The value of one of the metrics of sequencers that are told by shard, if it is told of any; of one shard.
    pub(crate) fn metric_of_shard(&self, name: &str) -> Option<u64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("it is text");
        let begin = format!("tidelog_sequencer_{name}{{shard=");
        let line = text.lines().find(|line| line.starts_with(&begin))?;
        let (_, value) = line.rsplit_once(' ')?;
        value.parse().ok()
    }

    fn metric_of(&self, prefix: &str, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("it is text");
        let line = format!("{prefix}_{name} ");
        let value = text.lines().find_map(|text| text.strip_prefix(&line));
        value.expect("a metric").parse().expect("a whole number")
    }

    pub(crate) async fn send(&self, commit: ShardCommit) -> Result<CommitAnswer, CommitError> {
        send(&self.service, commit).await
    }

    /// Asks again as a broker does, until there is a definite answer.
    pub(crate) async fn send_until_answered(&self, commit: &ShardCommit) -> CommitAnswer {
        for _ in 0..100 {
            match self.send(commit.clone()).await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.may_ask_again(), "{error}"),
            }
        }
        panic!(
            "no answer to {:?} after 100 attempts",
            commit.manifest.segment
        );
    }

    pub(crate) async fn bounds_of(&self, partition: TopicPartition) -> PartitionBounds {
        self.service.bounds(partition).await.expect("it exists")
    }

    pub(crate) async fn high_watermark(&self, partition: TopicPartition) -> u64 {
        self.bounds_of(partition).await.high_watermark.get()
    }

    pub(crate) async fn latest(&self, partition: TopicPartition) -> Result<u64, LogError> {
        match self.service.offset(partition, OffsetQuery::Latest).await? {
            OffsetAnswer::Offset(offset) => Ok(offset.get()),
            other => panic!("latest is an offset, not {other:?}"),
        }
    }

    /// Everything that lookups say of a partition, a page at a time; checks that it is dense.
    pub(crate) async fn log_of(&self, partition: TopicPartition) -> Vec<Run> {
        let bounds = self.bounds_of(partition).await;
        let mut offset = bounds.log_start;
        let mut log: Vec<Run> = Vec::new();
        loop {
            let request = LookupRequest {
                partition,
                offset,
                bytes_max: u64::MAX,
                extents_max: 3,
            };
            let answer = self.service.lookup(request).await.expect("in bounds");
            if answer.extents.is_empty() {
                assert_eq!(offset, answer.bounds.high_watermark, "the log has a hole");
                return log;
            }
            for extent in answer.extents {
                let first = log.is_empty() && extent.offsets.base <= offset;
                assert!(
                    first || extent.offsets.base == offset,
                    "offset {offset} is not where {extent:?} begins"
                );
                offset = extent.offsets.next;
                log.push(Run::of(&extent.location, extent.offsets.base, offset));
            }
        }
    }

    /// Ends the process in good order.
    pub(crate) async fn stop(self) {
        let clock = Arc::clone(&self.env.clock);
        self.env
            .supervisor
            .shutdown(clock.as_ref(), Duration::from_mins(1))
            .await
            .expect("tasks end when asked");
    }
}

pub(crate) async fn send(
    service: &MetadataService,
    commit: ShardCommit,
) -> Result<CommitAnswer, CommitError> {
    let mut answers = service.commit(vec![commit]).await;
    assert_eq!(answers.len(), 1, "one answer for one commit");
    answers.pop().expect("one answer")
}

/// A run of offsets and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) base: u64,
    pub(crate) next: u64,
    pub(crate) sequence: u64,
    pub(crate) position: u32,
    pub(crate) length: u32,
}

impl Run {
    pub(crate) fn of(location: &Location, base: Offset, next: Offset) -> Self {
        match location {
            Location::Segment {
                segment,
                position,
                length,
                ..
            } => Self {
                base: base.get(),
                next: next.get(),
                sequence: segment.sequence.get(),
                position: *position,
                length: *length,
            },
            Location::Marker(marker) => {
                assert_eq!(next.get(), base.get() + 1, "a marker takes one offset");
                Self::marker(base.get(), marker.producer_id.get(), marker.decision)
            }
            Location::Inline { .. } => panic!("{location:?} is not written yet"),
        }
    }

    /// Whether it is one.
    pub(crate) const fn is_marker(&self) -> bool {
        self.position == u32::MAX
    }

    /// A marker, which has no bytes: its producer and its decision stand in their place.
    pub(crate) fn marker(base: u64, producer: i64, decision: Decision) -> Self {
        Self {
            base,
            next: base + 1,
            sequence: producer.unsigned_abs(),
            position: u32::MAX,
            length: decision as u32,
        }
    }
}
