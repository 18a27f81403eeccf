//! What is measured of the store: names and help in one place, and the counters themselves.

use std::sync::Arc;
#[cfg(any(feature = "client", test))]
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;
#[cfg(any(feature = "client", test))]
use tidelog_store::{CommitError, StoreError};

/// Name of the count of transactions; the exporter appends `_total`.
pub const TRANSACTIONS: &str = "tidelog_store_transactions";
/// Help of [`TRANSACTIONS`].
pub const TRANSACTIONS_HELP: &str = "Transactions that were begun";
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
/// Name of the count of unknown outcomes; the exporter appends `_total`.
pub const UNKNOWN: &str = "tidelog_store_unknown";
/// Help of [`UNKNOWN`].
pub const UNKNOWN_HELP: &str = "Commits whose outcome had to be settled";
/// Name of the count of calls that the cluster did not answer; the exporter appends `_total`.
pub const UNAVAILABLE: &str = "tidelog_store_unavailable";
/// Help of [`UNAVAILABLE`].
pub const UNAVAILABLE_HELP: &str = "Calls that failed because the store did not answer";
/// Name of the histogram of the times to begin; the exporter appends `_seconds`.
pub const BEGIN: &str = "tidelog_store_begin";
/// Help of [`BEGIN`].
pub const BEGIN_HELP: &str = "Time to get the read version of a transaction";
/// Name of the histogram of the times to commit; the exporter appends `_seconds`.
pub const COMMIT: &str = "tidelog_store_commit";
/// Help of [`COMMIT`].
pub const COMMIT_HELP: &str = "Time to commit a transaction, whatever came of it";

/// The metrics of one store. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transactions: Counter,
    commits: Counter,
    conflicts: Counter,
    too_old: Counter,
    unknown: Counter,
    unavailable: Counter,
    begin: Histogram,
    commit: Histogram,
}

/// What a store has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions begun.
    pub transactions: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions refused for a conflict.
    pub conflicts: u64,
    /// Transactions refused for their age.
    pub too_old: u64,
    /// Commits of unknown outcome.
    pub unknown: u64,
    /// Calls that were not answered.
    pub unavailable: u64,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let inner = &metrics.inner;
        register_each(
            registry,
            &[
                (TRANSACTIONS, TRANSACTIONS_HELP, &inner.transactions),
                (COMMITS, COMMITS_HELP, &inner.commits),
                (CONFLICTS, CONFLICTS_HELP, &inner.conflicts),
                (TOO_OLD, TOO_OLD_HELP, &inner.too_old),
                (UNKNOWN, UNKNOWN_HELP, &inner.unknown),
                (UNAVAILABLE, UNAVAILABLE_HELP, &inner.unavailable),
            ],
        );
        registry.register_with_unit(BEGIN, BEGIN_HELP, Unit::Seconds, inner.begin.clone());
        registry.register_with_unit(COMMIT, COMMIT_HELP, Unit::Seconds, inner.commit.clone());
        metrics
    }

    /// Metrics that nobody exports, for tests.
    pub fn unregistered() -> Self {
        // A quarter of a millisecond to about eight seconds, longer than the usual time limit.
        let times = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        let inner = Inner {
            transactions: Counter::default(),
            commits: Counter::default(),
            conflicts: Counter::default(),
            too_old: Counter::default(),
            unknown: Counter::default(),
            unavailable: Counter::default(),
            begin: times(),
            commit: times(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.inner.transactions.get(),
            commits: self.inner.commits.get(),
            conflicts: self.inner.conflicts.get(),
            too_old: self.inner.too_old.get(),
            unknown: self.inner.unknown.get(),
            unavailable: self.inner.unavailable.get(),
        }
    }
}

#[cfg(any(feature = "client", test))]
impl Metrics {
    /// A transaction has its read version.
    pub(crate) fn on_begin(&self, took: Duration) {
        self.inner.transactions.inc();
        self.inner.begin.observe(took.as_secs_f64());
    }

    /// `begin` or a read has failed.
    pub(crate) fn on_read_error(&self, error: &StoreError) {
        match error {
            StoreError::TooOld => self.inner.too_old.inc(),
            StoreError::Unavailable(_) => self.inner.unavailable.inc(),
            _ => return,
        };
    }

    /// The client has answered a commit.
    pub(crate) fn on_commit(&self, took: Duration, error: Option<&CommitError>) {
        self.inner.commit.observe(took.as_secs_f64());
        match error {
            None => self.inner.commits.inc(),
            Some(CommitError::Conflict) => self.inner.conflicts.inc(),
            Some(CommitError::TooOld) => self.inner.too_old.inc(),
            Some(CommitError::Unknown(_)) => self.inner.unknown.inc(),
            Some(CommitError::Unavailable(_)) => self.inner.unavailable.inc(),
            Some(_) => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::errors::{FdbFailure, commit_error, read_error};

    #[test]
    fn each_outcome_is_counted_where_it_belongs() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.on_begin(Duration::from_millis(1));
        metrics.on_commit(Duration::from_millis(2), None);
        for code in [1020, 1007, 1021, 1038] {
            let error = commit_error(FdbFailure::new(code, ""), 0);
            metrics.on_commit(Duration::from_millis(2), Some(&error));
        }
        metrics.on_read_error(&read_error(FdbFailure::new(1031, "")));
        let expected = Stats {
            transactions: 1,
            commits: 1,
            conflicts: 1,
            too_old: 1,
            unknown: 1,
            unavailable: 2,
        };
        assert_eq!(metrics.stats(), expected);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        assert!(page.contains("tidelog_store_unknown_total 1\n"), "{page}");
        assert!(
            page.contains("tidelog_store_commit_seconds_count 5\n"),
            "{page}"
        );
    }
}
