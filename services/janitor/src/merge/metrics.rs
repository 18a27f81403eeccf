//! What is counted of merges.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What became of a run, or why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Label {
    reason: &'static str,
}

/// The numbers of merges. Clones share them.
#[derive(Clone, Debug)]
pub struct MergeMetrics {
    pub(super) segments: Counter,
    pub(super) read: Counter,
    pub(super) written: Counter,
    pub(super) seconds: Histogram,
    pub(super) under_way: Gauge,
    runs: Family<Label, Counter>,
    failures: Family<Label, Counter>,
}

impl MergeMetrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            segments: Counter::default(),
            read: Counter::default(),
            written: Counter::default(),
            seconds: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
            under_way: Gauge::default(),
            runs: Family::default(),
            failures: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("tidelog_merge");
        registry.register(
            "segments",
            "merged segments stored",
            metrics.segments.clone(),
        );
        registry.register_with_unit(
            "read",
            "bytes read to be merged, with those between them",
            Unit::Bytes,
            metrics.read.clone(),
        );
        registry.register_with_unit(
            "written",
            "bytes of merged segments stored",
            Unit::Bytes,
            metrics.written.clone(),
        );
        registry.register(
            "runs",
            "runs of extents, by what became of them: swapped, changed meanwhile, missing, damaged",
            metrics.runs.clone(),
        );
        registry.register(
            "failures",
            "tasks of merging that were let be, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "under_way",
            "tasks of merging under way",
            metrics.under_way.clone(),
        );
        registry.register_with_unit(
            "task",
            "time that a task of merging takes, whatever becomes of it",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(super) fn run(&self, reason: &'static str) {
        self.runs.get_or_create(&Label { reason }).inc();
    }

    pub(super) fn failure(&self, reason: &'static str) {
        self.failures.get_or_create(&Label { reason }).inc();
    }

    #[cfg(test)]
    pub(super) fn runs(&self, reason: &'static str) -> u64 {
        self.runs.get_or_create(&Label { reason }).get()
    }

    #[cfg(test)]
    pub(super) fn failures(&self, reason: &'static str) -> u64 {
        self.failures.get_or_create(&Label { reason }).get()
    }
}
