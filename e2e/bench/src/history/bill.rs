//! Requests for each GiB that is written, with its merging, and what merging does to producers.

use anyhow::{Context, Result, ensure};
use tidelog_client::{Consumer, ConsumerOptions};
use tidelog_e2e_harness::{Minio, Place, Server};
use tokio::sync::oneshot;

use super::{GIB, Requests, load, merged, server};
use crate::load::{Moved, prepare, produce};
use crate::options::Options;
use crate::process::Meter;
use crate::report::{Aim, Report, float};

const SECTION: &str = "history: 100 MB/s to 12 partitions";
const BESIDE: &str = "history: producers beside merging";
const MB: f64 = 1e6;

/// Writes the history while somebody reads its tail, and waits until it is merged.
pub(super) async fn round(
    options: &Options,
    place: &Place,
    report: &mut Report,
) -> Result<(Server, Moved)> {
    let mut server = Server::start(server(options, place)).await?;
    let load = load(options, options.history_mib << 20);
    prepare(&server, &load).await?;
    let before = Requests::of(&server).await?;
    let (done, end) = oneshot::channel();
    // What is written before it has begun is not its tail.
    let mut consumer = server
        .client()?
        .consumer("bench", ConsumerOptions::default());
    consumer.begin().await?;
    let tail = tokio::spawn(follow(consumer, end));
    let meter = Meter::start(&[("server", server.process().id())])?;
    let produced = produce(&server, &load).await?;
    let cost = meter.cost(produced.bytes)?;
    let read = Requests::of(&server).await?;
    let _ = done.send(produced.count);
    tail.await?.context("the tail was not read")?;
    merged(&server).await?;
    let after = Requests::of(&server).await?;

    let gib = float(produced.bytes) / GIB;
    let per_gib = |count: f64| count / gib;
    let since = |operation, role, purpose| {
        let count = |of: &Requests| of.count(operation, role, purpose);
        per_gib(count(&after) - count(&before))
    };
    report.add(SECTION, "produce", "MB/s", produced.rate() / MB);
    report.aim(
        SECTION,
        "segments put",
        "/GiB",
        since("put", "broker", "segment"),
        Aim::AtMost(170.0),
    );
    report.aim(
        SECTION,
        "merged segments put",
        "/GiB",
        since("put", "janitor", "segment"),
        Aim::AtMost(24.0),
    );
    let gets = since("get_range", "janitor", "segment");
    report.add(SECTION, "parts read to merge", "/GiB", gets);
    let store = per_gib(after.of_role("store") - before.of_role("store"));
    report.add(SECTION, "requests of the store", "/GiB", store);
    let pages = per_gib(read.pages() - before.pages());
    report.aim(
        SECTION,
        "pages read for the tail",
        "/GiB",
        pages,
        Aim::AtMost(0.0),
    );
    report.busy(SECTION, &cost);
    Ok((server, produced))
}

/// Reads the tail until as many records have come as were written.
async fn follow(mut consumer: Consumer, mut end: oneshot::Receiver<u64>) -> Result<()> {
    let (mut records, mut total) = (0, None);
    while total.is_none_or(|total| records < total) {
        tokio::select! {
            chunk = consumer.next() => records += chunk?.context("the tail ended")?.offsets.count(),
            count = &mut end, if total.is_none() => total = Some(count?),
        }
    }
    ensure!(
        Some(records) == total,
        "{records} records were read of {total:?}"
    );
    Ok(())
}

/// The same load with and without merging: the rate that producers get, and the longest they wait for it.
pub(super) async fn beside_none(
    options: &Options,
    minio: &Minio,
    report: &mut Report,
) -> Result<()> {
    let mut rates = Vec::new();
    for merge in ["false", "true"] {
        let place = minio.create_bucket(&format!("merge-{merge}")).await?;
        // Merged as soon as there is something, all the while.
        let own = server(options, &place)
            .with("metadata.merge", merge)
            .with("metadata.checkpoint_interval", "1s")
            .with("metadata.merge_age", "5s");
        let server = Server::start(own).await?;
        let load = load(options, options.history_mib << 19);
        prepare(&server, &load).await?;
        let produced = produce(&server, &load).await?;
        let puts = Requests::of(&server)
            .await?
            .count("put", "janitor", "segment");
        ensure!(
            (merge == "true") == (puts > 0.0),
            "`{puts}` merges with merge={merge}"
        );
        let what = if merge == "true" {
            "with merging"
        } else {
            "without"
        };
        report.add(BESIDE, what, "MB/s", produced.rate() / MB);
        rates.push(produced.rate());
    }
    if let [without, with] = rates[..] {
        report.aim(
            BESIDE,
            "with / without",
            "",
            with / without,
            Aim::AtLeast(0.95),
        );
    }
    Ok(())
}
