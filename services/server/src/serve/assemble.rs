//! Puts the roles together.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::{ClusterLayout, Location, OpenedStore, Role};
use tidelog_broker_engine::{AppendMetrics, CrashPlan, Engine, EngineParts, FetchMetrics};
use tidelog_broker_grpc::{GrpcMetrics, GrpcParts, ServeError};
use tidelog_cache::{CacheMetrics, PageCache};
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata::{MetadataService, OpenOptions, SequencerMetrics};
use tidelog_runtime::settings::Settings;
use tidelog_runtime::telemetry::Identity;
use tidelog_runtime::telemetry::metrics::MetricsExport;
use tidelog_runtime::{AdminServer, AllowAll, Condition, Exit, Health, MemoryPlan};
use tidelog_store::Store;
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, Medium};
use tidelog_types::ClusterId;
use tokio::task::JoinHandle;

use super::part_settings::{CacheShares, engine_settings, grpc_settings, sequencer_settings};
use super::{Listeners, registry, storage};
use crate::cli::{CliError, Result};

/// Shards of a cluster in one process.
const SHARDS: u32 = 1;
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
    let metadata = open_metadata(settings, &plan, cluster, &store, &env, &mut registry).await?;
    let shares = CacheShares::of(settings, &plan);
    let parts = EngineParts {
        env: env.clone(),
        store: objects,
        layout,
        log: Arc::new(metadata.clone()),
        catalogue: Arc::new(metadata.clone()),
        pages: PageCache::with_pools(shares.pools(), CacheMetrics::new(&mut registry)),
        settings: engine_settings(settings, &plan, opened.location.is_local(), shares),
        crash: crash_plan()?,
    };
    let engine = Engine::start(parts, &mut registry)
        .await
        .map_err(|error| CliError::because(Exit::FailStop, error.to_string(), error))?;
    let grpc = GrpcParts {
        env: env.clone(),
        engine: engine.clone(),
        cluster: Arc::new(metadata),
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
    plan: &MemoryPlan,
    cluster: ClusterId,
    store: &EmbeddedStore,
    env: &Env,
    registry: &mut Registry,
) -> Result<MetadataService> {
    let options = OpenOptions {
        env: env.clone(),
        store: Arc::new(store.clone()),
        cluster,
        shards: SHARDS,
        sequencer: sequencer_settings(&settings.metadata, plan, SHARDS),
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
