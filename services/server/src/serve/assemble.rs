//! Puts the roles together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tidelog_blob::{ClusterLayout, Location, OpenedStore, Role};
use tidelog_broker_engine::{
    AppendMetrics, AppendSettings, CrashPlan, Engine, EngineParts, EngineSettings, FetchMetrics,
    FetchSettings,
};
use tidelog_broker_grpc::{GrpcMetrics, GrpcParts, GrpcSettings, REQUEST_BYTES_MAX, ServeError};
use tidelog_cache::{CacheMetrics, CacheSettings, PageCache};
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata::{MetadataService, OpenOptions, SequencerMetrics, SequencerSettings};
use tidelog_runtime::memory::CONNECTION_BYTES_MIN;
use tidelog_runtime::settings::Settings;
use tidelog_runtime::telemetry::Identity;
use tidelog_runtime::telemetry::metrics::MetricsExport;
use tidelog_runtime::{AdminServer, AllowAll, Condition, Exit, Health, MemoryPlan};
use tidelog_store::Store;
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, Medium};
use tidelog_types::ClusterId;
use tokio::task::JoinHandle;

use super::{Listeners, registry, storage};
use crate::cli::{CliError, Result};

/// Shards of a cluster in one process.
const SHARDS: u32 = 1;
/// About what an extent takes in memory, with its place in the cache.
const EXTENT_BYTES: u64 = 160;
/// Linger where a PUT is a file with a sync.
const LINGER_LOCAL: Duration = Duration::from_millis(5);
/// Linger where a PUT is a request that costs money.
const LINGER_REMOTE: Duration = Duration::from_millis(250);
/// Names a place at which the process shall die, for tests of what survives that.
const CRASH_VARIABLE: &str = "TIDELOG_CRASH_POINT";

/// A process that serves.
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) store: Arc<dyn Store>,
    pub(super) health: Health,
    /// Met while the process takes requests.
    pub(super) serving: Condition,
    /// Ends the gRPC server.
    pub(super) stop_grpc: CancellationToken,
    pub(super) grpc: JoinHandle<Option<std::result::Result<(), ServeError>>>,
    /// Ends the HTTP server and what exports telemetry, last of all.
    pub(super) stop_admin: CancellationToken,
}

/// Opens everything from the bucket up and begins to serve.
pub(super) async fn start(
    settings: &Settings,
    identity: &Identity,
    listeners: Listeners,
    env: Env,
) -> Result<Running> {
    let mut registry = registry(&identity.zone);
    let health = Health::new();
    let serving = health.condition("broker");
    let plan = MemoryPlan::divide(settings.memory.total);
    let blob = tidelog_blob::Metrics::register(&mut registry);
    let opened = storage::open(settings)?;
    let objects = storage::for_segments(&opened, settings, &blob.meter(Role::Broker), &env);
    let (cluster, layout) = storage::enter(&opened, objects.as_ref(), &env).await?;
    tracing::info!(%cluster, bucket = %opened.location, "cluster found");
    sweep_in_background(&opened, settings, &env);

    let store = open_store(
        settings,
        &plan,
        &opened,
        &layout,
        &blob,
        &env,
        &mut registry,
    )
    .await?;
    let metadata = open_metadata(settings, cluster, &store, &env, &mut registry).await?;
    let (pages, cached_extents) = caches(settings, &plan, &mut registry);
    let parts = EngineParts {
        env: env.clone(),
        store: objects,
        layout,
        log: Arc::new(metadata.clone()),
        catalogue: Arc::new(metadata),
        pages,
        settings: engine_settings(settings, &plan, opened.location.is_local(), cached_extents),
        crash: crash_plan()?,
    };
    let engine = Engine::start(parts, &mut registry)
        .await
        .map_err(|error| CliError::because(Exit::FailStop, error.to_string(), error))?;
    let grpc = GrpcParts {
        env: env.clone(),
        engine: engine.clone(),
        authorizer: Arc::new(AllowAll),
        quota: Arc::new(AllowAll),
        settings: grpc_settings(settings, &plan),
        metrics: GrpcMetrics::new(&mut registry),
    };
    let store: Arc<dyn Store> = Arc::new(store);
    serve(
        settings,
        identity,
        listeners,
        &env,
        registry,
        Built {
            grpc,
            store,
            health,
            serving,
        },
    )
}

/// What is ready to serve.
struct Built {
    grpc: GrpcParts,
    store: Arc<dyn Store>,
    health: Health,
    serving: Condition,
}

fn serve(
    settings: &Settings,
    identity: &Identity,
    listeners: Listeners,
    env: &Env,
    registry: Registry,
    built: Built,
) -> Result<Running> {
    let registry = Arc::new(registry);
    let (stop_grpc, stop_admin) = (CancellationToken::new(), CancellationToken::new());
    let export = MetricsExport::new(
        &settings.otlp,
        identity,
        Arc::clone(&registry),
        Arc::clone(&env.clock),
    )
    .map_err(|error| CliError::because(Exit::Usage, error.to_string(), error))?;
    if let Some(export) = export {
        env.supervisor
            .spawn("metrics export", export.run(stop_admin.clone()));
    }
    let (grpc_address, http_address) = (address(&listeners.grpc)?, address(&listeners.http)?);
    let admin = AdminServer::new(listeners.http, registry, built.health.clone());
    env.supervisor
        .spawn("admin http", admin.serve(stop_admin.clone()));
    let engine = built.grpc.engine.clone();
    let serving_grpc = tidelog_broker_grpc::serve(built.grpc, listeners.grpc, stop_grpc.clone());
    let grpc = env.supervisor.spawn("grpc", serving_grpc);
    built.serving.met();
    tracing::info!(grpc = %grpc_address, http = %http_address, "ready");
    Ok(Running {
        engine,
        store: built.store,
        health: built.health,
        serving: built.serving,
        stop_grpc,
        grpc,
        stop_admin,
    })
}

fn address(listener: &tokio::net::TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|source| CliError::io("the address that was bound is not known", source))
}

/// Files that a dead process left are of no harm, so nobody waits for their removal.
fn sweep_in_background(opened: &OpenedStore, settings: &Settings, env: &Env) {
    let Some(folder) = opened.folder.clone() else {
        return;
    };
    let clock = Arc::clone(&env.clock);
    let stale_after = settings.local.stale_staged_after.get();
    env.supervisor.spawn("sweep", async move {
        if let Err(error) = tidelog_blob::local::sweep(&folder, stale_after, clock.as_ref()).await {
            tracing::warn!(%error, "stale staged files were not removed");
        }
    });
}

async fn open_store(
    settings: &Settings,
    plan: &MemoryPlan,
    opened: &OpenedStore,
    layout: &ClusterLayout,
    blob: &tidelog_blob::Metrics,
    env: &Env,
    registry: &mut Registry,
) -> Result<EmbeddedStore> {
    let objects = storage::for_metadata(opened, settings, &blob.meter(Role::Store), env);
    let medium = match &opened.location {
        Location::Folder(_) => Medium::Folder,
        Location::S3 { .. } | Location::Memory => Medium::Bucket,
    };
    let memory = usize::try_from(plan.store).unwrap_or(usize::MAX);
    let options = EmbeddedOptions {
        transaction_age_max: settings.store.transaction_age_max.get(),
        flushes_per_table: settings.store.flushes_per_table,
        garbage_age_min: settings.store.garbage_age_min.get(),
        ..EmbeddedOptions::new(layout.store_root().to_string(), memory, medium)
    };
    let metrics = tidelog_store_embedded::Metrics::register(registry);
    EmbeddedStore::open(objects, options, env.clone(), metrics)
        .await
        .map_err(|error| {
            let exit = match &error {
                tidelog_store_embedded::OpenError::Fenced => Exit::Fenced,
                _ => Exit::Bucket,
            };
            CliError::because(exit, error.to_string(), error)
        })
}

async fn open_metadata(
    settings: &Settings,
    cluster: ClusterId,
    store: &EmbeddedStore,
    env: &Env,
    registry: &mut Registry,
) -> Result<MetadataService> {
    let metadata = &settings.metadata;
    let options = OpenOptions {
        env: env.clone(),
        store: Arc::new(store.clone()),
        cluster,
        shards: SHARDS,
        sequencer: SequencerSettings {
            checkpoint_interval: metadata.checkpoint_interval.get(),
            checkpoint_manifests: metadata.checkpoint_manifests,
            producers_in_memory: metadata.producers_in_memory,
            ..SequencerSettings::default()
        },
        metrics: SequencerMetrics::new(registry),
    };
    MetadataService::open(options).await.map_err(|error| {
        let exit = match &error {
            tidelog_metadata::OpenError::Fenced => Exit::Fenced,
            tidelog_metadata::OpenError::WrongCluster { .. } => Exit::Bucket,
            _ => Exit::FailStop,
        };
        CliError::because(exit, error.to_string(), error)
    })
}

/// The page cache, and how many extents are kept: at most a quarter of the share goes to extents. Old
/// data gets a third of the pages, since it is read once.
fn caches(settings: &Settings, plan: &MemoryPlan, registry: &mut Registry) -> (PageCache, u64) {
    let extents = settings
        .fetch
        .cached_extents
        .min(plan.cache / 4 / EXTENT_BYTES);
    let pages = plan.cache - extents * EXTENT_BYTES;
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let pools = CacheSettings {
        tail_bytes: bytes(pages - pages / 3),
        catch_up_bytes: bytes(pages / 3),
    };
    (
        PageCache::with_pools(pools, CacheMetrics::new(registry)),
        extents,
    )
}

fn engine_settings(
    settings: &Settings,
    plan: &MemoryPlan,
    is_local: bool,
    cached_extents: u64,
) -> EngineSettings {
    let (produce, fetch) = (&settings.produce, &settings.fetch);
    let linger = if is_local {
        LINGER_LOCAL
    } else {
        LINGER_REMOTE
    };
    let append = AppendSettings {
        segment_bytes: u32::try_from(produce.segment_bytes.get()).unwrap_or(u32::MAX),
        linger: produce
            .linger
            .unwrap_or_else(|| tidelog_runtime::settings::Span::new(linger))
            .get(),
        flush_rate: produce.flush_rate,
        flush_burst: produce.flush_burst,
        uploads_max: produce.uploads_max,
        unanswered_max: produce.unanswered_max,
        hedge_after: produce.hedge_after.get(),
        memory_bytes: plan.segments,
        ..AppendSettings::default()
    };
    let fetch = FetchSettings {
        answer_bytes_max: answer_bytes_max(settings, plan),
        wait_max: fetch.wait_max.get(),
        extents_max: fetch.extents_max,
        reads_in_flight: fetch.reads_in_flight,
        memory_bytes: plan.answers / 2,
        cached_extents,
    };
    EngineSettings { append, fetch }
}

/// The most bytes of one answer: half of what those have that are being put together, so that one reader
/// never keeps all others waiting.
fn answer_bytes_max(settings: &Settings, plan: &MemoryPlan) -> u64 {
    settings.fetch.answer_bytes_max.get().min(plan.answers / 4)
}

fn grpc_settings(settings: &Settings, plan: &MemoryPlan) -> GrpcSettings {
    let grpc = &settings.grpc;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let connections = grpc
        .connections_max
        .unwrap_or_else(|| plan.connections_max());
    // Three quarters of what comes in is for messages that come piece by piece.
    let request_bytes = number(plan.intake / 4 * 3).min(REQUEST_BYTES_MAX);
    GrpcSettings {
        request_bytes_max: request_bytes,
        fetch_bytes_max: u32::try_from(answer_bytes_max(settings, plan)).unwrap_or(u32::MAX),
        intake_bytes: plan.intake,
        // The other half is for answers that are being put together.
        answer_bytes: plan.answers - plan.answers / 2,
        decode_bytes: plan.decode,
        stall_timeout: grpc.stall_timeout.get(),
        connections_max: number(connections),
        calls_max: number(plan.calls_max()),
        connection_streams_max: grpc.streams_max,
        window_bytes: plan
            .windows
            .saturating_sub(connections * CONNECTION_BYTES_MIN),
        greeting_timeout: grpc.greeting_timeout.get(),
        keep_alive: grpc.keep_alive.get(),
        ..GrpcSettings::default()
    }
}

fn crash_plan() -> Result<CrashPlan> {
    match std::env::var(CRASH_VARIABLE) {
        Err(_) => Ok(CrashPlan::default()),
        Ok(text) => text
            .parse()
            .map_err(|error: tidelog_broker_engine::UnknownCrashPoint| {
                CliError::usage(format!("{CRASH_VARIABLE}: {error}"))
            }),
    }
}

/// Every metric that a process can have, without a process.
pub(crate) fn all_metrics() -> Registry {
    let mut registry = registry("");
    tidelog_blob::Metrics::register(&mut registry);
    tidelog_store_embedded::Metrics::register(&mut registry);
    SequencerMetrics::new(&mut registry);
    CacheMetrics::new(&mut registry);
    AppendMetrics::new(&mut registry);
    FetchMetrics::new(&mut registry);
    GrpcMetrics::new(&mut registry);
    registry
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn linger_follows_the_storage_class_unless_it_is_given() {
        let auto = settings(&[]);
        let plan = MemoryPlan::divide(auto.memory.total);
        assert_eq!(
            engine_settings(&auto, &plan, true, 0).append.linger,
            LINGER_LOCAL
        );
        assert_eq!(
            engine_settings(&auto, &plan, false, 0).append.linger,
            LINGER_REMOTE
        );
        let given = settings(&[("produce.linger", "7ms")]);
        let append = engine_settings(&given, &plan, false, 0).append;
        assert_eq!(append.linger, Duration::from_millis(7));
    }

    #[test]
    fn what_the_parts_are_given_stays_within_the_plan() {
        for total in ["128MiB", "512MiB", "8GiB"] {
            let settings = settings(&[("memory.total", total), ("produce.segment_bytes", "1MiB")]);
            let plan = MemoryPlan::divide(settings.memory.total);
            let (_, extents) = caches(&settings, &plan, &mut Registry::default());
            assert!(extents * EXTENT_BYTES <= plan.cache / 4);
            let engine = engine_settings(&settings, &plan, true, extents);
            assert!(engine.append.memory_bytes + engine.fetch.memory_bytes <= plan.planned());
            assert!(engine.fetch.answer_bytes_max <= engine.fetch.memory_bytes);
            let grpc = grpc_settings(&settings, &plan);
            assert_eq!(grpc.answer_bytes + engine.fetch.memory_bytes, plan.answers);
            assert!(grpc.request_bytes_max as u64 <= grpc.intake_bytes);
            let seats = grpc.connections_max as u64 * CONNECTION_BYTES_MIN;
            assert!(seats + grpc.window_bytes <= plan.windows);
        }
    }
}
