//! Merged history read back by a server that remembers nothing: all of it, one partition of it, and ten times at once.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tidelog_client::ConsumerOptions;
use tidelog_e2e_harness::{Bucket, Minio, Server, metric};

use super::{GIB, PARTITIONS, Requests, restarted};
use crate::load::{Moved, consume, read};
use crate::options::{Options, PAGE_BYTES};
use crate::process::Meter;
use crate::raw;
use crate::report::{Aim, Report, float};

const SECTION: &str = "history: read back";
const MB: f64 = 1e6;
/// Consumers that read the same at once.
const CONSUMERS: usize = 10;

pub(super) async fn round(
    options: &Options,
    minio: &Minio,
    server: &mut Server,
    produced: &Moved,
    report: &mut Report,
) -> Result<()> {
    let store = Bucket::open(&minio.create_bucket("history-raw").await?)?.store();
    let put = raw::puts(options, &store).await?;
    raw::sync(&std::env::temp_dir())?;
    let get = raw::gets(options, &store, put.count).await?;

    // Each run of a merge is a slice.
    let page = server.metrics().await?;
    let runs = metric(&page, "tidelog_merge_runs_total", &["reason=\"swapped\""]);
    let slices = runs.context("nothing was merged")? / f64::from(PARTITIONS);
    restarted(server).await?;
    let roles = [
        ("server", server.process().id()),
        ("client", std::process::id()),
        ("S3 server", minio.id()),
    ];
    let meter = Meter::start(&roles)?;
    let all = consume(server, produced).await?;
    let cost = meter.cost(all.bytes)?;
    let ceiling = cost.ceiling(get.rate(), report.cores());
    let gib = float(produced.bytes) / GIB;
    report.add(SECTION, "raw GET", "MB/s", get.rate() / MB);
    report.add(SECTION, "log", "MB/s", all.rate() / MB);
    report.aim(
        SECTION,
        "log / ceiling",
        "",
        all.rate() / ceiling,
        Aim::AtLeast(0.9),
    );
    report.cost(SECTION, &cost, Aim::AtMost(0.3));
    let pages = Requests::of(server).await?.pages();
    report.aim(SECTION, "GETs", "/GiB", pages / gib, Aim::AtMost(260.0));

    one_partition(server, produced, slices, report).await?;
    many(server, produced, pages, report).await
}

/// One partition: its slices lie in other segments each.
async fn one_partition(
    server: &mut Server,
    produced: &Moved,
    slices: f64,
    report: &mut Report,
) -> Result<()> {
    restarted(server).await?;
    let options = ConsumerOptions {
        partitions: vec![0],
        ..ConsumerOptions::all_until_end()
    };
    let records = read(&server.client()?, options).await?;
    ensure!(records > 0, "partition 0 is empty");
    let share = float(records) / float(produced.count);
    let slice = float(produced.bytes) * share / slices;
    let needed = slices * (slice / float(PAGE_BYTES)).ceil();
    let gets = Requests::of(server).await?.pages();
    let what = "GETs of one partition / its slices x pages of each";
    report.add(SECTION, "slices of a partition", "", slices);
    report.add(SECTION, "bytes of a slice", "MB", slice / MB);
    report.aim(SECTION, what, "", gets / needed, Aim::AtMost(1.1));
    Ok(())
}

/// Ten who read the same at once cost what one does.
async fn many(
    server: &mut Server,
    produced: &Moved,
    pages: f64,
    report: &mut Report,
) -> Result<()> {
    restarted(server).await?;
    let readers = (0..CONSUMERS).map(|_| consume(server, produced));
    try_join_all(readers).await?;
    let gets = Requests::of(server).await?.pages();
    let what = "GETs of ten consumers / of one";
    report.aim(SECTION, what, "", gets / pages, Aim::AtMost(1.1));
    report.note(SECTION, &format!("{PARTITIONS} partitions, merged"));
    Ok(())
}
