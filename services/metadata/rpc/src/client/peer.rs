//! The connection to one process.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidelog_api::internal::v1::catalogue_service_client::CatalogueServiceClient;
use tidelog_api::internal::v1::cluster_service_client::ClusterServiceClient;
use tidelog_api::internal::v1::compaction_service_client::CompactionServiceClient;
use tidelog_api::internal::v1::group_service_client::GroupServiceClient;
use tidelog_api::internal::v1::janitor_service_client::JanitorServiceClient;
use tidelog_api::internal::v1::merge_service_client::MergeServiceClient;
use tidelog_api::internal::v1::sequencer_service_client::SequencerServiceClient;
use tidelog_api::internal::v1::transaction_service_client::TransactionServiceClient;
use tidelog_api::internal::v1::writer_service_client::WriterServiceClient;
use tidelog_env::Env;
use tidelog_env::clock::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::metrics::{RpcMetrics, Side};
use crate::rpc::Rpc;
use crate::settings::{
    ClientSettings, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX,
};
use crate::status::CallError;

/// HTTP/2's windows: how far a peer may run ahead.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The address or the TLS settings of a peer cannot be used.
#[derive(Debug, Error)]
#[error(
    "`{address}` cannot be used as the address of a metadata process, which looks like `host:7071`"
)]
pub struct SetupError {
    address: String,
    #[source]
    source: tonic::transport::Error,
}

/// The connection to one process: made when it is needed, made anew when it broke. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Inner>);

/// What the clones of a [`Peer`] share.
pub(crate) struct Inner {
    address: String,
    channel: Channel,
    pub(crate) env: Env,
    pub(crate) settings: ClientSettings,
    pub(crate) metrics: RpcMetrics,
}

impl Deref for Peer {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// A peer at `host:port`. Nothing is sent. Must be called within a runtime.
    pub(crate) fn new(
        env: Env,
        address: &str,
        settings: &ClientSettings,
        metrics: RpcMetrics,
    ) -> Result<Self, SetupError> {
        let setup = |source| SetupError {
            address: address.to_owned(),
            source,
        };
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(setup)?
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if let Some(tls) = &settings.tls {
            let tls = tls.clone().timeout(settings.connect_timeout);
            endpoint = endpoint.tls_config(tls).map_err(setup)?;
        }
        Ok(Self(Arc::new(Inner {
            address: address.to_owned(),
            channel: endpoint.connect_lazy(),
            env,
            settings: settings.clone(),
            metrics,
        })))
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn sequencer(&self) -> SequencerServiceClient<Channel> {
        SequencerServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(super) fn groups(&self) -> GroupServiceClient<Channel> {
        GroupServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(super) fn transactions(&self) -> TransactionServiceClient<Channel> {
        TransactionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(super) fn writer(&self) -> WriterServiceClient<Channel> {
        WriterServiceClient::new(self.channel.clone())
    }

    pub(super) fn janitor(&self) -> JanitorServiceClient<Channel> {
        JanitorServiceClient::new(self.channel.clone()).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    pub(super) fn merges(&self) -> MergeServiceClient<Channel> {
        MergeServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(REQUEST_BYTES_MAX)
    }

    pub(super) fn compactions(&self) -> CompactionServiceClient<Channel> {
        CompactionServiceClient::new(self.channel.clone())
            .max_encoding_message_size(REQUEST_BYTES_MAX)
    }

    pub(super) fn catalogue(&self) -> CatalogueServiceClient<Channel> {
        CatalogueServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(super) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Makes a call within the time that settings give it; the peer is told.
    pub(super) async fn call<Q, A, F, Fut>(
        &self,
        rpc: Rpc,
        message: Q,
        send: F,
    ) -> Result<A, CallError>
    where
        F: FnOnce(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let within = self.settings.request_timeout;
        self.call_within(rpc, within, message, send).await
    }

    /// Makes a call within this time; the peer is told.
    pub(super) async fn call_within<Q, A, F, Fut>(
        &self,
        rpc: Rpc,
        within: Duration,
        message: Q,
        send: F,
    ) -> Result<A, CallError>
    where
        F: FnOnce(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(within);
        let answer = self.counted(rpc, within, send(request)).await?;
        Ok(answer.into_inner())
    }

    /// Opens a stream, which means that the peer has accepted the call.
    pub(super) async fn open<A>(
        &self,
        rpc: Rpc,
        within: Duration,
        opening: impl Future<Output = Result<Response<A>, Status>>,
    ) -> Result<A, CallError> {
        let answer = self.counted(rpc, within, opening).await?;
        Ok(answer.into_inner())
    }

    async fn counted<A>(
        &self,
        rpc: Rpc,
        within: Duration,
        call: impl Future<Output = Result<A, Status>>,
    ) -> Result<A, CallError> {
        let clock = self.env.clock.as_ref();
        let started = clock.now();
        let answer = timeout(clock, within, call).await;
        let took = clock.now() - started;
        let (code, answer) = match answer {
            Ok(Ok(answer)) => (Code::Ok, Ok(answer)),
            Ok(Err(status)) => (status.code(), Err(CallError::from_status(&status))),
            Err(elapsed) => {
                let waited = elapsed.0;
                let message = format!("`{}` did not answer within `{waited:?}`", self.address);
                (Code::DeadlineExceeded, Err(CallError::timed_out(message)))
            }
        };
        self.metrics.call(Side::Client, rpc, code, took);
        answer
    }
}
