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

/// What the gRPC front end reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<MethodLabel, Histogram>,
    pub(crate) streams: Gauge,
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
        };
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

    pub(crate) fn call(&self, method: &'static str, code: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { method, code }).inc();
        self.seconds
            .get_or_create(&MethodLabel { method })
            .observe(took.as_secs_f64());
    }
}
