//! Names, units and help of this crate's metrics.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidelog_format::manifest::Outcome;

use crate::sequencer::{Answer, Decided};

/// What sequencers report. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct SequencerMetrics {
    groups: Counter,
    pub(crate) group_failures: Counter,
    pub(crate) ended: Counter,
    group_seconds: Histogram,
    group_members: Histogram,
    manifests: Counter,
    batches_accepted: Counter,
    batches_duplicate: Counter,
    batches_refused: Counter,
}

impl SequencerMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_sequencer");
        let metrics = Self {
            groups: Counter::default(),
            group_failures: Counter::default(),
            ended: Counter::default(),
            group_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            group_members: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            manifests: Counter::default(),
            batches_accepted: Counter::default(),
            batches_duplicate: Counter::default(),
            batches_refused: Counter::default(),
        };
        let counters = [
            (
                "groups",
                "group transactions that became durable",
                &metrics.groups,
            ),
            (
                "group_failures",
                "group transactions that failed and were settled and tried again",
                &metrics.group_failures,
            ),
            (
                "ended",
                "sequencers that ended since they lost their shard or store",
                &metrics.ended,
            ),
            ("manifests", "manifests committed", &metrics.manifests),
            (
                "batches_accepted",
                "record batches that got offsets",
                &metrics.batches_accepted,
            ),
            (
                "batches_duplicate",
                "record batches that had been accepted before",
                &metrics.batches_duplicate,
            ),
            (
                "batches_refused",
                "record batches refused for their sequence, epoch or condition",
                &metrics.batches_refused,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register_with_unit(
            "group_duration",
            "time from the first member of a group to its durable commit",
            Unit::Seconds,
            metrics.group_seconds.clone(),
        );
        registry.register(
            "group_members",
            "requests that shared one group transaction",
            metrics.group_members.clone(),
        );
        metrics
    }

    pub(crate) fn observe_group(
        &self,
        decided: &Decided,
        answers: &[Answer],
        members: usize,
        took: Duration,
    ) {
        self.groups.inc();
        self.group_seconds.observe(took.as_secs_f64());
        self.group_members
            .observe(f64::from(u32::try_from(members).unwrap_or(u32::MAX)));
        self.manifests.inc_by(u64::from(decided.manifests));
        for answer in answers {
            let Answer::Receipt(receipt, group) = answer else {
                continue;
            };
            if *group != decided.group {
                continue;
            }
            for outcome in &receipt.outcomes {
                match outcome {
                    Outcome::Accepted { .. } => self.batches_accepted.inc(),
                    Outcome::Duplicate { .. } => self.batches_duplicate.inc(),
                    Outcome::Refused { .. } => self.batches_refused.inc(),
                };
            }
        }
    }
}
