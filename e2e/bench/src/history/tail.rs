//! How long a record takes from one end to the other, while somebody reads the whole history.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::Server;
use tokio::time::{Instant, sleep};

use super::restarted;
use crate::options::Options;
use crate::report::{Aim, Report, float};

const SECTION: &str = "history: the tail beside a scan";
/// Records of the tail in a second.
const RATE: u32 = 500;
/// Bytes a second that the scan keeps to. Without a bound it takes all cores, which says more of the machine than of
/// the log.
const SCAN_RATE: u32 = 100_000_000;
const MB: f64 = 1e6;

pub(super) async fn round(
    options: &Options,
    server: &mut Server,
    report: &mut Report,
) -> Result<()> {
    restarted(server).await?;
    let alone = latency(options, server).await?;
    let scan = tokio::spawn(scan(server.client()?));
    let beside = latency(options, server).await;
    scan.abort();
    let beside = beside?;
    report.add(SECTION, "p50 alone", "ms", alone.p50);
    report.add(SECTION, "p50 beside it", "ms", beside.p50);
    report.add(SECTION, "p99 alone", "ms", alone.p99);
    report.add(SECTION, "p99 beside it", "ms", beside.p99);
    let ratio = beside.p99 / alone.p99;
    report.aim(SECTION, "p99 beside / alone", "", ratio, Aim::AtMost(1.2));
    report.note(
        SECTION,
        &format!("the scan reads {} MB/s", f64::from(SCAN_RATE) / MB),
    );
    Ok(())
}

struct Latency {
    p50: f64,
    p99: f64,
}

/// Writes and reads for a while at a rate; in milliseconds.
async fn latency(options: &Options, server: &Server) -> Result<Latency> {
    let duration = format!("{}s", options.seconds.saturating_mul(2));
    let rate = RATE.to_string();
    let arguments = [
        "bench",
        "e2e",
        "--topic",
        "tail",
        "--keep",
        "--partitions",
        "4",
        "--rate",
        &rate,
        "--duration",
        &duration,
        "-o",
        "json",
    ];
    let said: Value = serde_json::from_str(&server.cli().ok(&arguments).await?)?;
    let of = |key: &str| said["latency_ms"][key].as_f64().context("a latency");
    Ok(Latency {
        p50: of("p50")?,
        p99: of("p99")?,
    })
}

/// Reads everything from its beginning, again and again, no faster than it may.
async fn scan(client: Client) -> Result<()> {
    loop {
        let mut consumer = client.consumer("bench", ConsumerOptions::all_until_end());
        let start = Instant::now();
        let mut bytes = 0;
        while let Some(chunk) = consumer.next().await? {
            bytes += chunk.batches().len() as u64;
            let due = Duration::from_secs_f64(float(bytes) / f64::from(SCAN_RATE));
            sleep(due.saturating_sub(start.elapsed())).await;
        }
    }
}
