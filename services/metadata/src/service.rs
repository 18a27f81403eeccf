//! The metadata service of one process: the catalogue and the sequencers of all its shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tidelog_env::Env;
use tidelog_metadata_api::{
    Catalogue as CatalogueApi, CatalogueError, CommitAnswer, CommitError, FencingToken, Log,
    LogError, LookupAnswer, LookupRequest, NewTopic, NoticeStream, OffsetAnswer, OffsetQuery,
    PartitionBounds, ProducerIdentity, ReadToken, ShardCommit, TopicInfo, TopicPage, TopicSelector,
};
use tidelog_store::{ReadMode, Store, TransactError, transact};
use tidelog_types::{
    ClusterGeneration, ClusterId, Incarnation, Offset, ProducerEpoch, ProducerId, SegmentSequence,
    ShardId, Tenant, TopicPartition,
};
use tokio::sync::broadcast;

use crate::OpenError;
use crate::catalogue::{Catalogue, RETRY};
use crate::keyspace::{ClusterRow, Counter, FloorRow, Keyspace, NumberRow};
use crate::metrics::SequencerMetrics;
use crate::numbers::{take_numbers, transact_error};
use crate::sequencer::{History, Sequencer, SequencerParts};
use crate::settings::SequencerSettings;

/// News that a slow listener may fall behind before it is told that it missed some.
const NOTICES_KEPT: usize = 4_096;
/// Producer ids that are taken from the store at once.
const PRODUCER_IDS_TAKEN: u64 = 1_000;

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
    notices: broadcast::Sender<tidelog_metadata_api::Notice>,
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

/// Reads the cluster's row or writes it.
async fn found(options: &OpenOptions, keys: Keyspace) -> Result<ClusterRow, OpenError> {
    let fresh = ClusterRow {
        id: options.cluster,
        generation: ClusterGeneration::new(1),
        shards: options.shards.max(1),
    };
    let row = transact(
        options.store.as_ref(),
        &options.env,
        RETRY,
        |mut transaction| async move {
            let key = keys.cluster();
            let stored = transaction.get(&key, ReadMode::Serializable).await?;
            let row = stored
                .map(ClusterRow::decode)
                .transpose()
                .map_err(|error| TransactError::Abort(OpenError::Row(error)))?;
            if row.is_none() {
                transaction.put(key, fresh.encode());
            }
            let row = row.unwrap_or(fresh);
            Ok((transaction, row))
        },
    )
    .await
    .map_err(OpenError::from)?;
    if row.id != options.cluster {
        return Err(OpenError::WrongCluster {
            found: row.id,
            wanted: options.cluster,
        });
    }
    Ok(row)
}

/// Takes note that every writer that was registered so far has ended with its process (rule C6).
async fn end_writers(options: &OpenOptions, keys: Keyspace) -> Result<(), OpenError> {
    transact(
        options.store.as_ref(),
        &options.env,
        RETRY,
        |mut transaction| async move {
            let mut numbers = [0; 2];
            let counters = [Counter::Incarnation, Counter::OldestLiveIncarnation];
            for (counter, number) in counters.into_iter().zip(&mut numbers) {
                let key = keys.counter(counter);
                let value = transaction.get(&key, ReadMode::Serializable).await?;
                let row = value
                    .map(NumberRow::decode)
                    .transpose()
                    .map_err(|error| TransactError::Abort(OpenError::Row(error)))?;
                *number = row.map_or(0, |row| row.0);
            }
            let [last, oldest_live] = numbers;
            if last > 0 && oldest_live <= last {
                let key = keys.counter(Counter::OldestLiveIncarnation);
                transaction.put(key, NumberRow(last.saturating_add(1)).encode());
            }
            Ok((transaction, ()))
        },
    )
    .await
    .map_err(OpenError::from)
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

#[async_trait]
impl Log for MetadataService {
    fn cluster(&self) -> (ClusterId, ClusterGeneration) {
        (self.inner.cluster.id, self.inner.cluster.generation)
    }

    async fn register_writer(&self) -> Result<Incarnation, LogError> {
        self.inner
            .take_numbers(Counter::Incarnation, 1)
            .await
            .map(Incarnation::new)
    }

    fn commit(
        &self,
        commits: Vec<ShardCommit>,
    ) -> BoxFuture<'static, Vec<Result<CommitAnswer, CommitError>>> {
        let answers = commits.into_iter().map(|commit| {
            match self.inner.sequencers.get(&commit.manifest.shard) {
                Some(sequencer) => sequencer.commit(commit),
                None => futures::future::ready(Err(CommitError::NotOwner)).boxed(),
            }
        });
        // Collected now, so that every commit is in its mailbox before the future is first polled.
        let answers: Vec<_> = answers.collect();
        join_all(answers).boxed()
    }

    async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        let sequencer = self.inner.sequencer(partition).await?;
        sequencer
            .set_fencing_token(partition, expected, token)
            .await
    }

    async fn locate(&self, requests: &[LookupRequest]) -> Vec<Result<LookupAnswer, LogError>> {
        let count = u64::try_from(requests.len()).unwrap_or(u64::MAX);
        self.inner.lookups.fetch_add(count, Ordering::Relaxed);
        self.inner.locate(requests).await
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        let sequencer = self.inner.sequencer(partition).await?;
        Ok(self.inner.shown(sequencer, partition).await?.bounds)
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
        let sequencer = self.inner.sequencer(partition).await?;
        let token = sequencer.delete_records(partition, before).await?;
        let shown = self.inner.shown(sequencer, partition).await?;
        Ok((shown.bounds, token))
    }

    async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        let mut free = self.inner.producer_ids.lock().await;
        if free.is_empty() {
            let first = self
                .inner
                .take_numbers(Counter::ProducerId, PRODUCER_IDS_TAKEN)
                .await?;
            *free = first..first.saturating_add(PRODUCER_IDS_TAKEN);
        }
        let id = free
            .next()
            .and_then(|id| i64::try_from(id).ok())
            .ok_or_else(|| LogError::Corrupt {
                reason: "producer ids are used up".to_owned(),
            })?;
        Ok(ProducerIdentity {
            id: ProducerId::new(id),
            epoch: ProducerEpoch::new(0),
        })
    }

    async fn raise_floor(
        &self,
        incarnation: Incarnation,
        floor: SegmentSequence,
    ) -> Result<(), LogError> {
        let key = self.inner.keys.floor(incarnation);
        transact(
            self.inner.store.as_ref(),
            &self.inner.env,
            RETRY,
            |mut transaction| {
                let key = key.clone();
                async move {
                    let value = transaction.get(&key, ReadMode::Serializable).await?;
                    let before = value.map(FloorRow::decode).transpose().map_err(|error| {
                        TransactError::Abort(LogError::Corrupt {
                            reason: error.to_string(),
                        })
                    })?;
                    if before.is_none_or(|row| row.floor < floor) {
                        transaction.put(key, FloorRow { floor }.encode());
                    }
                    Ok((transaction, ()))
                }
            },
        )
        .await
        .map_err(transact_error)
    }

    fn seen(&self) -> Vec<ReadToken> {
        let generation = self.inner.cluster.generation;
        let sequencers = self.inner.sequencers.iter();
        let seen = sequencers.map(|(shard, sequencer)| ReadToken {
            generation,
            shard: *shard,
            group: sequencer.view().read().group,
        });
        seen.collect()
    }

    async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        if token.generation != self.inner.cluster.generation {
            // A token of another life of the cluster promises nothing in this one.
            return Ok(());
        }
        match self.inner.sequencers.get(&token.shard) {
            Some(sequencer) => sequencer.reached(token.group).await,
            None => Err(LogError::NotOwner),
        }
    }

    fn subscribe(&self) -> NoticeStream {
        NoticeStream::new(self.inner.notices.subscribe())
    }
}

#[async_trait]
impl CatalogueApi for MetadataService {
    async fn create_topic(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.catalogue.create(topic).await
    }

    async fn topic(&self, selector: &TopicSelector) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.catalogue.topic(selector).await
    }

    async fn list_topics(
        &self,
        after: &[u8],
        count: usize,
        deleted: bool,
    ) -> Result<TopicPage, CatalogueError> {
        self.inner.catalogue.list(after, count, deleted).await
    }

    async fn alter_topic_config(
        &self,
        selector: &TopicSelector,
        changes: BTreeMap<String, Option<String>>,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner
            .catalogue
            .alter_config(selector, changes, validate_only)
            .await
    }

    async fn add_partitions(
        &self,
        selector: &TopicSelector,
        count: u32,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.catalogue.add_partitions(selector, count).await
    }

    async fn delete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let topic = self.inner.catalogue.delete(selector).await;
        // Also after an error: the outcome may be unknown.
        self.inner.known_shards.invalidate_all();
        topic
    }

    async fn undelete_topic(
        &self,
        selector: &TopicSelector,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        self.inner.catalogue.undelete(selector).await
    }
}
