//! What every RPC shares: who calls, whether they may, what they have seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidelog_api::ApiError;
use tidelog_broker_engine::Engine;
use tidelog_env::{CancellationToken, Env, MonoTime};
use tidelog_metadata_api::{Cluster, OrderKey, TopicInfo, TopicSelector};
use tidelog_runtime::access::{Allowance, Authorizer, Caller, Charge, Operation, Quota, Resource};
use tidelog_types::{ErrorCode, TopicName};
use tonic::metadata::MetadataMap;

use crate::decode::Decode;
use crate::errors::{catalogue_error, log_error};
use crate::metrics::GrpcMetrics;
use crate::produce::going_away;
use crate::settings::GrpcSettings;
use crate::token::TokenSet;
use crate::transport::{Outflow, Outlet};

/// What a client calls itself.
const CLIENT_ID_HEADER: &str = "x-tidelog-client-id";
/// The zone that a client is in.
const ZONE_HEADER: &str = "x-tidelog-zone";
/// Longest text that is taken from either header.
const HEADER_TEXT_MAX: usize = 128;

/// What a request without a size takes from the quota.
pub(crate) const ONE_REQUEST: Charge = Charge {
    requests: 1,
    bytes_in: 0,
    bytes_out: 0,
};

/// What the front end is built from.
#[derive(Clone, Debug)]
pub struct GrpcParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// The engine.
    pub engine: Engine,
    /// Members and owners.
    pub cluster: Arc<dyn Cluster>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// How much of it.
    pub quota: Arc<dyn Quota>,
    /// Limits.
    pub settings: GrpcSettings,
    /// Where it reports.
    pub metrics: GrpcMetrics,
}

/// The services' shared part. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) parts: GrpcParts,
    /// Cancelled when the server takes no more calls.
    pub(crate) stop: CancellationToken,
    /// Memory for records that are taken apart or put together.
    pub(crate) decode: Decode,
    outflow: Outflow,
    orders: Arc<AtomicU64>,
    pub(crate) round_robin: Arc<AtomicU64>,
}

impl Front {
    pub(crate) fn new(
        parts: GrpcParts,
        decode: Decode,
        outflow: Outflow,
        stop: CancellationToken,
    ) -> Self {
        // Brokers count from places of their own, since one sequencer hears from many of them.
        let orders = Arc::new(AtomicU64::new(parts.env.rng.next_u64()));
        Self {
            decode,
            outflow,
            parts,
            stop,
            orders,
            round_robin: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// How large an answer should be of which so many bytes were asked for: less when memory is short.
    pub(crate) fn answer_bytes(&self, asked: u32) -> u32 {
        self.outflow.room(asked)
    }

    /// The way out for a call that came over no connection.
    pub(crate) fn outlet_of_none(&self) -> Outlet {
        self.outflow.outlet_of_none()
    }

    /// A key that no caller has had.
    pub(crate) fn new_order(&self) -> OrderKey {
        OrderKey(self.orders.fetch_add(1, Ordering::Relaxed))
    }

    /// Who calls, by what their request says.
    pub(crate) fn caller(metadata: &MetadataMap) -> Caller {
        let text = |name| {
            let value = metadata.get(name).and_then(|value| value.to_str().ok());
            value
                .unwrap_or_default()
                .chars()
                .take(HEADER_TEXT_MAX)
                .collect()
        };
        Caller {
            client_id: text(CLIENT_ID_HEADER),
            zone: text(ZONE_HEADER),
            ..Caller::anonymous()
        }
    }

    /// Asks the authorizer and the quota, and waits as long as the quota says.
    pub(crate) async fn allow(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
        charge: Charge,
    ) -> Result<(), ApiError> {
        self.parts
            .authorizer
            .authorize(caller, operation, resource)
            .map_err(|denied| ApiError::new(ErrorCode::PermissionDenied, denied.to_string()))?;
        self.charge(caller, resource, charge).await
    }

    /// What comes first in a call that moves no records: whether the caller may, then, until this broker has
    /// seen what the caller has.
    pub(crate) async fn enter(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
        token: &[u8],
    ) -> Result<TokenSet, ApiError> {
        self.allow(caller, operation, resource, ONE_REQUEST).await?;
        self.catch_up(token).await
    }

    /// Asks the quota, and waits as long as it says.
    pub(crate) async fn charge(
        &self,
        caller: &Caller,
        resource: Resource<'_>,
        charge: Charge,
    ) -> Result<(), ApiError> {
        match self.parts.quota.charge(caller, resource, charge) {
            Allowance::Granted => Ok(()),
            Allowance::Throttled(wait) => {
                self.parts.env.clock.sleep(wait).await;
                Ok(())
            }
            Allowance::Refused(wait) => {
                let message = "the quota is used up for now";
                Err(ApiError::new(ErrorCode::ResourceExhausted, message).with_retry_after(wait))
            }
        }
    }

    /// Tells the quota what was read of a topic.
    pub(crate) async fn charge_read(
        &self,
        caller: &Caller,
        topic: &str,
        bytes_out: u64,
    ) -> Result<(), ApiError> {
        if bytes_out == 0 {
            return Ok(());
        }
        let charge = Charge {
            requests: 0,
            bytes_in: 0,
            bytes_out,
        };
        self.charge(caller, Resource::Topic(topic), charge).await
    }

    /// Waits until this broker has seen what the caller has, unless it goes before.
    pub(crate) async fn catch_up(&self, token: &[u8]) -> Result<TokenSet, ApiError> {
        let tokens = TokenSet::decode(token)?;
        for part in tokens.parts() {
            let reached = tokio::select! {
                biased;
                reached = self.engine().reached(part) => reached,
                () = self.stop.cancelled() => return Err(going_away()),
            };
            reached.map_err(|error| log_error(&error))?;
        }
        Ok(tokens)
    }

    /// The token of an answer: what the caller had seen, and what this broker has.
    pub(crate) fn token(&self, mut tokens: TokenSet) -> Bytes {
        for part in self.engine().seen() {
            tokens.add(part);
        }
        tokens.encode()
    }

    /// The live topic of a name, after asking whether the caller may.
    pub(crate) async fn topic(
        &self,
        caller: &Caller,
        operation: Operation,
        name: &str,
        charge: Charge,
    ) -> Result<Arc<TopicInfo>, ApiError> {
        self.allow(caller, operation, Resource::Topic(name), charge)
            .await?;
        let selector = TopicSelector::Name(topic_name(name)?);
        self.engine()
            .catalogue()
            .topic(&selector)
            .await
            .map_err(|error| catalogue_error(&error))
    }

    pub(crate) fn now(&self) -> MonoTime {
        self.parts.env.clock.now()
    }
}

/// A topic's name as it came over the wire.
pub(crate) fn topic_name(name: &str) -> Result<TopicName, ApiError> {
    TopicName::new(name)
        .map_err(|error| ApiError::new(ErrorCode::InvalidTopicName, error.to_string()))
}
