//! What is counted of compaction.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    reason: &'static str,
}

/// The numbers of compaction. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CompactionMetrics {
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) records_in: Counter,
    pub(super) records_out: Counter,
    pub(super) unread_batches: Counter,
    pub(super) tasks: Counter,
    failures: Family<Label, Counter>,
}

impl CompactionMetrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tidelog_compaction");
        registry.register_with_unit(
            "in",
            "bytes of logs that compaction has gone through",
            Unit::Bytes,
            metrics.bytes_in.clone(),
        );
        registry.register_with_unit(
            "out",
            "bytes of logs that were left of them",
            Unit::Bytes,
            metrics.bytes_out.clone(),
        );
        registry.register(
            "records_in",
            "records that compaction has gone through",
            metrics.records_in.clone(),
        );
        registry.register(
            "records_out",
            "records that were left of them",
            metrics.records_out.clone(),
        );
        registry.register(
            "unread_batches",
            "batches that stay as they are, since their records cannot be read or need more memory than there is",
            metrics.unread_batches.clone(),
        );
        registry.register(
            "tasks",
            "partitions that were compacted",
            metrics.tasks.clone(),
        );
        registry.register(
            "failures",
            "partitions that were let be, by reason",
            metrics.failures.clone(),
        );
        metrics
    }

    pub(super) fn failure(&self, reason: &'static str) {
        self.failures.get_or_create(&Label { reason }).inc();
    }
}
