//! Names, units and help of this crate's metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidelog_env::register_each;

/// Why a segment was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It reached its size, its slices or its manifest's size.
    Full,
    /// Its linger was over.
    Linger,
    /// Nothing was being uploaded.
    Idle,
    /// The broker drains.
    Drain,
    /// Memory is short, and its class would have waited for more.
    Memory,
    /// It is committed together with its bytes, and no other one of its class is under way so.
    Express,
}

impl CloseReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Linger => "linger",
            Self::Idle => "idle",
            Self::Drain => "drain",
            Self::Memory => "memory",
            Self::Express => "express",
        }
    }
}

/// The label of a closed segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What the write path reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct AppendMetrics {
    pub(crate) records: Counter,
    pub(crate) batches: Counter,
    pub(crate) bytes: Counter,
    pub(crate) failed: Counter,
    pub(crate) segments: Counter,
    pub(crate) inline_segments: Counter,
    pub(crate) segment_bytes: Histogram,
    pub(crate) upload_seconds: Histogram,
    pub(crate) uploads_failed: Counter,
    pub(crate) hedges: Counter,
    pub(crate) answer_seconds: Histogram,
    pub(crate) commit_retries: Counter,
    pub(crate) unanswered: Gauge,
    closed: Family<ReasonLabel, Counter>,
}

impl AppendMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_append");
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 18));
        let metrics = Self {
            records: Counter::default(),
            batches: Counter::default(),
            bytes: Counter::default(),
            failed: Counter::default(),
            segments: Counter::default(),
            inline_segments: Counter::default(),
            segment_bytes: Histogram::new(exponential_buckets(1_024.0, 2.0, 15)),
            upload_seconds: seconds(),
            uploads_failed: Counter::default(),
            hedges: Counter::default(),
            answer_seconds: seconds(),
            commit_retries: Counter::default(),
            unanswered: Gauge::default(),
            closed: Family::default(),
        };
        metrics.register_counters(registry);
        metrics.register_rest(registry);
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        let counters = [
            ("records", "records appended", &self.records),
            ("batches", "record batches appended", &self.batches),
            (
                "failed_batches",
                "record batches that were not appended",
                &self.failed,
            ),
            ("segments", "segments stored", &self.segments),
            (
                "inline_segments",
                "segments that were sent to be committed together with their bytes, and not stored in the bucket",
                &self.inline_segments,
            ),
            (
                "failed_uploads",
                "segments that the bucket did not take",
                &self.uploads_failed,
            ),
            (
                "hedges",
                "uploads that were begun a second time since they were slow",
                &self.hedges,
            ),
            (
                "commit_retries",
                "commits that were asked for again since no answer came",
                &self.commit_retries,
            ),
        ];
        register_each(registry, &counters);
        registry.register_with_unit(
            "appended",
            "bytes of record batches appended",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    fn register_rest(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "segment_size",
            "length of stored segments",
            Unit::Bytes,
            self.segment_bytes.clone(),
        );
        registry.register_with_unit(
            "upload_duration",
            "time to store a segment, with attempts and hedges",
            Unit::Seconds,
            self.upload_seconds.clone(),
        );
        registry.register_with_unit(
            "answer_duration",
            "time from the close of a segment to its last answer",
            Unit::Seconds,
            self.answer_seconds.clone(),
        );
        registry.register(
            "unanswered_segments",
            "segments that are closed and not yet answered",
            self.unanswered.clone(),
        );
        registry.register(
            "closed_segments",
            "segments closed, by reason",
            self.closed.clone(),
        );
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.closed
            .get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            })
            .inc();
    }
}

/// What the read path reports. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct FetchMetrics {
    pub(crate) fetches: Counter,
    pub(crate) bytes: Counter,
    pub(crate) waits: Counter,
    pub(crate) lookups: Counter,
    pub(crate) extent_hits: Counter,
    pub(crate) damaged: Counter,
    pub(crate) missing: Counter,
    pub(crate) gets: Counter,
    pub(crate) ahead: Counter,
    pub(crate) waits_for_others: Counter,
    pub(crate) reread: Counter,
}

impl FetchMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tidelog_fetch");
        let metrics = Self {
            fetches: Counter::default(),
            bytes: Counter::default(),
            waits: Counter::default(),
            lookups: Counter::default(),
            extent_hits: Counter::default(),
            damaged: Counter::default(),
            missing: Counter::default(),
            gets: Counter::default(),
            ahead: Counter::default(),
            waits_for_others: Counter::default(),
            reread: Counter::default(),
        };
        let counters = [
            ("requests", "fetches answered", &metrics.fetches),
            (
                "waits",
                "fetches that waited for new records",
                &metrics.waits,
            ),
            (
                "lookups",
                "extents asked of the metadata service",
                &metrics.lookups,
            ),
            (
                "extent_hits",
                "extents found in memory",
                &metrics.extent_hits,
            ),
            (
                "damaged_extents",
                "extents whose bytes failed their checksum; they were not served",
                &metrics.damaged,
            ),
            (
                "missing_objects",
                "segments that were not found in the bucket",
                &metrics.missing,
            ),
            ("gets", "pages read from the bucket", &metrics.gets),
            (
                "gets_ahead",
                "pages asked for before they were wanted",
                &metrics.ahead,
            ),
            (
                "waits_for_others",
                "fetches of old data that waited, so that who reads the same and had fallen behind could catch up",
                &metrics.waits_for_others,
            ),
            (
                "reread_extents",
                "extents that were read again from the bucket, since what was at hand of them failed its checksum",
                &metrics.reread,
            ),
        ];
        register_each(registry, &counters);
        registry.register_with_unit(
            "fetched",
            "bytes of record batches handed out",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        metrics
    }
}
