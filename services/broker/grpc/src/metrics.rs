//! Names, units and help of this crate's metrics.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Which RPC, and how it ended. Both are from fixed lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

/// Which RPC.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// By itself.
    Ended,
    /// It did nothing, and another came.
    Resting,
    /// It took nothing of its answers while others waited for their memory.
    Stalled,
    /// The server was going, and it took nothing of what was left for it.
    Left,
    /// It never began to speak HTTP/2.
    NoGreeting,
}

impl Closed {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Resting => "resting",
            Self::Stalled => "stalled",
            Self::Left => "left",
            Self::NoGreeting => "no_greeting",
        }
    }
}

/// Why a message that had begun to come was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// It took too long.
    Slow,
    /// It stood still while others waited for its memory.
    Stalled,
    /// It waited for memory and kept other messages of its connection from coming in.
    InTheWay,
}

/// Why something ended, from a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

/// What the gRPC front end reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<MethodLabel, Histogram>,
    pub(crate) streams: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) refused_connections: Counter,
    closed_connections: Family<WhyLabel, Counter>,
    pub(crate) refused_calls: Counter,
    given_up: Family<WhyLabel, Counter>,
    pub(crate) answer_bytes: Gauge,
}

impl GrpcMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_grpc");
        let buckets = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let metrics = Self {
            calls: Family::default(),
            seconds,
            streams: Gauge::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            closed_connections: Family::default(),
            refused_calls: Counter::default(),
            given_up: Family::default(),
            answer_bytes: Gauge::default(),
        };
        metrics.register_limits(registry);
        registry.register(
            "calls",
            "RPCs that ended, by method and code",
            metrics.calls.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Time from the beginning of an RPC to its end",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "open_streams",
            "Streams that are open",
            metrics.streams.clone(),
        );
        metrics
    }

    fn register_limits(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that found all seats taken by others at work",
            self.refused_connections.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that ended, by why",
            self.closed_connections.clone(),
        );
        registry.register(
            "calls_refused",
            "RPCs that were refused because too many were open",
            self.refused_calls.clone(),
        );
        registry.register(
            "messages_given_up",
            "Messages that were refused while they came in, by why",
            self.given_up.clone(),
        );
        registry.register_with_unit(
            "answers_waiting",
            "Answers that their readers have not taken yet",
            Unit::Bytes,
            self.answer_bytes.clone(),
        );
    }

    pub(crate) fn closed(&self, why: Closed) {
        let why = why.as_str();
        self.closed_connections
            .get_or_create(&WhyLabel { why })
            .inc();
    }

    pub(crate) fn given_up(&self, why: GivenUp) {
        let why = match why {
            GivenUp::Slow => "slow",
            GivenUp::Stalled => "stalled",
            GivenUp::InTheWay => "in_the_way",
        };
        self.given_up.get_or_create(&WhyLabel { why }).inc();
    }

    pub(crate) fn call(&self, method: &'static str, code: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { method, code }).inc();
        self.seconds
            .get_or_create(&MethodLabel { method })
            .observe(took.as_secs_f64());
    }
}
