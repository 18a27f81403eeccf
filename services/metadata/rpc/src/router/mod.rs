//! The whole metadata service, wherever its parts run.

mod ask;
mod asking;
mod compactions;
mod coordinators;
mod denials;
mod given_up;
mod groups;
mod janitor;
mod join;
mod lent;
mod local;
mod locate;
mod markers;
mod merges;
mod nodes;
mod seams;
mod shards;
mod transactions;
mod views;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::{ClusterView, CompactionTask, MergeTask, ShardOwner};
use tidelog_types::{ClusterId, MemberId, ShardId};
use tokio::sync::watch;

use crate::following::{Following, Rule};
use crate::metrics::RpcMetrics;
use crate::server::Parts;
use crate::settings::ClientSettings;
use denials::Denials;
use lent::Lent;
pub use local::LocalMember;
use nodes::Nodes;

/// What a router is made of.
#[derive(Debug)]
pub struct RouterParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Where metadata processes may be, each as `host:port`. One that answers is enough.
    pub seeds: Vec<String>,
    /// The metadata service of this process, if it has one: it is called without a socket.
    pub local: Option<LocalMember>,
    /// How to reach the others.
    pub settings: ClientSettings,
    /// Where it reports.
    pub metrics: RpcMetrics,
    /// How long to look for a metadata process at the start.
    pub start_timeout: Duration,
}

/// No metadata process was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RouterError {
    /// There is nobody to ask.
    #[error(
        "no address of a metadata process is given (`cluster.metadata`), and this process is none"
    )]
    NoSeeds,
    /// Nobody answered in time.
    #[error(
        "no metadata process answered within `{waited:?}` ({}); check `cluster.metadata` and that they run",
        told(.seeds)
    )]
    NoAnswer {
        /// How long they were asked.
        waited: Duration,
        /// Each address and what it answered last.
        seeds: Vec<(String, String)>,
    },
}

fn told(seeds: &[(String, String)]) -> String {
    let told = seeds.iter().map(|(seed, why)| format!("`{seed}`: {why}"));
    told.collect::<Vec<_>>().join("; ")
}

/// The metadata service of the whole cluster: `Log`, `Catalogue`, `Cluster`, `Groups` and
/// `Transactions`. Clones share everything.
///
/// - A commit goes to the owner of its shard, all shards of one owner in one message, once: what becomes of
///   it the caller hears and asks again.
/// - Questions about partitions, and changes that do no harm twice, follow a shard to its new owner. Each
///   call has its answer within the time for requests, whatever has to be asked on the way.
/// - Bounds of partitions whose owner's news is followed are answered from memory.
/// - The catalogue, and what belongs to no shard, is asked at any metadata process.
#[derive(Clone, Debug)]
pub struct Router {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    seeds: Vec<String>,
    local: Option<LocalMember>,
    settings: ClientSettings,
    metrics: RpcMetrics,
    stop: CancellationToken,
    cluster: ClusterId,
    view: watch::Sender<Arc<ClusterView>>,
    following: Following,
    nodes: Mutex<Nodes>,
    merging: Lent<MergeTask>,
    compacting: Lent<CompactionTask>,
    denials: Denials,
}

impl Router {
    /// Learns of the cluster from the local service, while it is active, or the first seed that answers, and
    /// follows it until `stop` is cancelled.
    ///
    /// # Errors
    /// When nobody answers within `start_timeout`; names each seed and what it said.
    pub async fn connect(parts: RouterParts, stop: CancellationToken) -> Result<Self, RouterError> {
        let (first, watched) = views::first(&parts).await?;
        let (metrics, kept) = (parts.metrics.clone(), parts.settings.bounds_kept);
        let following = Following::new(Rule::Owner, first.generation, metrics, kept);
        let inner = Inner {
            env: parts.env,
            seeds: parts.seeds,
            local: parts.local,
            settings: parts.settings,
            metrics: parts.metrics,
            stop,
            cluster: first.cluster,
            view: watch::Sender::new(Arc::new(ClusterView::empty(
                first.cluster,
                first.generation,
            ))),
            following,
            nodes: Mutex::default(),
            merging: Lent::default(),
            compacting: Lent::default(),
            denials: Denials::default(),
        };
        let router = Self {
            inner: Arc::new(inner),
        };
        router.on_view(&first);
        router.clone().start(watched);
        Ok(router)
    }

    /// The view as it is now.
    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.inner.view.borrow())
    }

    /// The service of the process that owns a shard, by the view as it is now.
    fn owner(&self, view: &ClusterView, shard: ShardId) -> Option<(MemberId, Parts)> {
        let owner = view.owner(shard)?;
        let local = self.inner.local.as_ref();
        if let Some(local) = local.filter(|local| local.id() == owner.id) {
            // One that has just become a standby owns nothing, whatever the view says.
            return Some((owner.id, local.parts()?));
        }
        let node = self.inner.nodes.lock().get(&owner.internal_address)?;
        Some((owner.id, node.parts))
    }
}

/// What a view says of a shard.
fn named(view: &ClusterView, shard: ShardId) -> Option<ShardOwner> {
    let shards = &view.shards;
    let found = shards.binary_search_by_key(&shard, |known| known.shard);
    found.ok().and_then(|at| shards.get(at)).copied()
}
