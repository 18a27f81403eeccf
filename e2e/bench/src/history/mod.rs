//! History: what it costs to write and merge it, reading it back, and the tail beside a scan of all of it.
//!
//! Writers keep to a rate here, since what counts is requests for each GiB and what they do to others, not how fast it
//! could go.

mod bill;
mod read;
mod tail;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Ended, Minio, Place, Server, ServerOptions, metric, until};

use crate::load::Load;
use crate::options::Options;
use crate::report::Report;

/// Partitions of the history.
const PARTITIONS: u32 = 12;
/// Bytes that are written in a second.
const WRITE_RATE: u64 = 100_000_000;
const GIB: f64 = 1_073_741_824.0;
/// What was written last is merged by then: the age at which it is, checkpoints, and the merge.
const MERGED_LIMIT: Duration = Duration::from_mins(5);

/// All of it, on one history.
pub(crate) async fn round(options: &Options, minio: &Minio, report: &mut Report) -> Result<()> {
    let place = minio.create_bucket("history").await?;
    let (mut server, produced) = bill::round(options, &place, report).await?;
    read::round(options, minio, &mut server, &produced, report).await?;
    tail::round(options, &mut server, report).await?;
    drop(server);
    bill::beside_none(options, minio, report).await
}

/// The server's defaults, but that what was merged is deleted soon: what is in the bucket is what is counted with.
fn server(options: &Options, place: &Place) -> ServerOptions {
    options.server(place).with("janitor.grace", "1s")
}

/// A load of so many bytes at the rate of all loads here.
fn load(options: &Options, bytes: u64) -> Load {
    Load {
        partitions: PARTITIONS,
        duration: Duration::from_secs(bytes / WRITE_RATE).max(options.duration()),
        bytes_per_second: Some(WRITE_RATE),
        ..options.load()
    }
}

/// Waits until all that was written is merged.
async fn merged(server: &Server) -> Result<()> {
    until(
        "what was written last is merged",
        MERGED_LIMIT,
        async || {
            let page = server.metrics().await.ok()?;
            let since = "tidelog_sequencer_shard_tail_since_seconds";
            metric(&page, since, &[]).is_none().then_some(())
        },
    )
    .await
}

/// What a server has counted of requests to the bucket.
#[derive(Debug)]
struct Requests(String);

impl Requests {
    async fn of(server: &Server) -> Result<Self> {
        Ok(Self(server.metrics().await?))
    }

    /// So many of a kind, of those that were sent since the server was started.
    fn count(&self, operation: &str, role: &str, purpose: &str) -> f64 {
        let label = |name: &str, value: &str| format!("{name}=\"{value}\"");
        let labels = [
            label("operation", operation),
            label("role", role),
            label("purpose", purpose),
        ];
        let labels = labels.each_ref().map(String::as_str);
        metric(&self.0, "tidelog_blob_requests_total", &labels).unwrap_or(0.0)
    }

    /// Those of one role, of all kinds, but for deletions: nobody charges those.
    fn of_role(&self, role: &str) -> f64 {
        let role = format!("role=\"{role}\"");
        let all = metric(&self.0, "tidelog_blob_requests_total", &[&role]);
        let deletions = ["operation=\"delete\"", &role];
        let deletions = metric(&self.0, "tidelog_blob_requests_total", &deletions);
        all.unwrap_or(0.0) - deletions.unwrap_or(0.0)
    }

    /// Parts of segments that the broker asked for.
    fn pages(&self) -> f64 {
        self.count("get_range", "broker", "segment") + self.count("get", "broker", "segment")
    }
}

/// A server that remembers nothing.
async fn restarted(server: &mut Server) -> Result<()> {
    let ended = server.stop(Duration::from_mins(1)).await?;
    ensure!(ended == Ended::Code(0), "the server ended with {ended:?}");
    server.wipe()?;
    server.restart().await.context("it does not start again")
}
