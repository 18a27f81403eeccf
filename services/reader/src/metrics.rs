//! What is measured of the read tier, on both sides.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a page that a broker wanted of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The reader gave it: a request to the bucket less.
    Hit,
    /// There was no reader to ask: none in the zone, or all are left alone.
    Nobody,
    /// This process is the reader that has it, or has to get it.
    Own,
    /// The reader had no room, or could not get it.
    Refused,
    /// The reader could not be reached or failed.
    Failed,
    /// The reader did not answer in time.
    Slow,
    /// What came was not what was sent.
    Corrupt,
}

/// What became of a page that a broker offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The reader has it.
    Taken,
    /// Too many were under way.
    Dropped,
    /// No reader took it.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

impl Asked {
    /// The label's value.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Nobody => "nobody",
            Self::Own => "own",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Corrupt => "corrupt",
        }
    }
}

impl Offered {
    /// The label's value.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// What a broker counts.
#[derive(Clone, Debug, Default)]
pub struct TierMetrics {
    asked: Family<Labels, Counter>,
    offered: Family<Labels, Counter>,
    pub(crate) distrusted: Counter,
    pub(crate) readers: Gauge,
}

impl TierMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_read_tier");
        let metrics = Self::default();
        registry.register(
            "pages",
            "pages wanted of readers, by what became of it; each hit is a request to the bucket less",
            metrics.asked.clone(),
        );
        registry.register(
            "offers",
            "pages just written that were offered to readers, by what became of it",
            metrics.offered.clone(),
        );
        registry.register(
            "distrusted_pages",
            "pages that a reader gave and that failed the checksums of the log",
            metrics.distrusted.clone(),
        );
        registry.register(
            "readers",
            "readers that this broker knows in its zone",
            metrics.readers.clone(),
        );
        metrics
    }

    pub(crate) fn asked(&self, outcome: Asked) {
        counter(&self.asked, outcome.as_str()).inc();
    }

    pub(crate) fn offered(&self, outcome: Offered) {
        counter(&self.offered, outcome.as_str()).inc();
    }

    #[cfg(test)]
    pub(crate) fn count_asked(&self, outcome: Asked) -> u64 {
        counter(&self.asked, outcome.as_str()).get()
    }

    #[cfg(test)]
    pub(crate) fn count_offered(&self, outcome: Offered) -> u64 {
        counter(&self.offered, outcome.as_str()).get()
    }
}

fn counter(family: &Family<Labels, Counter>, outcome: &'static str) -> Counter {
    family.get_or_create_owned(&Labels { outcome })
}

/// What a reader counts.
#[derive(Clone, Debug, Default)]
pub struct ReaderMetrics {
    pub(crate) served: Counter,
    pub(crate) put: Counter,
    pub(crate) refused: Counter,
    pub(crate) failed: Counter,
    pub(crate) forgotten: Counter,
    /// Requests to the bucket.
    pub gets: Counter,
}

impl ReaderMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_reader");
        let metrics = Self::default();
        let counters = [
            ("pages_served", "pages given to brokers", &metrics.served),
            (
                "pages_put",
                "pages that brokers had just written",
                &metrics.put,
            ),
            (
                "pages_refused",
                "pages that were not taken or given for want of memory",
                &metrics.refused,
            ),
            (
                "pages_failed",
                "pages that could not be had, or came damaged",
                &metrics.failed,
            ),
            (
                "pages_forgotten",
                "pages that brokers found to be wrong",
                &metrics.forgotten,
            ),
            ("gets", "pages read from the bucket", &metrics.gets),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        metrics
    }
}
