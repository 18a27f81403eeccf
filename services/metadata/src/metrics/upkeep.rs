//! What the upkeep of logs reports: retention, purges, merges and compaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;
use tidelog_types::ShardId;

/// What goes out of logs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeping {
    pub(crate) log_starts_moved: Counter,
    pub(crate) reclaimed_bytes: Counter,
    pub(crate) failures: Counter,
    /// In seconds.
    pub(crate) dead_since: Gauge,
    pub(crate) inline_dead: Gauge,
    pub(crate) deleted_topics: Gauge,
    pub(crate) purged_topics: Counter,
}

impl Keeping {
    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "log_starts_moved",
                "log start offsets that were moved up by the retention of their topics",
                &self.log_starts_moved,
            ),
            (
                "purged_topics",
                "deleted topics of which nothing is left, also not in segments once these are deleted",
                &self.purged_topics,
            ),
            (
                "keeping_failures",
                "steps of retention and reclaiming that failed, and are tried again unless a row is damaged",
                &self.failures,
            ),
        ];
        register_each(registry, &counters);
        registry.register_with_unit(
            "oldest_dead_timestamp",
            "since when the segment is dead that waits longest to be deleted, as seconds since 1970; 0 for none",
            Unit::Seconds,
            self.dead_since.clone(),
        );
        registry.register(
            "inline_dead",
            "segments in the metadata store that are dead and wait for their grace to be over or to be deleted, as the last pass has seen them",
            self.inline_dead.clone(),
        );
        registry.register(
            "deleted_topics",
            "deleted topics that wait for their time or are being purged, where shard 0 is; 0 elsewhere",
            self.deleted_topics.clone(),
        );
        registry.register_with_unit(
            "reclaimed",
            "bytes of segments that nothing names any more since they are below a log start",
            Unit::Bytes,
            self.reclaimed_bytes.clone(),
        );
    }
}

/// What becomes of merges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merging {
    pub(crate) runs: Counter,
    pub(crate) failures: Counter,
    pub(crate) given_up: Counter,
    pub(crate) again_bytes: Counter,
    pub(crate) rewritten_bytes: Counter,
}

impl Merging {
    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "merged_runs",
                "runs of extents that were put in the place of smaller ones",
                &self.runs,
            ),
            (
                "merge_failures",
                "steps of merging that failed, and are tried again unless a row is damaged",
                &self.failures,
            ),
            (
                "merges_given_up",
                "merges that no janitor could make: what they were to be made of stays as it is",
                &self.given_up,
            ),
            (
                "merged_again_bytes",
                "bytes of merged extents that were planned to be merged again, since they were small",
                &self.again_bytes,
            ),
            (
                "rewritten_bytes",
                "bytes that were left in merged segments with little else, and were planned to be written anew so that these can go",
                &self.rewritten_bytes,
            ),
        ];
        register_each(registry, &counters);
    }
}

/// What becomes of compaction by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compacting {
    pub(crate) rounds: Counter,
    pub(crate) given_up: Counter,
    dirty_ratio_max: Gauge<f64, AtomicU64>,
    uncleanable: Gauge,
    /// What each shard has reported last.
    reported: Arc<Mutex<HashMap<ShardId, (f64, i64)>>>,
}

impl Compacting {
    /// How dirty the dirtiest partition of a shard is that is due, and how many cannot be compacted.
    pub(crate) fn report(&self, shard: ShardId, dirtiest: f64, uncleanable: i64) {
        let mut reported = self.reported.lock();
        reported.insert(shard, (dirtiest, uncleanable));
        let ratios = reported.values().map(|(ratio, _)| *ratio);
        self.dirty_ratio_max.set(ratios.fold(0.0, f64::max));
        self.uncleanable
            .set(reported.values().map(|(_, count)| count).sum());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "compaction_rounds",
                "rounds of key compaction after which a partition was clean up to some offset",
                &self.rounds,
            ),
            (
                "compactions_given_up",
                "partitions that could not be compacted, for a reason that the log says, and are tried again later",
                &self.given_up,
            ),
        ];
        register_each(registry, &counters);
        registry.register(
            "compaction_dirty_ratio_max",
            "largest share of bytes not compacted, of the partitions that were due at the last look",
            self.dirty_ratio_max.clone(),
        );
        registry.register(
            "uncleanable_partitions",
            "partitions that could not be compacted when it was last tried, or whose rows cannot be read",
            self.uncleanable.clone(),
        );
    }
}
