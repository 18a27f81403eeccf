//! The metadata service as this process reaches it: its own, one of several, or only elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::{Log as _, Member, MemberState};
use tidelog_metadata_rpc::{
    AllowPeers, LocalMember, Parts, Router, RouterParts, ServeError, ServerParts, ServerSettings,
    Standing,
};
use tidelog_runtime::Exit;
use tidelog_types::Role;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::assemble::Site;
use super::election::{self, Election};
use super::metadata::{MetadataOpener, OpenedMetadata, store_error};
use super::peers::{PeerTls, client_settings};
use super::touch::Shown;
use crate::cli::{CliError, Result};

/// How long a process looks for a metadata process before it gives up.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The metadata service of this process, as far as it has one.
pub(super) enum Metadata {
    /// It is elsewhere.
    Elsewhere,
    /// It is here for as long as the process runs.
    Here(OpenedMetadata),
    /// It is here while this process is the active one.
    Elected {
        stop: CancellationToken,
        ended: oneshot::Receiver<Result<()>>,
    },
}

/// What serves other members.
pub(super) struct PeerServer {
    stop: CancellationToken,
    task: JoinHandle<Option<std::result::Result<(), ServeError>>>,
}

/// The seams, and what keeps them.
pub(super) struct Seams {
    /// The service of the whole cluster. None for a process that serves nobody but other members.
    pub(super) parts: Option<Parts>,
    pub(super) metadata: Metadata,
    pub(super) peers: Option<PeerServer>,
    /// What the process says of itself in the cluster.
    pub(super) announced: watch::Sender<MemberState>,
}

impl Metadata {
    /// Waits until the process cannot go on because of it. Cancel-safe.
    pub(super) async fn ended(&mut self) -> CliError {
        match self {
            Self::Elsewhere => std::future::pending().await,
            Self::Here(metadata) => tokio::select! {
                biased;
                reason = metadata.store.closed() => store_error(&reason),
                // The store is there, but this process is of before a restore of it.
                ended = metadata.service.ended() => {
                    CliError::because(Exit::Fenced, ended.to_string(), ended)
                }
            },
            Self::Elected { ended, .. } => match ended.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => election::lost(),
            },
        }
    }

    /// Gives away what others can have, and closes the store.
    pub(super) async fn close(self, supervisor: &CancellationToken) {
        match self {
            Self::Elsewhere => {}
            Self::Here(metadata) => {
                metadata.service.leave().await;
                supervisor.cancel();
                metadata.close().await;
            }
            Self::Elected { stop, ended } => {
                stop.cancel();
                if let Ok(Err(error)) = ended.await {
                    tracing::warn!(%error, "the metadata service did not end cleanly");
                }
            }
        }
        supervisor.cancel();
    }
}

impl PeerServer {
    /// Takes no new calls and ends those under way.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // A failure of a server that is going is of no interest any more.
        let _ = self.task.await;
    }
}

impl Seams {
    /// Opens the metadata service if it is this process's role, and finds the rest of it.
    pub(super) async fn open(
        site: &mut Site<'_>,
        member: &Member,
        listener: Option<TcpListener>,
    ) -> Result<Self> {
        let settings = site.settings;
        let tls = if settings.is_clustered() {
            PeerTls::load(settings)?
        } else {
            None
        };
        let tls = tls.as_ref();
        let announced = watch::Sender::new(member.state);
        if !settings.roles.has(Role::Metadata) {
            let seeds = settings.cluster.metadata.addresses().to_vec();
            let parts = connect(site, tls, seeds, None).await?;
            return Ok(Self {
                parts: Some(parts),
                metadata: Metadata::Elsewhere,
                peers: listener.map(|listener| serve_without_metadata(site, tls, listener)),
                announced,
            });
        }
        let plan = site.plan;
        let (env, mut registry) = (site.env.clone(), std::mem::take(&mut site.registry));
        let opener = MetadataOpener::new(
            settings,
            &plan,
            &site.place(),
            member.clone(),
            &env,
            &mut registry,
        );
        site.registry = registry;
        let opener = opener?;
        match listener {
            None => {
                let metadata = opener.open().await?;
                metadata.service.reaches_itself();
                Ok(Self {
                    parts: Some(metadata.parts()),
                    metadata: Metadata::Here(metadata),
                    peers: None,
                    announced,
                })
            }
            Some(listener) if opener.is_shared() => {
                Self::shared(site, tls, &opener, (member, announced), listener).await
            }
            Some(listener) => Self::elected(site, tls, opener, (member, announced), listener).await,
        }
    }

    /// On a store that others use at the same time: always at work.
    async fn shared(
        site: &Site<'_>,
        tls: Option<&PeerTls>,
        opener: &MetadataOpener,
        (member, announced): (&Member, watch::Sender<MemberState>),
        listener: TcpListener,
    ) -> Result<Self> {
        let condition = site.health.condition("metadata");
        let reach = opener.reach();
        let metadata = opener.open().await?;
        let parts = metadata.parts();
        let standing = watch::Sender::new(Standing::Active(parts.clone()));
        let peers = serve_peers(site, tls, standing.subscribe(), listener);
        // While this process is out of touch with the store its own broker asks other processes, too.
        let own = member.internal_address.clone();
        let local = LocalMember::while_active(member.id, own, standing.subscribe());
        let shown = Shown {
            parts,
            standing,
            condition,
        };
        let supervisor = &site.env.supervisor;
        let following = shown.follow(metadata.service.in_touch(), supervisor.token());
        drop(supervisor.spawn("touch with the store", following));
        let seeds = site.settings.cluster.metadata.addresses().to_vec();
        let parts = connect(site, tls, seeds, Some(local)).await?;
        reach.set(Arc::clone(&parts.log), Arc::clone(&parts.groups));
        Ok(Self {
            parts: Some(parts),
            metadata: Metadata::Here(metadata),
            peers: Some(peers),
            announced,
        })
    }

    /// On a store that one process has to itself: at work while it is this one's turn.
    async fn elected(
        site: &Site<'_>,
        tls: Option<&PeerTls>,
        opener: MetadataOpener,
        (member, announced): (&Member, watch::Sender<MemberState>),
        listener: TcpListener,
    ) -> Result<Self> {
        let settings = site.settings;
        let standing = watch::Sender::new(Standing::Standby {
            active: None,
            reason: "it has just started".to_owned(),
        });
        let peers = serve_peers(site, tls, standing.subscribe(), listener);
        let own = member.internal_address.clone();
        let others = settings.cluster.metadata.addresses().iter();
        let others: Vec<String> = others.filter(|seed| **seed != own).cloned().collect();
        let local = LocalMember::while_active(member.id, own.clone(), standing.subscribe());
        let stop = CancellationToken::new();
        let reach = opener.reach().clone();
        let election = Election {
            env: site.env.clone(),
            opener,
            own,
            peers: others.clone(),
            client: client_settings(tls),
            metrics: site.rpc.clone(),
            standing,
            condition: site.health.condition("metadata"),
            announced: announced.subscribe(),
        };
        let mut ended = election::start(election, stop.clone());
        let parts = tokio::select! {
            biased;
            ended = &mut ended => return Err(match ended {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => election::lost(),
            }),
            parts = connect(site, tls, others, Some(local)) => parts?,
        };
        reach.set(Arc::clone(&parts.log), Arc::clone(&parts.groups));
        Ok(Self {
            parts: Some(parts),
            metadata: Metadata::Elected { stop, ended },
            peers: Some(peers),
            announced,
        })
    }
}

/// Finds the metadata service of the whole cluster.
async fn connect(
    site: &Site<'_>,
    tls: Option<&PeerTls>,
    seeds: Vec<String>,
    local: Option<LocalMember>,
) -> Result<Parts> {
    let parts = RouterParts {
        env: site.env.clone(),
        seeds,
        local,
        settings: client_settings(tls),
        metrics: site.rpc.clone(),
        start_timeout: START_TIMEOUT,
    };
    let router = Router::connect(parts, site.env.supervisor.token()).await;
    let router =
        router.map_err(|error| CliError::because(Exit::Unavailable, error.to_string(), error))?;
    let (found, _) = router.cluster();
    if found != site.cluster {
        return Err(CliError::other(
            Exit::Bucket,
            format!(
                "the metadata processes are of cluster `{found}`, and the bucket is of `{}`: check \
                 `cluster.metadata` and `bucket`",
                site.cluster
            ),
        ));
    }
    let router = Arc::new(router);
    Ok(Parts::of(router))
}

/// Serves other members what a process has that is no metadata process.
fn serve_without_metadata(
    site: &Site<'_>,
    tls: Option<&PeerTls>,
    listener: TcpListener,
) -> PeerServer {
    let standing = watch::Sender::new(Standing::Standby {
        active: None,
        reason: "it has no metadata".to_owned(),
    });
    serve_peers(site, tls, standing.subscribe(), listener)
}

/// Serves other members.
fn serve_peers(
    site: &Site<'_>,
    tls: Option<&PeerTls>,
    standing: watch::Receiver<Standing>,
    listener: TcpListener,
) -> PeerServer {
    let env: Env = site.env.clone();
    let parts = ServerParts {
        env: env.clone(),
        standing,
        authorizer: Arc::new(AllowPeers),
        settings: ServerSettings::default(),
        tls: tls.map(PeerTls::server),
        metrics: site.rpc.clone(),
        beside: site.beside.clone(),
    };
    let stop = CancellationToken::new();
    let serving = tidelog_metadata_rpc::serve(parts, listener, stop.clone());
    let task = env.supervisor.spawn("peers", serving);
    PeerServer { stop, task }
}
