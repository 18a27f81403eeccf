//! What was measured.

use std::time::Duration;

use serde::Serialize;

use super::histogram::Histogram;
use crate::cli::output::{Table, grouped, print};
use crate::cli::{Output, Result};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    what: &'static str,
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Latency>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    measured: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    /// So many records with so many bytes of values took so long.
    pub(super) fn new(
        what: &'static str,
        records: u64,
        bytes: u64,
        took: Duration,
        latency: Option<&Histogram>,
    ) -> Self {
        let seconds = took.as_secs_f64().max(1e-9);
        Self {
            what,
            records,
            bytes,
            seconds,
            records_per_second: float(records) / seconds,
            megabytes_per_second: float(bytes) / 1e6 / seconds,
            latency_ms: latency
                .filter(|histogram| histogram.count() > 0)
                .map(Latency::new),
        }
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        print(output, self, || self.table())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["measured", ">value"]);
        let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
        row(self.what, format!("{} records", grouped(self.records)));
        row("time", format!("{:.3} s", self.seconds));
        row("rate", format!("{:.0} records/s", self.records_per_second));
        row(
            "throughput",
            format!("{:.2} MB/s", self.megabytes_per_second),
        );
        if let Some(latency) = &self.latency_ms {
            let quantiles = [
                ("latency p50", latency.p50),
                ("latency p90", latency.p90),
                ("latency p99", latency.p99),
                ("latency p99.9", latency.p999),
                ("latency max", latency.max),
            ];
            for (what, millis) in quantiles {
                row(what, format!("{millis:.2} ms"));
            }
        }
        table
    }
}

impl Latency {
    fn new(histogram: &Histogram) -> Self {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            measured: histogram.count(),
            p50: millis(histogram.per_mille(500)),
            p90: millis(histogram.per_mille(900)),
            p99: millis(histogram.per_mille(990)),
            p999: millis(histogram.per_mille(999)),
            max: millis(histogram.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
const fn float(number: u64) -> f64 {
    number as f64
}
