//! The metadata service of one process: the catalogue and the sequencers of all its shards.

mod catalogue;
mod founding;
mod log;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidelog_env::Env;
use tidelog_metadata_api::{CatalogueError, LogError, Notice, TopicSelector};
use tidelog_store::Store;
use tidelog_types::{ClusterId, ShardId, Tenant, TopicPartition};
use tokio::sync::broadcast;

use founding::{end_writers, found};

use crate::OpenError;
use crate::catalogue::Catalogue;
use crate::keyspace::{ClusterRow, Counter, Keyspace};
use crate::metrics::SequencerMetrics;
use crate::numbers::take_numbers;
use crate::sequencer::{History, Sequencer, SequencerParts};
use crate::settings::SequencerSettings;

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
    /// How sequencers work.
    pub sequencer: SequencerSettings,
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
    cluster: ClusterRow,
    catalogue: Catalogue,
    sequencers: HashMap<ShardId, Sequencer>,
    notices: broadcast::Sender<Notice>,
    pub(crate) history: History,
    pub(crate) partitions_in_memory: usize,
    pub(crate) metrics: SequencerMetrics,
    producer_ids: tokio::sync::Mutex<std::ops::Range<u64>>,
    /// Where the shard of a partition is kept once it is known; it never changes while we own all.
    known_shards: moka::sync::Cache<TopicPartition, ShardId>,
    lookups: AtomicU64,
}

impl MetadataService {
    /// Opens the service: finds or founds the cluster, takes every shard over and loads it.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let keys = Keyspace::new(Tenant::default());
        let cluster = found(&options, keys).await?;
        if options.sequencer.is_only_process {
            end_writers(&options, keys).await?;
        }
        let (notices, _) = broadcast::channel(NOTICES_KEPT);
        let catalogue = Catalogue::new(
            Arc::clone(&options.store),
            options.env.clone(),
            keys,
            cluster.shards,
            notices.clone(),
        );
        let parts = SequencerParts {
            env: options.env.clone(),
            store: Arc::clone(&options.store),
            keys,
            generation: cluster.generation,
            owner: options.env.rng.bytes_16(),
            settings: options.sequencer,
            notices: notices.clone(),
            metrics: options.metrics.clone(),
        };
        let mut sequencers = HashMap::new();
        for shard in (0..cluster.shards).map(ShardId::new) {
            let sequencer = Sequencer::start(parts.clone(), shard)
                .await
                .map_err(OpenError::sequencer)?;
            sequencers.insert(shard, sequencer);
        }
        let inner = Inner {
            history: History::new(Arc::clone(&options.store), keys),
            partitions_in_memory: options.sequencer.partitions_in_memory,
            metrics: options.metrics,
            env: options.env,
            store: options.store,
            keys,
            cluster,
            catalogue,
            sequencers,
            notices,
            producer_ids: tokio::sync::Mutex::new(0..0),
            known_shards: moka::sync::Cache::new(100_000),
            lookups: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// How many lookups this process has answered.
    pub fn lookups(&self) -> u64 {
        self.inner.lookups.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// The sequencer of a partition that was asked about before.
    pub(crate) fn known_sequencer(&self, partition: TopicPartition) -> Option<&Sequencer> {
        self.sequencers.get(&self.known_shards.get(&partition)?)
    }

    /// The sequencer of a partition, if the partition exists.
    pub(crate) async fn sequencer(
        &self,
        partition: TopicPartition,
    ) -> Result<&Sequencer, LogError> {
        let shard = match self.known_shards.get(&partition) {
            Some(shard) => shard,
            None => self.find_shard(partition).await?,
        };
        self.sequencers.get(&shard).ok_or(LogError::NotOwner)
    }

    async fn find_shard(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        let selector = TopicSelector::Number(partition.topic);
        let topic = self
            .catalogue
            .topic(&selector)
            .await
            .map_err(|error| match error {
                CatalogueError::Unavailable { reason } => LogError::Unavailable { reason },
                CatalogueError::NotOwner => LogError::NotOwner,
                _ => LogError::UnknownPartition(partition),
            })?;
        let (_, info) = topic
            .partition(partition.partition)
            .map_err(|_| LogError::UnknownPartition(partition))?;
        self.known_shards.insert(partition, info.shard);
        Ok(info.shard)
    }

    async fn take_numbers(&self, counter: Counter, count: u64) -> Result<u64, LogError> {
        take_numbers(self.store.as_ref(), &self.env, self.keys, counter, count).await
    }
}
