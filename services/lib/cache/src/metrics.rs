//! What is measured of the cache: names and help in one place, and the counters themselves.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::settings::Pool;

/// Name of the count of hits; the exporter appends `_total`.
pub const HITS: &str = "tidelog_page_cache_hits";
/// Help of [`HITS`].
pub const HITS_HELP: &str = "Reads of pages that were in the cache, by pool";
/// Name of the count of misses; the exporter appends `_total`.
pub const MISSES: &str = "tidelog_page_cache_misses";
/// Help of [`MISSES`].
pub const MISSES_HELP: &str = "Reads of pages that began a fetch, by pool";
/// Name of the count of shared fetches; the exporter appends `_total`.
pub const SHARED: &str = "tidelog_page_cache_shared_fetches";
/// Help of [`SHARED`].
pub const SHARED_HELP: &str = "Reads of pages that waited for a fetch of another read, by pool";
/// Name of the count of failed fetches; the exporter appends `_total`.
pub const FETCH_ERRORS: &str = "tidelog_page_cache_fetch_errors";
/// Help of [`FETCH_ERRORS`].
pub const FETCH_ERRORS_HELP: &str = "Fetches of pages that failed, by pool";
/// Name of the count of damaged pages; the exporter appends `_total`.
pub const DAMAGED: &str = "tidelog_page_cache_damaged_pages";
/// Help of [`DAMAGED`].
pub const DAMAGED_HELP: &str =
    "Pages in the cache that failed their checksum and were dropped, by pool";
/// Name of the count of evictions; the exporter appends `_total`.
pub const EVICTIONS: &str = "tidelog_page_cache_evictions";
/// Help of [`EVICTIONS`].
pub const EVICTIONS_HELP: &str = "Pages that left the cache for want of room, by pool";
/// Name of the count of tail insertions; the exporter appends `_total`.
pub const INSERTS: &str = "tidelog_page_cache_tail_inserts";
/// Help of [`INSERTS`].
pub const INSERTS_HELP: &str = "Pages put in by those who wrote them, by pool";
/// Name of the gauge of bytes held; the exporter appends `_bytes`.
pub const USED: &str = "tidelog_page_cache_used";
/// Help of [`USED`].
pub const USED_HELP: &str = "Bytes that the cache holds, by pool";
/// Name of the count of pages found on disk; the exporter appends `_total`.
pub const DISK_HITS: &str = "tidelog_page_cache_disk_hits";
/// Help of [`DISK_HITS`].
pub const DISK_HITS_HELP: &str =
    "Pages that were not in memory and were found on the local disk, by pool";
/// Name of the count of pages written to disk; the exporter appends `_total`.
pub const DISK_WRITES: &str = "tidelog_page_cache_disk_writes";
/// Help of [`DISK_WRITES`].
pub const DISK_WRITES_HELP: &str = "Pages that left memory for the local disk, by pool";
/// Name of the count of pages lost on disk; the exporter appends `_total`.
pub const DISK_LOST: &str = "tidelog_page_cache_disk_lost_pages";
/// Help of [`DISK_LOST`].
pub const DISK_LOST_HELP: &str = "Pages on the local disk that failed their checksum, or were overwritten while they were looked for, by pool";
/// Name of the count of failed reads from disk; the exporter appends `_total`.
pub const DISK_ERRORS: &str = "tidelog_page_cache_disk_errors";
/// Help of [`DISK_ERRORS`].
pub const DISK_ERRORS_HELP: &str =
    "Reads of the local disk that failed, and folders that could not be used, by pool";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    pool: &'static str,
}

/// The families of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    hits: Family<Labels, Counter>,
    misses: Family<Labels, Counter>,
    shared: Family<Labels, Counter>,
    fetch_errors: Family<Labels, Counter>,
    damaged: Family<Labels, Counter>,
    evictions: Family<Labels, Counter>,
    inserts: Family<Labels, Counter>,
    used: Family<Labels, Gauge>,
    disk_hits: Family<Labels, Counter>,
    disk_writes: Family<Labels, Counter>,
    disk_lost: Family<Labels, Counter>,
    disk_errors: Family<Labels, Counter>,
}

impl CacheMetrics {
    /// Registers the families.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(HITS, HITS_HELP, metrics.hits.clone());
        registry.register(MISSES, MISSES_HELP, metrics.misses.clone());
        registry.register(SHARED, SHARED_HELP, metrics.shared.clone());
        registry.register(
            FETCH_ERRORS,
            FETCH_ERRORS_HELP,
            metrics.fetch_errors.clone(),
        );
        registry.register(DAMAGED, DAMAGED_HELP, metrics.damaged.clone());
        registry.register(EVICTIONS, EVICTIONS_HELP, metrics.evictions.clone());
        registry.register(INSERTS, INSERTS_HELP, metrics.inserts.clone());
        registry.register(DISK_HITS, DISK_HITS_HELP, metrics.disk_hits.clone());
        registry.register(DISK_WRITES, DISK_WRITES_HELP, metrics.disk_writes.clone());
        registry.register(DISK_LOST, DISK_LOST_HELP, metrics.disk_lost.clone());
        registry.register(DISK_ERRORS, DISK_ERRORS_HELP, metrics.disk_errors.clone());
        registry.register_with_unit(USED, USED_HELP, Unit::Bytes, metrics.used.clone());
        metrics
    }

    pub(crate) fn counters(&self, pool: Pool) -> Counters {
        let labels = Labels {
            pool: pool.as_str(),
        };
        Counters {
            hits: self.hits.get_or_create_owned(&labels),
            misses: self.misses.get_or_create_owned(&labels),
            shared: self.shared.get_or_create_owned(&labels),
            fetch_errors: self.fetch_errors.get_or_create_owned(&labels),
            damaged: self.damaged.get_or_create_owned(&labels),
            evictions: self.evictions.get_or_create_owned(&labels),
            inserts: self.inserts.get_or_create_owned(&labels),
            used: self.used.get_or_create_owned(&labels),
            disk_hits: self.disk_hits.get_or_create_owned(&labels),
            disk_writes: self.disk_writes.get_or_create_owned(&labels),
            disk_lost: self.disk_lost.get_or_create_owned(&labels),
            disk_errors: self.disk_errors.get_or_create_owned(&labels),
        }
    }
}

impl CacheMetrics {
    /// Pages found in memory so far, in either pool.
    pub fn hits(&self) -> u64 {
        self.sum(|counters| counters.hits.get())
    }

    /// Pages that had to be fetched so far, into either pool.
    pub fn misses(&self) -> u64 {
        self.sum(|counters| counters.misses.get())
    }

    fn sum(&self, value: impl Fn(&Counters) -> u64) -> u64 {
        Pool::ALL
            .into_iter()
            .map(|pool| value(&self.counters(pool)))
            .sum()
    }
}

/// The counters of one pool.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) shared: Counter,
    pub(crate) fetch_errors: Counter,
    pub(crate) damaged: Counter,
    pub(crate) evictions: Counter,
    pub(crate) inserts: Counter,
    pub(crate) used: Gauge,
    pub(crate) disk_hits: Counter,
    pub(crate) disk_writes: Counter,
    pub(crate) disk_lost: Counter,
    pub(crate) disk_errors: Counter,
}

/// What was counted for one pool, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSnapshot {
    /// Reads that found their page.
    pub hits: u64,
    /// Reads that began a fetch.
    pub misses: u64,
    /// Reads that waited for another's fetch.
    pub shared: u64,
    /// Fetches that failed.
    pub fetch_errors: u64,
    /// Pages that failed their checksum.
    pub damaged: u64,
    /// Pages that left for want of room.
    pub evictions: u64,
    /// Bytes held.
    pub used_bytes: u64,
    /// Pages found on disk.
    pub disk_hits: u64,
    /// Pages that failed their checksum on disk, or were overwritten while they were looked for.
    pub disk_lost: u64,
    /// Failures of the disk.
    pub disk_errors: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> CacheSnapshot {
        CacheSnapshot {
            hits: self.hits.get(),
            misses: self.misses.get(),
            shared: self.shared.get(),
            fetch_errors: self.fetch_errors.get(),
            damaged: self.damaged.get(),
            evictions: self.evictions.get(),
            used_bytes: u64::try_from(self.used.get()).unwrap_or(0),
            disk_hits: self.disk_hits.get(),
            disk_lost: self.disk_lost.get(),
            disk_errors: self.disk_errors.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_is_exported_under_the_documented_names() {
        let mut registry = Registry::default();
        let counters = CacheMetrics::new(&mut registry).counters(Pool::CatchUp);
        counters.hits.inc();
        counters.used.set(7);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tidelog_page_cache_hits_total{pool=\"catch_up\"} 1",
            "tidelog_page_cache_used_bytes{pool=\"catch_up\"} 7",
        ] {
            assert!(text.contains(line), "`{line}` is not in\n{text}");
        }
    }
}
