//! Puts the roles together.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::buckets::MainBucket;
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::{ClusterLayout, OpenedStore, Role};
use tidelog_broker_engine::{AppendMetrics, CrashPlan, Engine, EngineParts, FetchMetrics};
use tidelog_broker_grpc::{GrpcMetrics, GrpcParts, ServeError};
use tidelog_broker_kafka::{KafkaMetrics, KafkaParts};
use tidelog_cache::CacheMetrics;
use tidelog_env::{CancellationToken, Env};
use tidelog_janitor::{JanitorMetrics, MergeMetrics};
use tidelog_metadata::SequencerMetrics;
use tidelog_metadata_api::{KafkaAddress, Member};
use tidelog_metadata_rpc::{Parts, RpcMetrics};
use tidelog_reader::{ReaderMetrics, TierMetrics};
use tidelog_runtime::settings::Settings;
use tidelog_runtime::telemetry::Identity;
use tidelog_runtime::telemetry::metrics::MetricsExport;
use tidelog_runtime::{AdminServer, AllowAll, Condition, Exit, Health, MemoryPlan, ShownMetrics};
use tidelog_types::{ClusterId, MemberId, Role as MemberRole};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use super::beside::Beside;
use super::janitor::Janitor;
use super::listed::Listed;
use super::metadata::Place;
use super::pages::{Pages, readers};
use super::part_settings::{engine_settings, grpc_settings, kafka_settings, storage_classes};
use super::seams::{Metadata, PeerServer, Seams};
use super::{Listeners, peers, registry, storage};
use crate::cli::{CliError, Result};

/// Names a place at which the process shall die, for tests of what survives that.
const CRASH_VARIABLE: &str = "TIDELOG_CRASH_POINT";

/// A process that serves.
pub(super) struct Running {
    /// What serves clients, if the process is a broker.
    pub(super) broker: Option<Broker>,
    pub(super) metadata: Metadata,
    /// What works in the background, if the process has that role.
    pub(super) janitor: Option<Janitor>,
    /// Lists the process in its cluster.
    pub(super) listed: Option<Listed>,
    /// Serves other members.
    pub(super) peers: Option<PeerServer>,
    pub(super) health: Health,
    /// Met while the process takes requests.
    pub(super) serving: Condition,
    /// Ends the HTTP server and what exports telemetry, last of all.
    pub(super) stop_admin: CancellationToken,
}

/// What serves clients.
pub(super) struct Broker {
    pub(super) engine: Engine,
    /// Ends the servers of gRPC and of Kafka's protocol.
    pub(super) stop: CancellationToken,
    pub(super) grpc: JoinHandle<Option<std::result::Result<(), ServeError>>>,
    pub(super) kafka: JoinHandle<Option<()>>,
}

/// What all roles share.
pub(super) struct Site<'a> {
    pub(super) settings: &'a Settings,
    pub(super) env: Env,
    pub(super) plan: MemoryPlan,
    pub(super) registry: Registry,
    pub(super) health: Health,
    pub(super) rpc: RpcMetrics,
    pub(super) opened: OpenedStore,
    /// Those beside the main one.
    pub(super) buckets: Beside,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) cluster: ClusterId,
    pub(super) layout: ClusterLayout,
    pub(super) blob: tidelog_blob::Metrics,
    /// Pages of segments, until the broker takes them.
    pub(super) pages: Option<Pages>,
    /// What other members are served beside metadata.
    pub(super) beside: Routes,
}

impl<'a> Site<'a> {
    /// Opens the bucket and finds the cluster in it.
    async fn open(
        settings: &'a Settings,
        identity: &Identity,
        env: Env,
        health: Health,
    ) -> Result<Self> {
        let mut registry = registry(&identity.zone);
        let blob = tidelog_blob::Metrics::register(&mut registry);
        let opened = storage::open(settings)?;
        let meter = blob.meter(Role::Broker);
        let objects = storage::for_segments(&opened, settings, &meter, &env);
        let (cluster, layout) = storage::enter(&opened, objects.as_ref(), &env).await?;
        storage::require(&opened, objects.as_ref(), settings).await?;
        tracing::info!(%cluster, bucket = %opened.location, "cluster found");
        let main = MainBucket {
            objects: objects.as_ref(),
            names: &opened.layout,
            layout: &layout,
            cluster,
            location: &storage::place(&opened),
        };
        let buckets = Beside::enter(settings, main, &meter, &env).await?;
        let layout = buckets.layout(&layout);
        let objects = buckets.around(objects, &layout, &meter, &env);
        for opened in std::iter::once(&opened).chain(buckets.opened()) {
            sweep_in_background(opened, settings, &env);
        }
        let plan = MemoryPlan::of(settings);
        let pages = Pages::open(settings, &plan, cluster, &env, &mut registry).await?;
        let place = (&opened, &buckets, &layout, cluster);
        let routes = |pages: &Pages| pages.routes(settings, &env, place, &blob, &mut registry);
        let beside = pages.as_ref().map(routes).unwrap_or_default();
        Ok(Self {
            settings,
            env,
            plan,
            pages,
            beside,
            rpc: RpcMetrics::new(&mut registry),
            registry,
            health,
            opened,
            buckets,
            objects,
            cluster,
            layout,
            blob,
        })
    }

    /// All buckets as one role uses them.
    pub(super) fn objects(&self, role: Role) -> Arc<dyn ObjectStore> {
        let meter = self.blob.meter(role);
        let main = storage::for_segments(&self.opened, self.settings, &meter, &self.env);
        self.buckets.around(main, &self.layout, &meter, &self.env)
    }

    /// Where the metadata service finds the bucket.
    pub(super) const fn place(&self) -> Place<'_> {
        Place {
            opened: &self.opened,
            buckets: &self.buckets,
            layout: &self.layout,
            cluster: self.cluster,
            blob: &self.blob,
        }
    }
}

/// Opens everything from the bucket up and begins to serve.
pub(super) async fn start(
    settings: &Settings,
    identity: &Identity,
    listeners: Listeners,
    env: Env,
) -> Result<Running> {
    let health = Health::new();
    let serving = health.condition("process");
    serving.unmet("starting: opening the bucket");
    let http = address(&listeners.http)?;
    // Before anything is waited for: a process that waits is alive, and says what it waits for.
    let (metrics, stop_admin) = (ShownMetrics::default(), CancellationToken::new());
    let admin = AdminServer::new(listeners.http, metrics.clone(), health.clone());
    env.supervisor
        .spawn("admin http", admin.serve(stop_admin.clone()));
    let mut site = Site::open(settings, identity, env, health).await?;
    serving.unmet(waits_for(settings));
    let grpc = listeners.grpc.as_ref().map(address).transpose()?;
    let kafka = listeners.kafka.as_ref().map(address).transpose()?;
    let internal = listeners.internal.as_ref().map(address).transpose()?;
    let reached = kafka.map(|listened| peers::kafka_address(settings, listened));
    let reached = reached.transpose()?;
    let member = peers::member(settings, grpc, reached.as_ref(), internal, &site.env);
    let Seams {
        parts,
        metadata,
        peers,
        announced,
    } = Seams::open(&mut site, &member, listeners.internal).await?;
    let kafka_listener = listeners.kafka.zip(reached);
    let (broker, incarnation) = match (listeners.grpc, kafka_listener, &parts) {
        (Some(grpc), Some(kafka), Some(parts)) => {
            let broker = start_broker(&mut site, parts, member.id, grpc, kafka).await?;
            let incarnation = broker.engine.incarnation();
            (Some(broker), Some(incarnation))
        }
        _ => (None, None),
    };
    let janitor = start_janitor(&mut site, parts.as_ref()).await?;
    let listed = match &parts {
        Some(parts) => {
            let member = Member {
                incarnation,
                merger: janitor.as_ref().map(|janitor| janitor.writer),
                ..member
            };
            Some(Listed::join(&site.env, &parts.cluster, member, announced).await?)
        }
        None => None,
    };
    export_metrics(site, identity, &metrics, &stop_admin).map(|health| {
        serving.met();
        let shown = |address: Option<SocketAddr>| address.map(tracing::field::display);
        tracing::info!(
            roles = %settings.roles,
            grpc = shown(grpc),
            kafka = shown(kafka),
            internal = shown(internal),
            %http,
            "ready"
        );
        Running {
            broker,
            metadata,
            janitor,
            listed,
            peers,
            health,
            serving,
            stop_admin,
        }
    })
}

/// Starts what works in the background, if the process has that role.
async fn start_janitor(site: &mut Site<'_>, parts: Option<&Parts>) -> Result<Option<Janitor>> {
    match parts.filter(|_| site.settings.roles.has(MemberRole::Janitor)) {
        Some(parts) => super::janitor::start(site, parts).await.map(Some),
        None => Ok(None),
    }
}

/// Starts what serves clients.
async fn start_broker(
    site: &mut Site<'_>,
    parts: &Parts,
    me: MemberId,
    grpc_listener: TcpListener,
    (kafka_listener, advertised): (TcpListener, KafkaAddress),
) -> Result<Broker> {
    let pages = site.pages.take();
    let pages = pages.ok_or_else(|| CliError::usage("a broker has pages".to_owned()))?;
    let near = readers(site, &pages, parts, me)?;
    let (settings, plan) = (site.settings, &site.plan);
    let is_local = site.opened.location.is_local();
    let tuned = engine_settings(settings, plan, is_local, pages.shares);
    let engine = EngineParts {
        env: site.env.clone(),
        store: Arc::clone(&site.objects),
        layout: site.layout.clone(),
        log: Arc::clone(&parts.log),
        catalogue: Arc::clone(&parts.catalogue),
        groups: Arc::clone(&parts.groups),
        transactions: Arc::clone(&parts.transactions),
        pages: pages.cache,
        near,
        classes: storage_classes(settings, &site.buckets, &tuned.append),
        settings: tuned,
        crash: crash_plan()?,
    };
    let engine = Engine::start(engine, &mut site.registry)
        .await
        .map_err(|error| CliError::because(Exit::FailStop, error.to_string(), error))?;
    let grpc = GrpcParts {
        env: site.env.clone(),
        engine: engine.clone(),
        cluster: Arc::clone(&parts.cluster),
        authorizer: Arc::new(AllowAll),
        quota: Arc::new(AllowAll),
        settings: grpc_settings(settings, plan),
        metrics: GrpcMetrics::new(&mut site.registry),
    };
    let stop = CancellationToken::new();
    let kafka = KafkaParts {
        env: site.env.clone(),
        engine: engine.clone(),
        cluster: Arc::clone(&parts.cluster),
        authorizer: Arc::new(AllowAll),
        quota: Arc::new(AllowAll),
        settings: kafka_settings(settings, plan),
        metrics: KafkaMetrics::new(&mut site.registry),
        advertised,
        zone: settings.cluster.zone.clone(),
    };
    let serving = tidelog_broker_grpc::serve(grpc, grpc_listener, stop.clone());
    let grpc = site.env.supervisor.spawn("grpc", serving);
    let serving = tidelog_broker_kafka::serve(kafka, kafka_listener, stop.clone());
    let kafka = site.env.supervisor.spawn("kafka", serving);
    Ok(Broker {
        engine,
        stop,
        grpc,
        kafka,
    })
}

/// What a process waits for once it has the bucket.
fn waits_for(settings: &Settings) -> String {
    if settings.roles.has(MemberRole::Metadata) {
        "starting: opening the metadata service, or finding the active one".to_owned()
    } else {
        let seeds = settings.cluster.metadata.addresses().join("`, `");
        format!("starting: looking for a metadata process at `{seeds}`")
    }
}

/// Shows metrics, and exports them.
fn export_metrics(
    site: Site<'_>,
    identity: &Identity,
    metrics: &ShownMetrics,
    stop: &CancellationToken,
) -> Result<Health> {
    let (env, registry) = (site.env, Arc::new(site.registry));
    let export = MetricsExport::new(
        &site.settings.otlp,
        identity,
        Arc::clone(&registry),
        Arc::clone(&env.clock),
    )
    .map_err(|error| CliError::because(Exit::Usage, error.to_string(), error))?;
    if let Some(export) = export {
        env.supervisor
            .spawn("metrics export", export.run(stop.clone()));
    }
    metrics.show(registry);
    Ok(site.health)
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
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
    RpcMetrics::new(&mut registry);
    tidelog_store_embedded::Metrics::register(&mut registry);
    SequencerMetrics::new(&mut registry);
    CacheMetrics::new(&mut registry);
    JanitorMetrics::new(&mut registry);
    TierMetrics::new(&mut registry);
    ReaderMetrics::new(&mut registry);
    MergeMetrics::new(&mut registry);
    AppendMetrics::new(&mut registry);
    FetchMetrics::new(&mut registry);
    GrpcMetrics::new(&mut registry);
    KafkaMetrics::new(&mut registry);
    registry
}
