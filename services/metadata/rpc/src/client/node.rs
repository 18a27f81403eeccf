//! A handle on the metadata service of another process.

use std::sync::Arc;

use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::ClusterView;
use tidelog_types::{ClusterGeneration, ClusterId, MemberId};
use tokio::sync::watch;

use super::asks::Asks;
use super::follow::{Source, follow};
use super::peer::{Peer, SetupError};
use super::pipe::Pipe;
use super::watch::{PeerWatch, Probe};
use crate::following::{Following, Rule};
use crate::metrics::RpcMetrics;
use crate::rpc::Rpc;
use crate::settings::ClientSettings;

/// Stands for the one process that is asked: who that is as a member matters to nobody here.
const THE_PEER: MemberId = MemberId::from_bytes([0; 16]);

/// The metadata service of one other process, as if it were this one's: `Log`, `Catalogue`, `Cluster`,
/// `Groups` and `Transactions`.
/// Clones share the connection. It answers for the shards of that process alone; see [`Router`] for all.
///
/// Questions have `request_timeout`; a connection that broke is made anew with the next call. A commit whose
/// connection breaks is unknown.
///
/// [`Router`]: crate::Router
#[derive(Clone, Debug)]
pub struct RemoteNode {
    pub(super) peer: Peer,
    pub(super) pipe: Pipe,
    pub(super) asks: Asks,
    pub(super) identity: (ClusterId, ClusterGeneration),
    pub(super) following: Following,
    pub(super) view: watch::Sender<Arc<ClusterView>>,
    pub(super) stop: CancellationToken,
}

impl RemoteNode {
    /// Connects to the process at `host:port` and follows its view and its news until `stop` is cancelled.
    ///
    /// # Errors
    /// What the process is instead of an active one.
    pub async fn connect(
        env: &Env,
        address: &str,
        settings: &ClientSettings,
        metrics: &RpcMetrics,
        stop: CancellationToken,
    ) -> Result<Self, Probe> {
        let mut watched = PeerWatch::open(env, address, settings, metrics).await?;
        let first = watched.next().await.ok_or_else(|| Probe::Silent {
            reason: "it ended the stream".to_owned(),
        })?;
        let identity = (first.cluster, first.generation);
        let node = Self::quiet(env, address, settings, metrics, identity, stop.clone());
        let node = node.map_err(|error| Probe::Silent {
            reason: tidelog_env::error_chain(&error),
        })?;
        node.view.send_replace(first);
        let views = node.clone().follow_views(watched);
        let source = Source::Remote(node.peer.clone());
        let news = follow(
            env.clone(),
            source,
            THE_PEER,
            node.following.clone(),
            stop.clone(),
        );
        let supervisor = &env.supervisor;
        let gaps = node.following.clone().tell_gaps(Arc::clone(&env.clock));
        drop(supervisor.spawn("views of a peer", async move {
            stop.run_until_cancelled(async { tokio::join!(views, gaps) })
                .await;
        }));
        drop(supervisor.spawn("news of a peer", news));
        Ok(node)
    }

    /// A handle that follows nothing: its owner does.
    pub(crate) fn quiet(
        env: &Env,
        address: &str,
        settings: &ClientSettings,
        metrics: &RpcMetrics,
        identity: (ClusterId, ClusterGeneration),
        stop: CancellationToken,
    ) -> Result<Self, SetupError> {
        let peer = Peer::new(env.clone(), address, settings, metrics.clone())?;
        let view = ClusterView::empty(identity.0, identity.1);
        Ok(Self {
            pipe: Pipe::start(peer.clone(), stop.clone()),
            asks: Asks::start(peer.clone(), stop.clone()),
            peer,
            identity,
            following: Following::new(Rule::Any, identity.1, metrics.clone(), settings.bounds_kept),
            view: watch::Sender::new(Arc::new(view)),
            stop,
        })
    }

    /// The connection, for whoever follows it.
    pub(crate) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Takes over the views of the process; watches anew when the stream ends.
    async fn follow_views(self, mut watched: PeerWatch) {
        let env = &self.peer.env;
        loop {
            while let Some(view) = watched.next().await {
                self.view.send_replace(view);
            }
            self.peer.metrics.reconnect(Rpc::Watch);
            watched = loop {
                match PeerWatch::of(&self.peer).await {
                    Ok(watched) => break watched,
                    Err(_) => env.clock.sleep(crate::settings::BEAT / 2).await,
                }
            };
        }
    }
}
