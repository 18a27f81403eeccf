//! The metadata service of one process: the catalogue and the sequencers of all its shards.

mod begin;
mod catalogue;
mod cluster;
mod compactions;
mod founding;
mod groups;
mod janitor;
mod log;
mod markers;
mod merges;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tidelog_env::Env;
use tidelog_metadata_api::{LogError, Notice};
use tidelog_store::Store;
use tidelog_types::{ClusterId, MemberId, ShardId, Tenant, TopicPartition};
use tokio::sync::{Semaphore, broadcast, watch};

use begin::{Begun, SHARD_KNOWN_FOR, nameless};
use cluster::Members;
pub use founding::is_founded;
use founding::{end_writers, found};

use crate::catalogue::Catalogue;
use crate::coordinator::{CoordinatorParts, GroupSettings, TopicDirectory};
use crate::deletion::Deletion;
use crate::driver::Memory;
use crate::generation::Generation;
use crate::keyspace::{ClusterRow, Counter, Keyspace};
use crate::metrics::SequencerMetrics;
use crate::numbers::take_numbers;
use crate::ownership::{ClusterOptions, Ownership, Shards, Touch};
use crate::partition_shards::PartitionShards;
use crate::producer_ids::ProducerIds;
use crate::sequencer::{History, Sequencer, SequencerParts};
use crate::settings::SequencerSettings;
use crate::transactor::{Reach, Seams, TELLING_MAX, TransactionSettings, TransactorParts};
use crate::{ClassBuckets, GenerationEnded, OpenError};

/// News that a slow listener may fall behind before it is told that it missed some.
const NOTICES_KEPT: usize = 4_096;

/// What the service is opened with.
#[derive(Debug)]
pub struct OpenOptions {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Which cluster this is; a store of another one is refused.
    pub cluster: ClusterId,
    /// How many shards a new cluster has. An existing one keeps its number.
    pub shards: u32,
    /// Where merged segments of storage classes go.
    pub classes: ClassBuckets,
    /// How sequencers work.
    pub sequencer: SequencerSettings,
    /// How groups are coordinated.
    pub groups: GroupSettings,
    /// How transactions are coordinated.
    pub transactions: TransactionSettings,
    /// How the ends of transactions get to partitions and groups of the whole cluster. A process that is the whole
    /// cluster uses [`MetadataService::reaches_itself`].
    pub reach: Reach,
    /// Where they report.
    pub metrics: SequencerMetrics,
}

/// The metadata service of one process. Clones are handles on the same service.
#[derive(Clone, Debug)]
pub struct MetadataService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    env: Env,
    store: Arc<dyn Store>,
    keys: Keyspace,
    generation: Generation,
    touch: Touch,
    cluster: ClusterRow,
    catalogue: Catalogue,
    pub(crate) shards: Arc<Shards>,
    members: Members,
    notices: broadcast::Sender<Notice>,
    merge_news: watch::Sender<()>,
    /// How often somebody has asked for what is to be compacted.
    compaction_turn: AtomicUsize,
    pub(crate) history: History,
    pub(crate) partitions_in_memory: usize,
    producer_expiry: Duration,
    pub(crate) metrics: SequencerMetrics,
    producer_ids: ProducerIds,
    pub(crate) partition_shards: PartitionShards,
    reach: Reach,
    deletion: Deletion,
    lookups: AtomicU64,
}

impl MetadataService {
    /// Opens the service of a process that has the store to itself: finds or founds the cluster, takes
    /// every shard over and loads it.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        Box::pin(Self::open_with(options, None)).await
    }

    /// Opens the service of a process that is a member of a cluster. On a store that others use too it
    /// comes by its shards later, in the background.
    pub async fn open_in(options: OpenOptions, cluster: ClusterOptions) -> Result<Self, OpenError> {
        Box::pin(Self::open_with(options, Some(cluster))).await
    }

    async fn open_with(
        options: OpenOptions,
        place: Option<ClusterOptions>,
    ) -> Result<Self, OpenError> {
        let keys = Keyspace::new(Tenant::default());
        let cluster = found(&options, keys).await?;
        let generation = Generation::new(keys, cluster.generation);
        let owns = place.as_ref().map(|place| place.ownership);
        let is_shared = owns == Some(Ownership::Shared);
        if options.sequencer.is_only_process && !is_shared {
            end_writers(&options, &generation).await?;
        }
        let nobody = || nameless(MemberId::from_bytes(options.env.rng.bytes_16()));
        let place = place.unwrap_or_else(nobody);
        let (notices, merge_news) = (broadcast::channel(NOTICES_KEPT).0, watch::channel(()).0);
        let catalogue = Catalogue::new(
            Arc::clone(&options.store),
            options.env.clone(),
            generation.clone(),
            cluster.shards,
            notices.clone(),
        );
        let deletion = Deletion::of(&options, &generation, is_shared);
        let parts = SequencerParts {
            env: options.env.clone(),
            store: Arc::clone(&options.store),
            keys,
            generation: generation.clone(),
            owner: place.member.id.to_bytes(),
            settings: options.sequencer,
            classes: options.classes.clone(),
            catalogue: catalogue.clone(),
            deletions: deletion.signal().clone(),
            is_shared,
            notices: notices.clone(),
            merge_news: merge_news.clone(),
            metrics: options.metrics.clone(),
        };
        let touch = Touch::new(options.metrics.store_in_touch.clone());
        let coordinators = coordinators(&options, keys, &catalogue, &touch, is_shared);
        let transactors = transactors(&options, &cluster, &catalogue, &generation, is_shared);
        let partition_shards = transactors.shards.clone();
        let producer_ids = transactors.producer_ids.clone();
        let shards = Arc::new(Shards::new(cluster.shards, coordinators, transactors));
        let begun = Begun::of(cluster, parts, &shards, &touch);
        let members = begun.begin(place).await?;
        let inner = Inner {
            history: History::new(Arc::clone(&options.store), keys),
            partitions_in_memory: options.sequencer.partitions_in_memory,
            producer_expiry: options.sequencer.producer_expiry,
            metrics: options.metrics,
            env: options.env,
            store: options.store,
            keys,
            generation,
            touch,
            cluster,
            catalogue,
            shards,
            members,
            notices,
            merge_news,
            compaction_turn: AtomicUsize::new(0),
            producer_ids,
            partition_shards,
            reach: options.reach,
            deletion,
            lookups: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Waits until this process knows that the store was restored since it was opened, or is being restored:
    /// then it changes nothing any more and must end. Cancel-safe.
    ///
    /// On a store that others use too, the next beat finds it out; a store that one process has to itself is
    /// closed by a restore instead.
    pub async fn ended(&self) -> GenerationEnded {
        self.inner.generation.ended().await
    }

    /// Whether the store answers this process, and every change of that. While it has not for a lease, this
    /// process takes no part: what was under way is given back as unknown, what comes is refused, and both are
    /// to be asked for again, here later or elsewhere. Nothing needs to be done for it to take part again.
    ///
    /// A process that has the store to itself is told otherwise: then the store closes.
    pub fn in_touch(&self) -> watch::Receiver<bool> {
        self.inner.touch.watch()
    }

    /// From now on the ends of transactions get to partitions and groups by this service itself: it has all shards of
    /// the cluster.
    pub fn reaches_itself(&self) {
        // Its own tasks must not keep it.
        let inner = Arc::downgrade(&self.inner);
        self.inner.reach.set_source(move || {
            let service = Self {
                inner: inner.upgrade()?,
            };
            Some(Seams {
                log: Arc::new(service.clone()),
                groups: Arc::new(service),
            })
        });
    }

    /// How many lookups this process has answered.
    pub fn lookups(&self) -> u64 {
        self.inner.lookups.load(Ordering::Relaxed)
    }
}

/// What the coordinators of this process's shards work with.
fn coordinators(
    options: &OpenOptions,
    keys: Keyspace,
    catalogue: &Catalogue,
    touch: &Touch,
    is_shared: bool,
) -> CoordinatorParts {
    let settings = options.groups;
    let topics = TopicDirectory::new(
        catalogue.clone(),
        Arc::clone(&options.env.clock),
        is_shared,
        settings.topics_interval,
    );
    let metrics = options.metrics.coordinators.clone();
    CoordinatorParts {
        env: options.env.clone(),
        store: Arc::clone(&options.store),
        keys,
        settings,
        memory: Memory::new(settings.memory_bytes, metrics.memory.clone()),
        topics: Arc::new(topics),
        touch: touch.clone(),
        metrics,
    }
}

/// What the coordinators of transactional ids of this process's shards work with.
fn transactors(
    options: &OpenOptions,
    cluster: &ClusterRow,
    catalogue: &Catalogue,
    generation: &Generation,
    is_shared: bool,
) -> TransactorParts {
    let settings = options.transactions;
    let (store, env) = (&options.store, &options.env);
    let known_for = is_shared.then_some(SHARD_KNOWN_FOR);
    let metrics = options.metrics.transactors.clone();
    TransactorParts {
        env: env.clone(),
        store: Arc::clone(store),
        keys: generation.keys(),
        settings,
        memory: Memory::new(settings.memory_bytes, metrics.memory.clone()),
        shard_count: cluster.shards,
        shards: PartitionShards::new(catalogue.clone(), known_for),
        producer_ids: ProducerIds::new(Arc::clone(store), env.clone(), generation.clone()),
        reach: options.reach.clone(),
        telling: Arc::new(Semaphore::new(TELLING_MAX)),
        metrics,
    }
}

impl Inner {
    /// The sequencer of a partition, if the partition exists and its shard is here.
    pub(crate) async fn sequencer(
        &self,
        partition: TopicPartition,
    ) -> Result<Arc<Sequencer>, LogError> {
        let shard = self.shard(partition).await?;
        Ok(self.shards.get(shard)?)
    }

    /// The shard of a partition, if the partition exists.
    pub(crate) async fn shard(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        self.partition_shards.shard(partition).await
    }

    async fn take_numbers(&self, counter: Counter, count: u64) -> Result<u64, LogError> {
        take_numbers(
            self.store.as_ref(),
            &self.env,
            &self.generation,
            counter,
            count,
        )
        .await
    }
}
