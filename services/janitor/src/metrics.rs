//! What is counted of the janitor.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;

/// The counters of a janitor. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct JanitorMetrics {
    pub(crate) segments_deleted: Counter,
    pub(crate) inline_deleted: Counter,
    pub(crate) orphans_deleted: Counter,
    pub(crate) deleted_bytes: Counter,
    pub(crate) pinned: Counter,
    pub(crate) failures: Counter,
}

impl JanitorMetrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tidelog_janitor");
        let counters = [
            (
                "segments_deleted",
                "segments deleted that nothing named any more",
                &metrics.segments_deleted,
            ),
            (
                "inline_segments_deleted",
                "segments deleted from the metadata store that nothing named any more",
                &metrics.inline_deleted,
            ),
            (
                "orphans_deleted",
                "segments deleted that were never committed",
                &metrics.orphans_deleted,
            ),
            (
                "deletions_pinned",
                "times at which a segment was not deleted since a backup needs it",
                &metrics.pinned,
            ),
            (
                "failures",
                "rounds of deletion that failed, and are tried again",
                &metrics.failures,
            ),
        ];
        register_each(registry, &counters);
        registry.register_with_unit(
            "deleted",
            "bytes of record batches in segments that were deleted",
            Unit::Bytes,
            metrics.deleted_bytes.clone(),
        );
        metrics
    }
}
