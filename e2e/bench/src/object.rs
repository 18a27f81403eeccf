//! Produce and catch-up consume on S3, beside raw PUT and GET, and consume from memory.

use std::time::Duration;

use anyhow::Result;
use tidelog_e2e_harness::{Bucket, Minio, Server};

use crate::load::{Load, Moved, consume, prepare, produce};
use crate::options::Options;
use crate::process::Meter;
use crate::raw;
use crate::report::{Aim, Report};

const MB: f64 = 1e6;
/// Memory of a server whose page cache is to hold all that was written.
const MEMORY_WARM: u64 = 4 << 30;
/// How long is written for that: far less than the page cache holds.
const WARM_LOAD: Duration = Duration::from_millis(1_500);
/// How often it is read, once more than is measured.
const WARM_PASSES: u64 = 5;

/// Raw rates first, then the log on the same S3 server.
pub(crate) async fn round(options: &Options, minio: &Minio, report: &mut Report) -> Result<()> {
    let temporary = std::env::temp_dir();
    let store = Bucket::open(&minio.create_bucket("raw").await?)?.store();
    let own = std::process::id();
    let raw_roles = [("client", own), ("S3 server", minio.id())];

    let meter = Meter::start(&raw_roles)?;
    let put = raw::puts(options, &store).await?;
    let put_cost = meter.cost(put.bytes)?;
    raw::sync(&temporary)?;
    let meter = Meter::start(&raw_roles)?;
    let get = raw::gets(options, &store, put.count).await?;
    let get_cost = meter.cost(get.bytes)?;

    let place = minio.create_bucket("log").await?;
    let mut server = Server::start(options.server(&place)).await?;
    let load = options.load();
    prepare(&server, &load).await?;
    let roles = |server: u32| [("server", server), raw_roles[0], raw_roles[1]];
    let id = server.process().id();
    let meter = Meter::start(&roles(id))?;
    let produced = produce(&server, &load).await?;
    let cost = meter.cost(produced.bytes)?;
    let section = "s3 produce";
    report.add(section, "raw PUT", "MB/s", put.rate() / MB);
    report.raw_cost(section, "raw PUT", &put_cost);
    speed(
        report,
        section,
        &produced,
        put.rate(),
        cost.ceiling(put.rate(), report.cores()),
    );
    report.cost(section, &cost, Aim::AtMost(0.8));
    report.memory(section, id)?;

    // What was just written is still in the server's memory: another process reads it from the bucket.
    server.stop(Duration::from_secs(30)).await?;
    raw::sync(&temporary)?;
    server.restart().await?;
    let id = server.process().id();
    let meter = Meter::start(&roles(id))?;
    let consumed = consume(&server, &produced).await?;
    let cost = meter.cost(consumed.bytes)?;
    let section = "s3 catch-up consume";
    report.add(section, "raw GET", "MB/s", get.rate() / MB);
    report.raw_cost(section, "raw GET", &get_cost);
    speed(
        report,
        section,
        &consumed,
        get.rate(),
        cost.ceiling(get.rate(), report.cores()),
    );
    report.cost(section, &cost, Aim::AtMost(0.3));
    report.memory(section, id)?;
    drop(server);
    from_memory(options, minio, report).await
}

/// Reads again and again what the server has in its page cache: what it costs to serve bytes that need not be
/// fetched. Kafka serves from the kernel's page cache, so this is what its figure compares with.
async fn from_memory(options: &Options, minio: &Minio, report: &mut Report) -> Result<()> {
    let place = minio.create_bucket("warm").await?;
    let mut server = Server::start(options.server_with(&place, MEMORY_WARM)).await?;
    let load = Load {
        duration: options.load().duration.min(WARM_LOAD),
        ..options.load()
    };
    prepare(&server, &load).await?;
    let produced = produce(&server, &load).await?;
    consume(&server, &produced).await?;

    let roles = [
        ("server", server.process().id()),
        ("client", std::process::id()),
    ];
    let meter = Meter::start(&roles)?;
    let mut moved = Moved {
        count: 0,
        bytes: 0,
        seconds: 0.0,
    };
    for _ in 1..WARM_PASSES {
        let pass = consume(&server, &produced).await?;
        moved.count += pass.count;
        moved.bytes += pass.bytes;
        moved.seconds += pass.seconds;
    }
    let cost = meter.cost(moved.bytes)?;
    let section = "s3 consume from memory";
    report.add(section, "log", "MB/s", moved.rate() / MB);
    report.cost(section, &cost, Aim::AtMost(0.3));
    Ok(())
}

/// The rate of the log beside the raw one and beside the ceiling.
fn speed(report: &mut Report, section: &str, moved: &Moved, raw: f64, ceiling: f64) {
    report.add(section, "log", "MB/s", moved.rate() / MB);
    report.add(section, "log / raw", "", moved.rate() / raw);
    report.add(section, "ceiling", "MB/s", ceiling / MB);
    let ratio = moved.rate() / ceiling;
    report.aim(section, "log / ceiling", "", ratio, Aim::AtLeast(0.85));
}
