//! Names, units and help of what coordinators report.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;

/// What coordinators report. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct CoordinatorMetrics {
    pub(super) held: Gauge,
    pub(crate) memory: Gauge,
    pub(super) not_stored: Counter,
    pub(super) offsets_committed: Counter,
    pub(super) offsets_expired: Counter,
}

impl CoordinatorMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_group");
        let metrics = Self::default();
        registry.register(
            "groups_held",
            "consumer groups that are kept in memory",
            metrics.held.clone(),
        );
        registry.register_with_unit(
            "memory",
            "memory of consumer groups and of requests that wait for them",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        let counters = [
            (
                "not_stored",
                "times at which the state of a group could not be stored, so that its members had to ask again",
                &metrics.not_stored,
            ),
            (
                "offsets_committed",
                "offsets that groups have committed",
                &metrics.offsets_committed,
            ),
            (
                "offsets_expired",
                "committed offsets that were deleted since their group had no members for long",
                &metrics.offsets_expired,
            ),
        ];
        register_each(registry, &counters);
        metrics
    }
}
