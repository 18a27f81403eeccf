//! Names, units and help of this crate's metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What a page cache reports. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) shared: Counter,
    pub(crate) inserts: Counter,
}

impl CacheMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_page_cache");
        let metrics = Self::default();
        let counters = [
            ("hits", "pages found in memory", &metrics.hits),
            ("misses", "pages that had to be fetched", &metrics.misses),
            (
                "shared_fetches",
                "readers that waited for another reader's fetch",
                &metrics.shared,
            ),
            (
                "tail_inserts",
                "pages put in by those who wrote them",
                &metrics.inserts,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        metrics
    }

    /// Pages found in memory so far.
    pub fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Pages that had to be fetched so far.
    pub fn misses(&self) -> u64 {
        self.misses.get()
    }
}
