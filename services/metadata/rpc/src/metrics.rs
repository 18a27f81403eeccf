//! Names, units and help of this crate's metrics.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::rpc::Rpc;

/// On which end of the connection a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where it is made.
    Client,
    /// Where it is answered.
    Server,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Which RPC, on which side, and how it ended. All are from fixed lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    side: &'static str,
    method: &'static str,
    code: &'static str,
}

/// Which RPC, on which side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    side: &'static str,
    method: &'static str,
}

/// Which stream, from a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabel {
    stream: &'static str,
}

/// What this crate reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<MethodLabels, Histogram>,
    reconnects: Family<StreamLabel, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) commits_in_flight: Gauge,
    pub(crate) notices_missed: Counter,
    pub(crate) rerouted: Counter,
}

impl RpcMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_internal");
        let buckets = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(buckets as fn() -> Histogram),
            reconnects: Family::default(),
            connections: Gauge::default(),
            commits_in_flight: Gauge::default(),
            notices_missed: Counter::default(),
            rerouted: Counter::default(),
        };
        registry.register(
            "calls",
            "RPCs between members that ended, by side, method and code",
            metrics.calls.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Time from the beginning of an RPC between members to its end",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "reconnects",
            "Streams to metadata processes that broke, by stream",
            metrics.reconnects.clone(),
        );
        registry.register(
            "connections",
            "Connections of other members that are open",
            metrics.connections.clone(),
        );
        registry.register(
            "commits_in_flight",
            "Messages with commits that metadata processes have not answered",
            metrics.commits_in_flight.clone(),
        );
        registry.register(
            "notices_missed",
            "Times at which news of commits was missed and caches were asked to start anew",
            metrics.notices_missed.clone(),
        );
        registry.register(
            "rerouted",
            "Questions that were asked again since the first process asked could not answer",
            metrics.rerouted.clone(),
        );
        metrics
    }

    pub(crate) fn call(&self, side: Side, rpc: Rpc, code: Code, took: Duration) {
        let (side, method) = (side.as_str(), rpc.name());
        let code = code_name(code);
        self.calls
            .get_or_create(&CallLabels { side, method, code })
            .inc();
        self.seconds
            .get_or_create(&MethodLabels { side, method })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn reconnect(&self, rpc: Rpc) {
        let stream = rpc.name();
        self.reconnects.get_or_create(&StreamLabel { stream }).inc();
    }
}

/// The name of a status code, as gRPC writes it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
