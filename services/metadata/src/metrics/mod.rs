//! Names, units and help of this crate's metrics.

mod upkeep;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;
use tidelog_format::manifest::Outcome;
use tidelog_types::{ShardId, Timestamp};

use crate::coordinator::CoordinatorMetrics;
use crate::sequencer::{Answer, Decided, ShardState, ShardView};
use crate::transactor::TransactorMetrics;

pub(crate) use upkeep::{Compacting, Keeping, Merging};

/// What sequencers report. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct SequencerMetrics {
    groups: Counter,
    pub(crate) group_failures: Counter,
    pub(crate) ended: Counter,
    group_seconds: Histogram,
    group_members: Histogram,
    pub(crate) commit_seconds: Histogram,
    manifests: Counter,
    inline_segments: Counter,
    inline_refused: Counter,
    by_shard: ByShard,
    batches_accepted: Counter,
    batches_duplicate: Counter,
    batches_refused: Counter,
    transactions_committed: Counter,
    transactions_aborted: Counter,
    pub(crate) checkpoints_forced: Counter,
    pub(crate) rows_deleted: Counter,
    pub(crate) keeping: Keeping,
    pub(crate) merging: Merging,
    pub(crate) compacting: Compacting,
    pub(crate) history_reads: Counter,
    pub(crate) shards_taken: Counter,
    pub(crate) shards_released: Counter,
    pub(crate) shards_lost: Counter,
    pub(crate) shards_owned: Gauge,
    pub(crate) store_in_touch: Gauge,
    pub(crate) store_losses: Counter,
    pub(crate) held: Held,
    pub(crate) coordinators: CoordinatorMetrics,
    pub(crate) transactors: TransactorMetrics,
}

/// Which shard a number is of. There are as many as the cluster has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabel {
    shard: u32,
}

impl ShardLabel {
    const fn of(shard: ShardId) -> Self {
        Self { shard: shard.get() }
    }
}

/// Numbers of each shard.
#[derive(Clone, Debug, Default)]
struct ByShard {
    manifests: Family<ShardLabel, Counter>,
    tail_since: Family<ShardLabel, Gauge>,
    inline: Family<ShardLabel, Gauge>,
}

/// What the sequencers of the process hold in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    extents: Gauge,
    extent_bytes: Gauge,
    partitions: Gauge,
    producers: Gauge,
    /// What each shard has reported last.
    reported: Arc<Mutex<HashMap<ShardId, [i64; 4]>>>,
}

impl Held {
    /// Replaces what was reported of a shard.
    pub(crate) fn report(&self, shard: ShardId, view: &ShardView, state: &ShardState) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let now = [
            number(view.extent_count()),
            number(view.extent_bytes()),
            number(view.partition_count().max(state.partitions.len())),
            number(state.producers.len()),
        ];
        let before = self.reported.lock().insert(shard, now).unwrap_or_default();
        for ((gauge, now), before) in self.gauges().into_iter().zip(now).zip(before) {
            gauge.inc_by(now - before);
        }
    }

    /// Takes back what was reported of a shard that has gone.
    pub(crate) fn forget(&self, shard: ShardId) {
        let before = self.reported.lock().remove(&shard).unwrap_or_default();
        for (gauge, before) in self.gauges().into_iter().zip(before) {
            gauge.dec_by(before);
        }
    }

    const fn gauges(&self) -> [&Gauge; 4] {
        [
            &self.extents,
            &self.extent_bytes,
            &self.partitions,
            &self.producers,
        ]
    }

    fn register(&self, registry: &mut Registry) {
        let gauges = [
            (
                "extents_held",
                "recent extents that are kept in memory",
                &self.extents,
            ),
            (
                "partitions_held",
                "partitions whose bounds are kept in memory",
                &self.partitions,
            ),
            (
                "producers_held",
                "idempotent producers whose state is kept in memory",
                &self.producers,
            ),
        ];
        register_each(registry, &gauges);
        registry.register_with_unit(
            "extent_memory",
            "memory of the recent extents",
            Unit::Bytes,
            self.extent_bytes.clone(),
        );
    }
}

impl ByShard {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "shard_manifests",
            "manifests committed, by shard",
            self.manifests.clone(),
        );
        registry.register_with_unit(
            "shard_tail_since",
            "commit time of the oldest entry in the tail of a shard that is not merged, since 1970",
            Unit::Seconds,
            self.tail_since.clone(),
        );
        registry.register_with_unit(
            "shard_inline",
            "bytes of segments of a shard that lie in the metadata store and have yet to be merged, as far as this owner has committed them",
            Unit::Bytes,
            self.inline.clone(),
        );
    }
}

impl SequencerMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let coordinators = CoordinatorMetrics::new(registry);
        let transactors = TransactorMetrics::new(registry);
        let registry = registry.sub_registry_with_prefix("tidelog_sequencer");
        let metrics = Self {
            groups: Counter::default(),
            group_failures: Counter::default(),
            ended: Counter::default(),
            group_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            group_members: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            manifests: Counter::default(),
            inline_segments: Counter::default(),
            inline_refused: Counter::default(),
            by_shard: ByShard::default(),
            batches_accepted: Counter::default(),
            batches_duplicate: Counter::default(),
            batches_refused: Counter::default(),
            transactions_committed: Counter::default(),
            transactions_aborted: Counter::default(),
            checkpoints_forced: Counter::default(),
            rows_deleted: Counter::default(),
            keeping: Keeping::default(),
            merging: Merging::default(),
            compacting: Compacting::default(),
            history_reads: Counter::default(),
            shards_taken: Counter::default(),
            shards_released: Counter::default(),
            shards_lost: Counter::default(),
            shards_owned: Gauge::default(),
            store_in_touch: Gauge::default(),
            store_losses: Counter::default(),
            held: Held::default(),
            coordinators,
            transactors,
        };
        metrics.register_counters(registry);
        metrics.register_batches(registry);
        metrics.keeping.register(registry);
        metrics.merging.register(registry);
        metrics.compacting.register(registry);
        registry.register_with_unit(
            "group_duration",
            "time from the first member of a group to its durable commit",
            Unit::Seconds,
            metrics.group_seconds.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "time from the arrival of a commit to its durable answer",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        metrics.by_shard.register(registry);
        metrics.held.register(registry);
        registry.register(
            "shards_owned",
            "shards that this process owns now",
            metrics.shards_owned.clone(),
        );
        registry.register(
            "store_in_touch",
            "1 while this process takes part in the metadata service, 0 while it stands by or its store has not answered for a lease",
            metrics.store_in_touch.clone(),
        );
        registry.register(
            "group_members",
            "requests that shared one group transaction",
            metrics.group_members.clone(),
        );
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        let counters = [
            (
                "groups",
                "group transactions that became durable",
                &self.groups,
            ),
            (
                "group_failures",
                "group transactions that failed and were settled and tried again",
                &self.group_failures,
            ),
            (
                "ended",
                "sequencers that ended since they lost their shard or store",
                &self.ended,
            ),
            ("manifests", "manifests committed", &self.manifests),
            (
                "inline_segments",
                "segments committed together with their bytes",
                &self.inline_segments,
            ),
            (
                "inline_refused",
                "segments that the store did not take since it has enough of their shard, and that go into the bucket",
                &self.inline_refused,
            ),
            (
                "checkpoints_forced",
                "steps of checkpoints that commits waited for since memory was full",
                &self.checkpoints_forced,
            ),
            (
                "rows_deleted",
                "receipts, floors, producers and aborted transactions deleted since nobody needs them",
                &self.rows_deleted,
            ),
            (
                "history_reads",
                "questions answered from pages of the store since they were about old extents",
                &self.history_reads,
            ),
            (
                "shards_taken",
                "shards that this process has taken over",
                &self.shards_taken,
            ),
            (
                "shards_released",
                "shards that this process has given back for others to take",
                &self.shards_released,
            ),
            (
                "shards_lost",
                "shards that others took from this process or that it could not serve",
                &self.shards_lost,
            ),
            (
                "store_losses",
                "times at which the store had not answered this process for a lease",
                &self.store_losses,
            ),
        ];
        register_each(registry, &counters);
    }

    fn register_batches(&self, registry: &mut Registry) {
        let counters = [
            (
                "batches_accepted",
                "record batches that got offsets",
                &self.batches_accepted,
            ),
            (
                "batches_duplicate",
                "record batches that had been accepted before",
                &self.batches_duplicate,
            ),
            (
                "batches_refused",
                "record batches refused for their sequence, epoch or condition",
                &self.batches_refused,
            ),
            (
                "transactions_committed",
                "markers of committed transactions, one for each partition",
                &self.transactions_committed,
            ),
            (
                "transactions_aborted",
                "markers of aborted transactions, one for each partition",
                &self.transactions_aborted,
            ),
        ];
        register_each(registry, &counters);
    }

    /// Says since when the tail of a shard has not been merged.
    pub(crate) fn report_tail(&self, shard: ShardId, since: Option<Timestamp>) {
        let label = ShardLabel::of(shard);
        match since {
            Some(since) => {
                let gauge = self.by_shard.tail_since.get_or_create(&label);
                gauge.set(since.as_millis() / 1_000);
            }
            None => {
                self.by_shard.tail_since.remove(&label);
            }
        }
    }

    /// Takes back what was said of a shard that has gone.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.held.forget(shard);
        self.report_tail(shard, None);
        self.report_inline(shard, 0);
    }

    /// Says how many bytes of a shard lie in the store and are not merged.
    pub(crate) fn report_inline(&self, shard: ShardId, bytes: u64) {
        let label = ShardLabel::of(shard);
        if bytes == 0 {
            self.by_shard.inline.remove(&label);
        } else {
            let gauge = self.by_shard.inline.get_or_create(&label);
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn observe_group(
        &self,
        shard: ShardId,
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
        self.inline_segments
            .inc_by(u64::from(decided.inline_segments));
        let refused = answers.iter();
        let refused = refused.filter(|answer| matches!(answer, Answer::NotInline));
        self.inline_refused.inc_by(refused.count() as u64);
        let markers = decided.markers;
        self.transactions_committed
            .inc_by(u64::from(markers.commits));
        self.transactions_aborted.inc_by(u64::from(markers.aborts));
        let label = ShardLabel::of(shard);
        let of_shard = self.by_shard.manifests.get_or_create(&label);
        of_shard.inc_by(u64::from(decided.manifests));
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
