//! What is measured of the store: names and help in one place, and the counters themselves.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Name of the count of commits; the exporter appends `_total`.
pub const COMMITS: &str = "tidelog_store_commits";
/// Help of [`COMMITS`].
pub const COMMITS_HELP: &str = "Transactions that were committed and are durable";
/// Name of the count of conflicts; the exporter appends `_total`.
pub const CONFLICTS: &str = "tidelog_store_conflicts";
/// Help of [`CONFLICTS`].
pub const CONFLICTS_HELP: &str = "Transactions refused because what they read was written since";
/// Name of the count of transactions too old; the exporter appends `_total`.
pub const TOO_OLD: &str = "tidelog_store_too_old";
/// Help of [`TOO_OLD`].
pub const TOO_OLD_HELP: &str = "Transactions refused because they were open for too long";
/// Name of the histogram of group sizes.
pub const GROUP_SIZE: &str = "tidelog_store_group_size";
/// Help of [`GROUP_SIZE`].
pub const GROUP_SIZE_HELP: &str = "Transactions that shared one flush";
/// Name of the histogram of flush times; the exporter appends `_seconds`.
pub const FLUSH: &str = "tidelog_store_flush";
/// Help of [`FLUSH`].
pub const FLUSH_HELP: &str = "Time to make one group of commits durable";
/// Name of the count of compactions; the exporter appends `_total`.
pub const COMPACTIONS: &str = "tidelog_store_compactions";
/// Help of [`COMPACTIONS`].
pub const COMPACTIONS_HELP: &str = "Runs of the compactor, whether or not they found work";
/// Name of the count of collections; the exporter appends `_total`.
pub const COLLECTIONS: &str = "tidelog_store_collections";
/// Help of [`COLLECTIONS`].
pub const COLLECTIONS_HELP: &str =
    "Runs of the garbage collector, whether or not they found garbage";
/// Name of the count of failed background runs; the exporter appends `_total`.
pub const MAINTENANCE_FAILURES: &str = "tidelog_store_maintenance_failures";
/// Help of [`MAINTENANCE_FAILURES`].
pub const MAINTENANCE_FAILURES_HELP: &str = "Runs of the compactor that failed or took too long";
/// Name of the gauge of tables.
pub const TABLES: &str = "tidelog_store_tables";
/// Help of [`TABLES`].
pub const TABLES_HELP: &str = "Tables of the first level that wait for compaction";

/// The metrics of one store. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    commits: Counter,
    conflicts: Counter,
    too_old: Counter,
    flushes: AtomicU64,
    group_size: Histogram,
    flush: Histogram,
    compactions: Counter,
    collections: Counter,
    maintenance_failures: Counter,
    tables: Gauge,
}

/// What a store has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions committed.
    pub commits: u64,
    /// Transactions refused for a conflict.
    pub conflicts: u64,
    /// Transactions refused for their age.
    pub too_old: u64,
    /// Flushes, each of one group of commits.
    pub flushes: u64,
    /// Runs of the compactor.
    pub compactions: u64,
    /// Runs of the garbage collector.
    pub collections: u64,
    /// Runs of the compactor that failed or took too long.
    pub maintenance_failures: u64,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let inner = &metrics.inner;
        registry.register(COMMITS, COMMITS_HELP, inner.commits.clone());
        registry.register(CONFLICTS, CONFLICTS_HELP, inner.conflicts.clone());
        registry.register(TOO_OLD, TOO_OLD_HELP, inner.too_old.clone());
        registry.register(GROUP_SIZE, GROUP_SIZE_HELP, inner.group_size.clone());
        registry.register_with_unit(FLUSH, FLUSH_HELP, Unit::Seconds, inner.flush.clone());
        registry.register(COMPACTIONS, COMPACTIONS_HELP, inner.compactions.clone());
        registry.register(COLLECTIONS, COLLECTIONS_HELP, inner.collections.clone());
        registry.register(
            MAINTENANCE_FAILURES,
            MAINTENANCE_FAILURES_HELP,
            inner.maintenance_failures.clone(),
        );
        registry.register(TABLES, TABLES_HELP, inner.tables.clone());
        metrics
    }

    /// Metrics that nobody exports, for tests.
    pub fn unregistered() -> Self {
        let inner = Inner {
            commits: Counter::default(),
            conflicts: Counter::default(),
            too_old: Counter::default(),
            flushes: AtomicU64::new(0),
            // One to about a thousand transactions.
            group_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            // Half a millisecond (a local file) to about half a minute.
            flush: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            compactions: Counter::default(),
            collections: Counter::default(),
            maintenance_failures: Counter::default(),
            tables: Gauge::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        Stats {
            commits: self.inner.commits.get(),
            conflicts: self.inner.conflicts.get(),
            too_old: self.inner.too_old.get(),
            flushes: self
                .inner
                .flushes
                .load(std::sync::atomic::Ordering::Relaxed),
            compactions: self.inner.compactions.get(),
            collections: self.inner.collections.get(),
            maintenance_failures: self.inner.maintenance_failures.get(),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a group has far fewer than 2^52 members"
    )]
    pub(crate) fn on_flush(&self, group_size: usize, took: Duration) {
        self.inner.commits.inc_by(group_size as u64);
        self.inner
            .flushes
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.inner.group_size.observe(group_size as f64);
        self.inner.flush.observe(took.as_secs_f64());
    }

    pub(crate) fn on_conflict(&self) {
        self.inner.conflicts.inc();
    }

    pub(crate) fn on_too_old(&self) {
        self.inner.too_old.inc();
    }

    pub(crate) fn on_compaction(&self) {
        self.inner.compactions.inc();
    }

    pub(crate) fn on_collection(&self) {
        self.inner.collections.inc();
    }

    pub(crate) fn on_maintenance_failure(&self) {
        self.inner.maintenance_failures.inc();
    }

    /// Takes back what was reported of a store that this process has no more. What was counted stays.
    pub fn forget(&self) {
        self.set_tables(0);
    }

    pub(crate) fn set_tables(&self, tables: usize) {
        self.inner
            .tables
            .set(i64::try_from(tables).unwrap_or(i64::MAX));
    }
}
