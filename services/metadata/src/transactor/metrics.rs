//! Names, units and help of what coordinators of transactional ids report.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;

/// What they report. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransactorMetrics {
    pub(super) held: Gauge,
    pub(crate) memory: Gauge,
    pub(super) ending: Gauge,
    pub(super) committed: Counter,
    pub(super) aborted: Counter,
    pub(super) timed_out: Counter,
    pub(super) markers: Counter,
    pub(super) markers_not_told: Counter,
    pub(super) not_stored: Counter,
    pub(super) expired: Counter,
}

impl TransactorMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_transaction");
        let metrics = Self::default();
        registry.register(
            "ids_held",
            "transactional ids that are kept in memory",
            metrics.held.clone(),
        );
        registry.register(
            "ending",
            "transactions whose end is decided and is being told to partitions and groups",
            metrics.ending.clone(),
        );
        registry.register_with_unit(
            "memory",
            "memory of transactional ids and of requests that wait for them",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        let counters = [
            (
                "committed",
                "transactions that were committed",
                &metrics.committed,
            ),
            (
                "aborted",
                "transactions that were aborted, for whatever reason",
                &metrics.aborted,
            ),
            (
                "timed_out",
                "transactions that were aborted since they were open for too long",
                &metrics.timed_out,
            ),
            (
                "markers",
                "partitions and groups that were told of the end of a transaction",
                &metrics.markers,
            ),
            (
                "markers_not_told",
                "times at which a partition or group could not be told of the end of a transaction, and is told again",
                &metrics.markers_not_told,
            ),
            (
                "not_stored",
                "times at which the state of a transactional id could not be stored, so that its producer had to ask again",
                &metrics.not_stored,
            ),
            (
                "ids_expired",
                "transactional ids that were forgotten since nobody used them for long",
                &metrics.expired,
            ),
        ];
        register_each(registry, &counters);
        metrics
    }
}
