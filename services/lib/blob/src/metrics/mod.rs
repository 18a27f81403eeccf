//! What is measured of the object store: names and help in one place, and the counters themselves.

mod meter;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub(crate) use meter::Traffic;
pub use meter::{Meter, MeterSnapshot, OperationSnapshot};

/// Name of the count of requests; the exporter appends `_total`.
pub const REQUESTS: &str = "tidelog_blob_requests";
/// Help of [`REQUESTS`].
pub const REQUESTS_HELP: &str = "Requests sent to the object store, by operation (a part of an object is `get_range`), role and purpose";
/// Name of the count of failed requests; the exporter appends `_total`.
pub const ERRORS: &str = "tidelog_blob_errors";
/// Help of [`ERRORS`].
pub const ERRORS_HELP: &str =
    "Requests to the object store that failed, by operation, role and kind";
/// Name of the count of bytes sent; the exporter appends `_bytes_total`.
pub const SENT: &str = "tidelog_blob_sent";
/// Help of [`SENT`].
pub const SENT_HELP: &str =
    "Bytes of bodies sent to the object store, by operation, role and purpose";
/// Name of the count of bytes received; the exporter appends `_bytes_total`.
pub const RECEIVED: &str = "tidelog_blob_received";
/// Help of [`RECEIVED`].
pub const RECEIVED_HELP: &str =
    "Bytes of bodies received from the object store, by operation, role and purpose";
/// Name of the histogram of latencies; the exporter appends `_seconds`.
pub const LATENCY: &str = "tidelog_blob_request_latency";
/// Help of [`LATENCY`].
pub const LATENCY_HELP: &str =
    "Time from the request to the end of its answer, body included, by operation and role";
/// Name of the count of repeated requests; the exporter appends `_total`.
pub const RETRIES: &str = "tidelog_blob_retries";
/// Help of [`RETRIES`].
pub const RETRIES_HELP: &str =
    "Requests that were sent again after an error, by operation and role";
/// Name of the count of hedges sent; the exporter appends `_total`.
pub const HEDGES: &str = "tidelog_blob_hedges";
/// Help of [`HEDGES`].
pub const HEDGES_HELP: &str =
    "Second requests sent because the first was slow, by operation and role";
/// Name of the count of hedges that came first; the exporter appends `_total`.
pub const HEDGES_WON: &str = "tidelog_blob_hedges_won";
/// Help of [`HEDGES_WON`].
pub const HEDGES_WON_HELP: &str = "Second requests that were answered first, by operation and role";

/// How many names S3 gives in one answer to a listing; the next ones are another request.
pub const LIST_PAGE_ITEMS: u64 = 1000;

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// An object in one request.
    Put,
    /// Beginning, completing or aborting an upload of many parts.
    Multipart,
    /// One part of such an upload.
    Part,
    /// Bytes of an object.
    Get,
    /// What is known of an object, without its bytes.
    Head,
    /// A page of a listing, which has up to [`LIST_PAGE_ITEMS`] names.
    List,
    /// The deletion of one object; stores that delete many in one request count each.
    Delete,
    /// A copy or rename within the store.
    Copy,
}

impl Operation {
    /// All operations, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Put,
        Self::Multipart,
        Self::Part,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Copy,
    ];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Multipart => "multipart",
            Self::Part => "part",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }
}

/// Who asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Segments, written and read by a broker.
    Broker,
    /// The embedded store.
    Store,
    /// The caching read tier.
    Reader,
    /// Background work.
    Janitor,
    /// Set-up, checks and commands of people.
    Admin,
}

impl Role {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Store => "store",
            Self::Reader => "reader",
            Self::Janitor => "janitor",
            Self::Admin => "admin",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    role: &'static str,
}

/// What requests and bytes are counted by. The operation tells a part of an object from a whole one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrafficLabels {
    operation: &'static str,
    role: &'static str,
    purpose: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: &'static str,
    role: &'static str,
    kind: &'static str,
}

/// Half a millisecond (a local file) to about half a minute.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// The families of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<TrafficLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    sent: Family<TrafficLabels, Counter>,
    received: Family<TrafficLabels, Counter>,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
    retries: Family<Labels, Counter>,
    hedges: Family<Labels, Counter>,
    hedges_won: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        registry.register(REQUESTS, REQUESTS_HELP, metrics.requests.clone());
        registry.register(ERRORS, ERRORS_HELP, metrics.errors.clone());
        registry.register_with_unit(SENT, SENT_HELP, Unit::Bytes, metrics.sent.clone());
        registry.register_with_unit(
            RECEIVED,
            RECEIVED_HELP,
            Unit::Bytes,
            metrics.received.clone(),
        );
        registry.register_with_unit(
            LATENCY,
            LATENCY_HELP,
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register(RETRIES, RETRIES_HELP, metrics.retries.clone());
        registry.register(HEDGES, HEDGES_HELP, metrics.hedges.clone());
        registry.register(HEDGES_WON, HEDGES_WON_HELP, metrics.hedges_won.clone());
        metrics
    }

    /// Families that nobody exports, for tests.
    pub fn unregistered() -> Self {
        Self {
            requests: Family::default(),
            errors: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            retries: Family::default(),
            hedges: Family::default(),
            hedges_won: Family::default(),
        }
    }

    /// The counters of one role.
    pub fn meter(&self, role: Role) -> Meter {
        Meter::new(self, role)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use std::time::Duration;

    use super::*;
    use crate::errors::ErrorKind;
    use crate::purpose::Purpose;

    #[test]
    fn operations_are_numbered_in_their_order() {
        for (number, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, number);
        }
    }

    #[test]
    fn what_is_counted_is_exported_under_the_documented_names() {
        let mut registry = Registry::default();
        let meter = Metrics::register(&mut registry).meter(Role::Broker);
        meter.begin(Traffic::of(Operation::Put, Purpose::Segment), 10);
        meter.begin(Traffic::ranged(Purpose::StoreTable), 0);
        meter.received(Traffic::ranged(Purpose::StoreTable), 7);
        meter.end(Operation::Put, Duration::from_millis(3));
        meter.error(Operation::Get, ErrorKind::Throttled);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tidelog_blob_requests_total{operation=\"put\",role=\"broker\",purpose=\"segment\"} 1",
            "tidelog_blob_requests_total{operation=\"get_range\",role=\"broker\",purpose=\"store_table\"} 1",
            "tidelog_blob_received_bytes_total{operation=\"get_range\",role=\"broker\",purpose=\"store_table\"} 7",
            "tidelog_blob_sent_bytes_total{operation=\"put\",role=\"broker\",purpose=\"segment\"} 10",
            "tidelog_blob_request_latency_seconds_count{operation=\"put\",role=\"broker\"} 1",
            "tidelog_blob_errors_total{operation=\"get\",role=\"broker\",kind=\"throttled\"} 1",
        ] {
            assert!(text.contains(line), "`{line}` is not in\n{text}");
        }
        let put = meter.snapshot().get(Operation::Put);
        assert_eq!((put.requests, put.sent_bytes, put.errors), (1, 10, 0));
        let get = meter.snapshot().get(Operation::Get);
        assert_eq!((get.requests, get.received_bytes), (1, 7));
        assert_eq!(meter.snapshot().requests(), 2);
        assert!(
            !text.contains("purpose=\"backup\""),
            "nothing was asked for one"
        );
    }
}
