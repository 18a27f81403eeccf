//! A broker engine, its metadata service and its bucket, all in memory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use tidelog_blob::faulty::{Fault, FaultRule, FaultyStore};
use tidelog_blob::{BucketLayout, ClusterLayout, MAIN, Operation};
use tidelog_broker_engine::{
    Append, AppendAnswer, AppendError, AppendSettings, CrashPlan, Engine, EngineParts,
    EngineSettings, FetchPartition, FetchRequest, Fetched, Isolation, MemoryHold, StorageClass,
};
use tidelog_cache::{CacheMetrics, CacheSettings, NearPages, PageCache};
use tidelog_env::clock::timeout;
use tidelog_env::{Clock, Env, Supervisor, SystemClock};
use tidelog_format::batch::BatchBuf;
use tidelog_format::location::Location;
use tidelog_metadata::{
    ClassBuckets, GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics,
    SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::{
    BatchCondition, Catalogue as _, Decision, Log as _, LookupRequest, NewTopic, NoGroups,
    NoTransactions, OrderKey, ProducerIdentity, TopicInfo, TransactionMarker, TransactionNumber,
};
use tidelog_store::memory::MemoryStore;
use tidelog_types::{
    ClusterId, Offset, PartitionIndex, SegmentName, SegmentSequence, TopicName, TopicPartition,
};

pub(crate) use crate::answer::Answer;
use crate::batches::{batch, values_in};
use crate::classes::classes;
use crate::far::with_far;
use crate::watched::Watched;

/// The linger of most worlds.
pub(crate) const LINGER: Duration = Duration::from_millis(10);

/// An engine and what is around it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) env: Env,
    /// Where the engine's requests arrive first: delays are injected here.
    pub(crate) way: FaultyStore,
    /// The bucket behind the way: what it says and does is injected here.
    pub(crate) bucket: FaultyStore,
    pub(crate) objects: Arc<InMemory>,
    /// The bucket beside it.
    pub(crate) far: Arc<InMemory>,
    pub(crate) layout: ClusterLayout,
    pub(crate) metadata: MetadataService,
    /// The metadata service as the engine asks it.
    pub(crate) log: Arc<Watched>,
    pub(crate) topic: Arc<TopicInfo>,
    pub(crate) engine: Engine,
    /// The engine's pages.
    pub(crate) pages: PageCache,
    /// The owner of the engine's tasks.
    pub(crate) supervisor: Supervisor,
}

/// Where the bytes of an extent are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) position: u32,
    pub(crate) length: u32,
}

fn new_topic() -> NewTopic {
    NewTopic {
        name: TopicName::new("log").expect("a good name"),
        partitions: 4,
        config: BTreeMap::new(),
        validate_only: false,
    }
}

/// No hedge, no limit that a scenario meets by chance.
pub(crate) fn settings() -> EngineSettings {
    let often = NonZeroU32::MIN.saturating_add(9_999);
    EngineSettings {
        append: AppendSettings {
            linger: LINGER,
            flush_rate: often,
            flush_burst: often,
            hedge_after: Duration::from_hours(24),
            ..AppendSettings::default()
        },
        ..EngineSettings::default()
    }
}

/// Memory for pages of most worlds.
const POOLS: CacheSettings = CacheSettings {
    tail_bytes: 32 << 20,
    catch_up_bytes: 32 << 20,
};

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: EngineSettings) -> Self {
        Self::at(settings, Arc::new(SystemClock::new())).await
    }

    /// A world whose engine has its own clock.
    pub(crate) async fn at(settings: EngineSettings, clock: Arc<dyn Clock>) -> Self {
        Self::build(settings, clock, None, POOLS, 1, classes()).await
    }

    /// A world whose partitions are spread over so many shards.
    pub(crate) async fn sharded(shards: u32) -> Self {
        Self::sharded_with(settings(), shards).await
    }

    pub(crate) async fn sharded_with(settings: EngineSettings, shards: u32) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self::build(settings, clock, None, POOLS, shards, classes()).await
    }

    /// A world without a class that has a bucket of its own.
    pub(crate) async fn in_one_bucket(settings: EngineSettings) -> Self {
        let classes = classes().into_iter();
        let classes = classes.filter(|class| class.bucket == MAIN).collect();
        let clock = Arc::new(SystemClock::new());
        Self::build(settings, clock, None, POOLS, 1, classes).await
    }

    /// A world with so much memory for pages of old data.
    pub(crate) async fn with_catch_up_bytes(catch_up_bytes: usize) -> Self {
        let pools = CacheSettings {
            catch_up_bytes,
            ..POOLS
        };
        let clock = Arc::new(SystemClock::new());
        Self::build(settings(), clock, None, pools, 1, classes()).await
    }

    /// The same without memory for pages.
    pub(crate) async fn beside_without_memory(near: Arc<dyn NearPages>) -> Self {
        let pools = CacheSettings {
            tail_bytes: 0,
            catch_up_bytes: 0,
        };
        let clock = Arc::new(SystemClock::new());
        Self::build(settings(), clock, Some(near), pools, 1, classes()).await
    }

    /// A world in which somebody may have pages nearer than the bucket.
    pub(crate) async fn beside(near: Arc<dyn NearPages>) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self::build(settings(), clock, Some(near), POOLS, 1, classes()).await
    }

    async fn build(
        settings: EngineSettings,
        clock: Arc<dyn Clock>,
        near: Option<Arc<dyn NearPages>>,
        pools: CacheSettings,
        shards: u32,
        classes: Vec<StorageClass>,
    ) -> Self {
        let env = Env::seeded(7);
        let supervisor = Supervisor::new();
        let mut registry = Registry::default();
        let cluster = ClusterId::from_random_bytes([9; 16]);
        let metadata = MetadataService::open(OpenOptions {
            env: env.clone(),
            store: Arc::new(MemoryStore::new()),
            cluster,
            shards,
            classes: ClassBuckets::default(),
            sequencer: SequencerSettings::default(),
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            reach: Reach::default(),
            metrics: SequencerMetrics::new(&mut registry),
        })
        .await
        .expect("the store answers");
        let topic = metadata
            .create_topic(new_topic())
            .await
            .expect("a new topic");
        let log = Arc::new(Watched::new(metadata.clone()));
        let objects = Arc::new(InMemory::new());
        let inner = Arc::clone(&objects);
        let bucket = FaultyStore::new(inner, Arc::clone(&env.clock));
        let way = FaultyStore::new(Arc::new(bucket.clone()), Arc::clone(&env.clock));
        let far = Arc::new(InMemory::new());
        let layout = BucketLayout::new("".into()).cluster(cluster);
        let pages = PageCache::with_pools(pools, CacheMetrics::new(&mut registry));
        let parts = EngineParts {
            env: Env {
                clock,
                rng: Arc::clone(&env.rng),
                supervisor: supervisor.clone(),
            },
            store: with_far(&way, &far, &layout),
            layout: layout.clone(),
            log: Arc::<Watched>::clone(&log),
            catalogue: Arc::new(metadata.clone()),
            groups: Arc::new(NoGroups),
            transactions: Arc::new(NoTransactions),
            pages: pages.clone(),
            near,
            settings,
            classes,
            crash: CrashPlan::default(),
        };
        let engine = Engine::start(parts, &mut registry)
            .await
            .expect("the metadata service answers");
        Self {
            env,
            way,
            bucket,
            objects,
            far,
            layout,
            metadata,
            log,
            topic,
            engine,
            pages,
            supervisor,
        }
    }

    // ----- time and faults --------------------------------------------------------------------------

    /// Ranges of objects that were read from the bucket.
    pub(crate) fn gets(&self) -> u64 {
        self.bucket.seen(Operation::Get)
    }

    /// Lets paused time go on; every task that can run has run before it does.
    pub(crate) async fn pass(&self, time: Duration) {
        self.env.clock.sleep(time).await;
    }

    /// The path of this engine's segment with a sequence.
    pub(crate) fn path(&self, sequence: u64) -> object_store::path::Path {
        let sequence = SegmentSequence::new(sequence);
        let name = SegmentName::new(self.engine.incarnation(), sequence);
        self.layout.segment(MAIN, name)
    }

    /// The upload of a segment takes so long.
    pub(crate) fn slow(&self, sequence: u64, time: Duration) {
        self.way.inject(self.put(sequence, Fault::Delay(time)));
    }

    /// The upload of a segment meets a fault.
    pub(crate) fn fail(&self, sequence: u64, fault: Fault) {
        self.bucket.inject(self.put(sequence, fault));
    }

    fn put(&self, sequence: u64, fault: Fault) -> FaultRule {
        FaultRule::new(fault)
            .on(Operation::Put)
            .at(self.path(sequence).as_ref())
    }

    /// How many uploads were begun.
    pub(crate) fn puts(&self) -> u64 {
        self.way.seen(Operation::Put)
    }

    // ----- appends ----------------------------------------------------------------------------------

    pub(crate) fn try_append(
        &self,
        partition: u32,
        batch: BatchBuf,
        order: Option<u64>,
    ) -> Result<AppendAnswer, AppendError> {
        let size = u64::from(batch.size());
        let hold = self.engine.try_reserve(size).expect("there is memory");
        let append = self.to_append(partition, batch, order);
        self.engine.append(append, Arc::new(hold))
    }

    fn to_append(&self, partition: u32, batch: BatchBuf, order: Option<u64>) -> Append {
        Append {
            topic: Arc::clone(&self.topic),
            partition: PartitionIndex::new(partition),
            batch,
            condition: BatchCondition::default(),
            order: order.map(OrderKey),
        }
    }

    /// Sends a batch whose memory is held already.
    pub(crate) fn send_held(&self, partition: u32, batch: BatchBuf, hold: MemoryHold) -> Answer {
        let append = self.to_append(partition, batch, None);
        let answer = self.engine.append(append, Arc::new(hold));
        Answer {
            receiver: answer.expect("the batch is taken"),
            env: self.env.clone(),
        }
    }

    /// Sends a record without a sender.
    pub(crate) fn send(&self, partition: u32, value: &str) -> Answer {
        self.send_batch(partition, batch(&[value]), None)
    }

    /// Sends a record under an order key.
    pub(crate) fn send_ordered(&self, partition: u32, value: &str, order: u64) -> Answer {
        self.send_batch(partition, batch(&[value]), Some(order))
    }

    /// What will be heard of an append.
    pub(crate) fn answer(&self, receiver: AppendAnswer) -> Answer {
        Answer {
            receiver,
            env: self.env.clone(),
        }
    }

    pub(crate) fn send_batch(&self, partition: u32, batch: BatchBuf, order: Option<u64>) -> Answer {
        let answer = self.try_append(partition, batch, order);
        Answer {
            receiver: answer.expect("the batch is taken"),
            env: self.env.clone(),
        }
    }

    // ----- transactions ------------------------------------------------------------------------------

    /// A producer that nobody else is.
    pub(crate) async fn producer(&self) -> ProducerIdentity {
        self.metadata.init_producer().await.expect("an id")
    }

    /// Sends a batch of a transaction and answers where it lies.
    pub(crate) async fn send_in(&self, partition: u32, batch: BatchBuf, number: u64) -> u64 {
        let hold = self.engine.try_reserve(u64::from(batch.size()));
        let mut append = self.to_append(partition, batch, None);
        append.condition.transaction = Some(TransactionNumber(number));
        let hold = Arc::new(hold.expect("there is memory"));
        let answer = self.engine.append(append, hold);
        let answer = Answer {
            receiver: answer.expect("the batch is taken"),
            env: self.env.clone(),
        };
        answer.offset().await
    }

    /// Ends a transaction of a producer in a partition.
    pub(crate) async fn end(
        &self,
        partition: u32,
        producer: ProducerIdentity,
        number: u64,
        decision: Decision,
    ) {
        let marker = TransactionMarker {
            partition: self.partition(partition),
            producer,
            number: Some(TransactionNumber(number)),
            coordinator_epoch: 5,
            decision,
        };
        let ended = self.metadata.end_transactions(vec![marker]).await;
        assert_eq!(ended, [Ok(())]);
    }

    // ----- reads ------------------------------------------------------------------------------------

    pub(crate) fn partition(&self, index: u32) -> TopicPartition {
        TopicPartition::new(self.topic.number, PartitionIndex::new(index))
    }

    pub(crate) fn want(&self, index: u32, offset: u64, bytes_max: u64) -> FetchPartition {
        FetchPartition {
            partition: self.partition(index),
            offset: Offset::new(offset),
            bytes_max,
        }
    }

    /// Fetches without waiting.
    pub(crate) async fn fetch(&self, partitions: Vec<FetchPartition>, bytes_max: u64) -> Fetched {
        let request = FetchRequest {
            partitions,
            bytes_max,
            bytes_min: 0,
            wait_max: Duration::ZERO,
            isolation: Isolation::Uncommitted,
        };
        soon(&self.env, self.engine.fetch(&request)).await
    }

    /// The records of a partition, as `value@offset`.
    pub(crate) async fn values(&self, index: u32) -> Vec<String> {
        let wanted = vec![self.want(index, 0, u64::MAX)];
        let fetched = self.fetch(wanted, u64::MAX).await;
        match fetched.partitions.into_iter().next() {
            Some(Ok(found)) => values_in(&found),
            other => panic!("partition {index} cannot be read: {other:?}"),
        }
    }

    /// The sequences of the segments that hold a partition, extent after extent.
    pub(crate) async fn sequences(&self, index: u32) -> Vec<u64> {
        let places = self.places(index).await;
        places.iter().map(|place| place.sequence).collect()
    }

    /// Where a partition's bytes are, as the metadata service says: nothing is read into memory.
    pub(crate) async fn places(&self, index: u32) -> Vec<Place> {
        let request = LookupRequest {
            partition: self.partition(index),
            offset: Offset::ZERO,
            bytes_max: u64::MAX,
            extents_max: 1_000,
        };
        let answer = self.metadata.lookup(request).await.expect("in bounds");
        let place = |location: &Location| match location {
            Location::Segment {
                segment,
                position,
                length,
                ..
            } => Place {
                sequence: segment.sequence.get(),
                position: *position,
                length: *length,
            },
            other => panic!("{other:?} is not in a segment"),
        };
        let extents = answer.extents.iter();
        extents.map(|extent| place(&extent.location)).collect()
    }
}

/// Ends with the future, or fails the test after an hour of paused time, which is no time at all.
pub(crate) async fn soon<F: Future>(env: &Env, future: F) -> F::Output {
    timeout(env.clock.as_ref(), Duration::from_hours(1), future)
        .await
        .expect("it ends")
}
