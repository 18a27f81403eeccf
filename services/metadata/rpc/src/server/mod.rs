//! The services over the seams of the metadata service.

mod accept;
mod access;
mod call;
mod catalogue;
mod cluster;
mod commit;
mod compactions;
mod groups;
mod janitor;
mod merges;
mod sequencer;
mod subscribe;
mod transactions;
mod writer;

use std::pin::pin;
use std::sync::Arc;

use thiserror::Error;
use tidelog_api::internal::v1::catalogue_service_server::CatalogueServiceServer;
use tidelog_api::internal::v1::cluster_service_server::ClusterServiceServer;
use tidelog_api::internal::v1::compaction_service_server::CompactionServiceServer;
use tidelog_api::internal::v1::group_service_server::GroupServiceServer;
use tidelog_api::internal::v1::janitor_service_server::JanitorServiceServer;
use tidelog_api::internal::v1::merge_service_server::MergeServiceServer;
use tidelog_api::internal::v1::sequencer_service_server::SequencerServiceServer;
use tidelog_api::internal::v1::transaction_service_server::TransactionServiceServer;
use tidelog_api::internal::v1::writer_service_server::WriterServiceServer;
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::{
    Catalogue, Cluster, Compactions, Groups, JanitorWork, Log, Merges, Transactions,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::Router;
use tonic::transport::{Server, ServerTlsConfig};

pub use access::{AllowPeers, Peer, PeerAuthorizer, PeerDenied};

use crate::metrics::RpcMetrics;
use crate::settings::{
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MEMBER_BYTES_MAX, MESSAGE_BYTES_MAX,
    REQUEST_BYTES_MAX, ServerSettings,
};
use call::Front;

/// Bytes of the header of a request, after decompression.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a peer reset before they were looked at, and those reset because of what it sent. More of
/// them end the connection.
const PENDING_RESETS_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 256;

/// The seams of one metadata service.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Sequencers and history.
    pub log: Arc<dyn Log>,
    /// Topics.
    pub catalogue: Arc<dyn Catalogue>,
    /// Members and owners.
    pub cluster: Arc<dyn Cluster>,
    /// Coordinators of groups.
    pub groups: Arc<dyn Groups>,
    /// Coordinators of transactional ids.
    pub transactions: Arc<dyn Transactions>,
    /// What there is for a janitor to do.
    pub janitor: Arc<dyn JanitorWork>,
    /// What is to be merged.
    pub merges: Arc<dyn Merges>,
    /// What is to be compacted.
    pub compactions: Arc<dyn Compactions>,
}

impl Parts {
    /// One service that is all of them.
    pub fn of<S>(service: Arc<S>) -> Self
    where
        S: Log + Catalogue + Cluster + Groups + Transactions + JanitorWork + Merges + Compactions,
    {
        Self {
            log: Arc::clone(&service) as Arc<dyn Log>,
            catalogue: Arc::clone(&service) as Arc<dyn Catalogue>,
            cluster: Arc::clone(&service) as Arc<dyn Cluster>,
            groups: Arc::clone(&service) as Arc<dyn Groups>,
            transactions: Arc::clone(&service) as Arc<dyn Transactions>,
            janitor: Arc::clone(&service) as Arc<dyn JanitorWork>,
            merges: Arc::clone(&service) as Arc<dyn Merges>,
            compactions: service,
        }
    }
}

/// Whether the process answers for the metadata service.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It does.
    Active(Parts),
    /// Another one does, or it is not known yet who: every call is refused, and nothing is done for it.
    Standby {
        /// Where the active one is, as `host:port`, if that is known.
        active: Option<String>,
        /// Why, for people.
        reason: String,
    },
}

/// What the server is made of.
#[derive(Debug)]
pub struct ServerParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Who answers. When it changes, streams end, so that their callers look for the active one anew; the
    /// port stays bound.
    pub standing: watch::Receiver<Standing>,
    /// Decides which peers may call what.
    pub authorizer: Arc<dyn PeerAuthorizer>,
    /// Limits.
    pub settings: ServerSettings,
    /// The server's certificate and, for mutual TLS, whose peers it takes; none for plain HTTP/2.
    pub tls: Option<ServerTlsConfig>,
    /// Where it reports.
    pub metrics: RpcMetrics,
    /// What else is served on the port, whoever answers for the metadata service.
    pub beside: Routes,
}

/// Why the server ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Certificate or key cannot be used.
    #[error("certificate, key or authority for peers cannot be used")]
    Tls(#[source] tonic::transport::Error),
    /// The transport gave up.
    #[error("the server for peers ended")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves peers until `stop` is cancelled. Then it takes no new calls, ends streams after what they have
/// taken is answered, and waits for the calls under way, at most `drain_timeout`.
///
/// # Errors
/// When the TLS settings cannot be used; peers and their messages never end it.
pub async fn serve(
    parts: ServerParts,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let settings = parts.settings;
    let (env, metrics, tls) = (parts.env.clone(), parts.metrics.clone(), parts.tls.clone());
    let beside = parts.beside.clone();
    let front = Front::new(parts, stop.clone());
    let mut builder = Server::builder()
        .timeout(settings.call_timeout)
        .max_concurrent_streams(settings.connection_calls_max)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT));
    if let Some(tls) = tls {
        let tls = tls.timeout(settings.greeting_timeout);
        builder = builder.tls_config(tls).map_err(ServeError::Tls)?;
    }
    let router = with_services(&mut builder, front, beside);
    let incoming = accept::incoming(env.clone(), listener, settings, metrics);
    let serving =
        router.serve_with_incoming_shutdown(Box::pin(incoming), stop.clone().cancelled_owned());
    let mut serving = pin!(serving);
    tokio::select! {
        biased;
        ended = &mut serving => return ended.map_err(ServeError::Transport),
        () = stop.cancelled() => {}
    }
    let drained = tidelog_env::clock::timeout(env.clock.as_ref(), settings.drain_timeout, serving);
    match drained.await {
        Ok(ended) => ended.map_err(ServeError::Transport),
        Err(elapsed) => {
            tracing::warn!(waited = ?elapsed.0, "calls of peers were cut off");
            Ok(())
        }
    }
}

/// Every service, with the largest messages that each takes and gives.
fn with_services(builder: &mut Server, front: Front, beside: Routes) -> Router {
    builder
        .add_routes(beside)
        .add_service(
            SequencerServiceServer::new(front.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            WriterServiceServer::new(front.clone()).max_decoding_message_size(MEMBER_BYTES_MAX),
        )
        .add_service(
            CatalogueServiceServer::new(front.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            GroupServiceServer::new(front.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            TransactionServiceServer::new(front.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            MergeServiceServer::new(front.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            CompactionServiceServer::new(front.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(
            JanitorServiceServer::new(front.clone()).max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(
            ClusterServiceServer::new(front)
                .max_decoding_message_size(MEMBER_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
}
