//! Names, units and help of this crate's metrics.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidelog_kafka_codec::{ApiKey, ErrorCode};

/// Which API; from a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

/// Which API, and which of Kafka's errors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    api: &'static str,
    code: &'static str,
}

/// Why a connection ended, from a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

/// What memory is held for, from a fixed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeldLabel {
    held: &'static str,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// By itself.
    Ended,
    /// The server is going.
    Stopped,
    /// It did nothing for long.
    Idle,
    /// It took nothing of its answer.
    Stalled,
    /// A request took too long to come.
    Slow,
    /// What it sent is no request that is served.
    Refused,
    /// The socket failed.
    Failed,
    /// A request that wants no answer failed, and this is the only way to say so.
    Unanswered,
}

impl Closed {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Slow => "slow",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Bytes that connections hold together now: of requests, of answers, and for sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) sessions: u64,
}

type Ask = Box<dyn Fn() -> Held + Send + Sync>;

/// Asks what is held whenever the metrics are read. Before there is a front end, nothing is.
#[derive(Clone, Default)]
struct HeldCollector(Arc<OnceLock<Ask>>);

impl fmt::Debug for HeldCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldCollector").finish_non_exhaustive()
    }
}

impl Collector for HeldCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let held = self.0.get().map(|ask| ask()).unwrap_or_default();
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor(
            "held",
            "Memory that connections hold together, by what for",
            Some(&Unit::Bytes),
            kind,
        )?;
        for (what, bytes) in [
            ("requests", held.requests),
            ("answers", held.answers),
            ("sessions", held.sessions),
        ] {
            let gauge = ConstGauge::new(bytes);
            gauge.encode(family.encode_family(&HeldLabel { held: what })?)?;
        }
        Ok(())
    }
}

/// What the Kafka front end reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct KafkaMetrics {
    requests: Family<ApiLabel, Counter>,
    errors: Family<ErrorLabels, Counter>,
    seconds: Family<ApiLabel, Histogram>,
    closed: Family<WhyLabel, Counter>,
    held: HeldCollector,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl KafkaMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_kafka");
        let buckets = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let metrics = Self {
            requests: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(buckets as fn() -> Histogram),
            closed: Family::default(),
            held: HeldCollector::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        };
        metrics.register_requests(registry);
        registry.register_collector(Box::new(metrics.held.clone()));
        registry.register(
            "connections",
            "Connections that are open",
            metrics.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were closed at once since too many were open",
            metrics.connections_refused.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that ended, by why",
            metrics.closed.clone(),
        );
        metrics
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests that were answered, by API",
            self.requests.clone(),
        );
        registry.register(
            "errors",
            "Errors in answers, by API and code",
            self.errors.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request being read to its answer being ready",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "received",
            "What requests had in all",
            Unit::Bytes,
            self.bytes_in.clone(),
        );
        registry.register_with_unit(
            "sent",
            "What answers had in all",
            Unit::Bytes,
            self.bytes_out.clone(),
        );
    }

    /// Reports from now on what this says is held.
    pub(crate) fn report_held(&self, ask: impl Fn() -> Held + Send + Sync + 'static) {
        // One front end has these metrics.
        let _ = self.held.0.set(Box::new(ask));
    }

    pub(crate) fn request(&self, key: ApiKey, took: Duration) {
        let label = ApiLabel { api: key.name() };
        self.requests.get_or_create(&label).inc();
        self.seconds
            .get_or_create(&label)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn error(&self, key: ApiKey, code: ErrorCode) {
        let labels = ErrorLabels {
            api: key.name(),
            code: code.name(),
        };
        self.errors.get_or_create(&labels).inc();
    }

    pub(crate) fn closed(&self, why: Closed) {
        let why = why.as_str();
        self.closed.get_or_create(&WhyLabel { why }).inc();
    }
}
