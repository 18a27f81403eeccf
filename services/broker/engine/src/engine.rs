//! The engine: the handle that both front ends and the server hold.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use thiserror::Error;
use tidelog_blob::ClusterLayout;
use tidelog_blob::object_store::ObjectStore;
use tidelog_cache::{BucketPages, NearPages, PageCache, Pool};
use tidelog_env::{Clock, Env};
use tidelog_metadata_api::{
    ActiveProducer, Catalogue, FencingToken, Groups, Log, LogError, OffsetAnswer, OffsetQuery,
    PartitionBounds, ProducerIdentity, ReadToken, TransactionMarker, Transactions,
};
use tidelog_types::{ClusterId, Incarnation, Offset, OffsetRange, TopicPartition};

use crate::append::{Append, AppendAnswer, AppendError, Appender, AppenderParts};
use crate::classes::{ClassedCatalogue, Classes};
use crate::crash::CrashPlan;
use crate::decoding::Decoding;
use crate::fetch::{
    Ends, FetchError, FetchRequest, Fetched, Fetcher, FoundOffset, Herd, Isolation, Reads,
    Watermarks,
};
use crate::keys::KeyCheck;
use crate::memory::{MemoryExhausted, MemoryHold};
use crate::metrics::{AppendMetrics, FetchMetrics};
use crate::settings::{EngineSettings, StorageClass};

/// What an engine is built from.
#[derive(Debug)]
pub struct EngineParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// The bucket, wrapped as the process wants it.
    pub store: Arc<dyn ObjectStore>,
    /// Where objects lie in it.
    pub layout: ClusterLayout,
    /// The log's metadata.
    pub log: Arc<dyn Log>,
    /// The topics.
    pub catalogue: Arc<dyn Catalogue>,
    /// The coordinators of groups.
    pub groups: Arc<dyn Groups>,
    /// The coordinators of transactional ids.
    pub transactions: Arc<dyn Transactions>,
    /// Pages in memory.
    pub pages: PageCache,
    /// Who may have a page nearer than the bucket.
    pub near: Option<Arc<dyn NearPages>>,
    /// Settings.
    pub settings: EngineSettings,
    /// The storage classes that topics may name.
    pub classes: Vec<StorageClass>,
    /// Where to die, for tests.
    pub crash: CrashPlan,
}

/// Why an engine did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The metadata service gave this process no incarnation.
    #[error("the metadata service gave this process no incarnation")]
    NoIncarnation(#[source] LogError),
}

/// The metadata service has ended the incarnation of this writer, as it does with brokers that are gone for
/// long. Whatever this engine would store is refused, so its process ends and starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the cluster has taken this broker for gone and ended its incarnation `{0}`: start it again"
)]
pub struct IncarnationEnded(pub Incarnation);

/// Appends and fetches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    cluster: ClusterId,
    incarnation: Incarnation,
    log: Arc<dyn Log>,
    catalogue: Arc<dyn Catalogue>,
    groups: Arc<dyn Groups>,
    transactions: Arc<dyn Transactions>,
    appender: Appender,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
}

impl Engine {
    /// Registers this process as a writer and starts its tasks.
    pub async fn start(parts: EngineParts, registry: &mut Registry) -> Result<Self, StartError> {
        let incarnation = parts
            .log
            .register_writer()
            .await
            .map_err(StartError::NoIncarnation)?;
        let (cluster, _) = parts.log.cluster();
        let fetch_metrics = FetchMetrics::new(registry);
        // Who has fallen behind finds on a disk what has left memory.
        let old_data = if parts.pages.has_disk() {
            0
        } else {
            parts.pages.pool_bytes(Pool::CatchUp)
        };
        let reads = Reads {
            ends: Ends::default(),
            herd: Herd::new(Arc::clone(&parts.env.clock), old_data),
            bucket: BucketPages::new(
                Arc::clone(&parts.store),
                parts.layout.clone(),
                fetch_metrics.gets.clone(),
            ),
            log: Arc::clone(&parts.log),
            near: parts.near,
            pages: parts.pages,
            watermarks: Watermarks::default(),
            metrics: fetch_metrics.clone(),
            in_flight: parts.settings.fetch.pages_in_flight(),
            env: parts.env.clone(),
        };
        let classes = Arc::new(Classes::new(parts.classes));
        let clock = Arc::clone(&parts.env.clock);
        let appender = Appender::start(AppenderParts {
            env: parts.env.clone(),
            log: Arc::clone(&parts.log),
            store: parts.store,
            layout: parts.layout,
            cluster,
            incarnation,
            settings: parts.settings.append,
            classes: Arc::clone(&classes),
            tail: Arc::new(reads.clone()),
            metrics: AppendMetrics::new(registry),
            crash: parts.crash,
        });
        let fetcher = Fetcher::start(
            parts.env,
            Arc::clone(&parts.log),
            reads,
            parts.settings.fetch,
            fetch_metrics,
        );
        tracing::info!(incarnation = incarnation.get(), "engine started");
        Ok(Self {
            cluster,
            incarnation,
            log: parts.log,
            catalogue: Arc::new(ClassedCatalogue {
                inner: parts.catalogue,
                classes,
            }),
            groups: parts.groups,
            transactions: parts.transactions,
            appender,
            fetcher,
            clock,
        })
    }

    /// The cluster.
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The incarnation of this writer.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The topics.
    pub fn catalogue(&self) -> &dyn Catalogue {
        self.catalogue.as_ref()
    }

    /// The coordinators of groups, wherever they are.
    pub fn groups(&self) -> &dyn Groups {
        self.groups.as_ref()
    }

    /// The coordinators of transactional ids, wherever they are.
    pub fn transactions(&self) -> &dyn Transactions {
        self.transactions.as_ref()
    }

    /// Memory and threads for records, which front ends share with the engine.
    pub const fn decoding(&self) -> &Decoding {
        self.fetcher.decoding()
    }

    /// Waits until there is memory for so many bytes of batches. A front end reads nothing more from its
    /// caller meanwhile. Cancel-safe.
    pub async fn reserve(&self, bytes: u64) -> MemoryHold {
        self.appender.reserve(bytes).await
    }

    /// Takes memory for so many bytes of batches if there is some now.
    pub fn try_reserve(&self, bytes: u64) -> Result<MemoryHold, MemoryExhausted> {
        self.appender.try_reserve(bytes)
    }

    /// The check of keys that batches of a request of so many bytes have to pass before they are appended.
    pub fn key_check(&self, bytes: u64) -> KeyCheck<'_> {
        KeyCheck::new(self.decoding(), self.clock.as_ref(), bytes)
    }

    /// Takes a batch; the answer comes when it is durable. Batches are taken in the order of the calls.
    /// `hold` is kept until the answer is given; batches that came together may share one.
    pub fn append(
        &self,
        append: Append,
        hold: Arc<MemoryHold>,
    ) -> Result<AppendAnswer, AppendError> {
        self.appender.append(append, hold)
    }

    /// Waits until the metadata service says that the incarnation of this writer has ended; from then on
    /// nothing is taken any more. Cancel-safe.
    pub async fn ended(&self) -> IncarnationEnded {
        self.appender.ended().await;
        IncarnationEnded(self.incarnation)
    }

    /// Takes nothing new and ends when everything that was taken is answered.
    pub async fn drain(&self) {
        self.appender.drain().await;
    }

    /// Reads batches, after waiting for them if the request says so.
    pub async fn fetch(&self, request: &FetchRequest) -> Fetched {
        self.fetcher.fetch(request).await
    }

    /// Resolves an offset as a reader of this isolation sees the partition: for one of what is committed the latest is
    /// the last stable offset, which is linearizable too, and a record behind it is none. `None` if no record is that
    /// late. A search by time takes memory of [`decoding`](Self::decoding), so whoever holds some of it waits for none
    /// here. Markers of transactions count by their time, as records do.
    pub async fn offset(
        &self,
        partition: TopicPartition,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<Option<FoundOffset>, FetchError> {
        self.fetcher.offset(partition, query, isolation).await
    }

    /// The bounds of a partition: never newer than durable.
    pub async fn bounds(&self, partition: TopicPartition) -> Result<PartitionBounds, LogError> {
        self.log.bounds(partition).await
    }

    /// Moves a log start offset up, to the end if no offset is named. An offset beyond the end is refused
    /// only after the owner of the shard has said where the end is now (rule C9).
    pub async fn delete_records(
        &self,
        partition: TopicPartition,
        before: Option<Offset>,
    ) -> Result<(PartitionBounds, ReadToken), LogError> {
        if let Some(before) = before
            && before > self.log.bounds(partition).await?.high_watermark
        {
            let latest = self.log.offset(partition, OffsetQuery::Latest).await?;
            let bounds = self.log.bounds(partition).await?;
            let next = match latest {
                OffsetAnswer::Offset(latest) => latest,
                _ => bounds.high_watermark,
            };
            if before > next {
                let base = bounds.log_start;
                let valid = OffsetRange { base, next };
                let offset = before;
                return Err(LogError::OffsetOutOfRange { offset, valid });
            }
        }
        let before = before.unwrap_or(Offset::MAX);
        self.log.delete_records(partition, before).await
    }

    /// Sets a fencing token.
    pub async fn set_fencing_token(
        &self,
        partition: TopicPartition,
        expected: Option<FencingToken>,
        token: FencingToken,
    ) -> Result<ReadToken, LogError> {
        self.log.set_fencing_token(partition, expected, token).await
    }

    /// Gives out a producer id.
    pub async fn init_producer(&self) -> Result<ProducerIdentity, LogError> {
        self.log.init_producer().await
    }

    /// The producers that a partition remembers.
    pub async fn producers(
        &self,
        partition: TopicPartition,
    ) -> Result<Vec<ActiveProducer>, LogError> {
        self.log.producers(partition).await
    }

    /// Ends transactions in partitions, one outcome for each.
    pub async fn end_transactions(
        &self,
        markers: Vec<TransactionMarker>,
    ) -> Vec<Result<(), LogError>> {
        self.log.end_transactions(markers).await
    }

    /// What this process has seen, shard by shard.
    pub fn seen(&self) -> Vec<ReadToken> {
        self.log.seen()
    }

    /// Ends when this process has seen what a token names.
    pub async fn reached(&self, token: ReadToken) -> Result<(), LogError> {
        self.log.reached(token).await
    }
}
