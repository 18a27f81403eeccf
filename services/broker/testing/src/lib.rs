//! What the tests of both front ends stand on: an engine in memory, and an authorizer, a quota and coordinators that
//! take notes.

mod groups;
mod transactions;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tidelog_blob::BucketLayout;
use tidelog_blob::object_store::memory::InMemory;
use tidelog_broker_engine::{AppendSettings, CrashPlan, Engine, EngineParts, EngineSettings};
use tidelog_cache::{CacheMetrics, PageCache};
use tidelog_env::clock::timeout;
use tidelog_env::{Env, SystemClock};
use tidelog_metadata::{
    ClassBuckets, MetadataService, OpenOptions, Reach, SequencerMetrics, SequencerSettings,
    TransactionSettings,
};
use tidelog_metadata_api::{Groups, Transactions};
use tidelog_runtime::access::{
    Allowance, Authorizer, Caller, Charge, Denied, Operation, Quota, Resource,
};
use tidelog_store::memory::MemoryStore;
use tidelog_types::ClusterId;

pub use groups::FakeGroups;
pub use tidelog_metadata::GroupSettings;
pub use transactions::FakeTransactions;

/// Longest time of what should end soon.
const SOON: Duration = Duration::from_secs(20);

/// Notes every question and answers as it is told.
#[derive(Debug, Default)]
pub struct Gate {
    /// Whether nobody may do anything.
    pub denies: Mutex<bool>,
    /// What in particular nobody may do: the operation, and on what.
    pub denied: Mutex<Vec<(Operation, String)>>,
    /// What the quota says; `None` grants.
    pub allowance: Mutex<Option<Allowance>>,
    /// What the authorizer was asked: the operation, and on what.
    pub asked: Mutex<Vec<(Operation, String)>>,
    /// What the quota was asked: for which client, and how much.
    pub charged: Mutex<Vec<(String, Charge)>>,
}

impl Authorizer for Gate {
    fn authorize(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), Denied> {
        let asked = (operation, resource.to_string());
        let is_denied = *self.denies.lock() || self.denied.lock().contains(&asked);
        self.asked.lock().push(asked);
        if is_denied {
            return Err(Denied::new(caller, operation, resource));
        }
        Ok(())
    }
}

impl Quota for Gate {
    fn charge(&self, caller: &Caller, _: Resource<'_>, charge: Charge) -> Allowance {
        self.charged.lock().push((caller.client_id.clone(), charge));
        self.allowance.lock().unwrap_or(Allowance::Granted)
    }
}

/// Settings under which nothing waits for more to come.
pub fn quick_append() -> AppendSettings {
    let often = NonZeroU32::new(10_000).unwrap_or(NonZeroU32::MIN);
    AppendSettings {
        linger: Duration::from_millis(2),
        flush_rate: often,
        flush_burst: often,
        ..AppendSettings::default()
    }
}

/// Who coordinates.
#[derive(Clone, Debug)]
pub struct Coordinators {
    /// Groups.
    pub groups: Arc<dyn Groups>,
    /// Transactional ids.
    pub transactions: Arc<dyn Transactions>,
}

impl Coordinators {
    /// Those of the metadata service.
    pub fn of(metadata: &MetadataService) -> Self {
        Self {
            groups: Arc::new(metadata.clone()),
            transactions: Arc::new(metadata.clone()),
        }
    }
}

/// An engine over a bucket and a metadata service in memory.
pub async fn engine(
    env: &Env,
    registry: &mut Registry,
    append: AppendSettings,
) -> anyhow::Result<(Engine, MetadataService)> {
    engine_with(env, registry, append, Coordinators::of).await
}

/// As [`engine`], with other coordinators.
pub async fn engine_with(
    env: &Env,
    registry: &mut Registry,
    append: AppendSettings,
    coordinators: impl FnOnce(&MetadataService) -> Coordinators,
) -> anyhow::Result<(Engine, MetadataService)> {
    let groups = GroupSettings::default();
    engine_of(env, registry, append, groups, coordinators).await
}

/// As [`engine_with`], with groups set so, where the metadata service coordinates them.
pub async fn engine_of(
    env: &Env,
    registry: &mut Registry,
    append: AppendSettings,
    groups: GroupSettings,
    coordinators: impl FnOnce(&MetadataService) -> Coordinators,
) -> anyhow::Result<(Engine, MetadataService)> {
    let cluster = ClusterId::from_random_bytes([9; 16]);
    let metadata = MetadataService::open(OpenOptions {
        env: env.clone(),
        store: Arc::new(MemoryStore::new()),
        cluster,
        shards: 2,
        classes: ClassBuckets::default(),
        sequencer: SequencerSettings::default(),
        groups,
        transactions: TransactionSettings::default(),
        reach: Reach::default(),
        metrics: SequencerMetrics::new(registry),
    })
    .await?;
    metadata.reaches_itself();
    let Coordinators {
        groups,
        transactions,
    } = coordinators(&metadata);
    let parts = EngineParts {
        env: env.clone(),
        store: Arc::new(InMemory::new()),
        layout: BucketLayout::new("".into()).cluster(cluster),
        log: Arc::new(metadata.clone()),
        catalogue: Arc::new(metadata.clone()),
        groups,
        transactions,
        pages: PageCache::new(64 << 20, CacheMetrics::new(registry)),
        near: None,
        settings: EngineSettings {
            append,
            ..EngineSettings::default()
        },
        classes: Vec::new(),
        crash: CrashPlan::default(),
    };
    Ok((Engine::start(parts, registry).await?, metadata))
}

/// Ends with the future. What should end must not hang.
///
/// # Panics
///
/// If it has not ended after a while, which fails the test.
pub async fn soon<F: Future>(future: F) -> F::Output {
    let ended = timeout(&SystemClock::new(), SOON, future).await;
    ended.unwrap_or_else(|_| panic!("it has not ended after {SOON:?}"))
}
