//! Produce and catch-up consume on S3, beside raw PUT and GET.

use anyhow::Result;
use tidelog_e2e_harness::{Bucket, Minio, Server};

use crate::load::{Moved, consume, prepare, produce};
use crate::options::Options;
use crate::process::Meter;
use crate::raw;
use crate::report::{Aim, Report};

const MB: f64 = 1e6;

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
    server.stop(std::time::Duration::from_secs(30)).await?;
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
