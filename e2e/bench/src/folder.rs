//! Produce on a local folder, beside raw fsynced writes and Apache Kafka on the same disk.

use std::time::Instant;

use anyhow::Result;
use tidelog_e2e_harness::{Place, Server};

use crate::kafka::{self, Flush};
use crate::load::{Moved, prepare, produce};
use crate::options::Options;
use crate::process::Meter;
use crate::raw;
use crate::report::{Aim, Report};

const SECTION: &str = "folder produce";
const MB: f64 = 1e6;

/// Raw writes, the log and its peer, one after the other on a disk with nothing left to flush.
pub(crate) async fn round(options: &Options, report: &mut Report) -> Result<()> {
    let raw = {
        let scratch = options.scratch()?;
        let meter = Meter::start(&[("writer", std::process::id())])?;
        let raw = raw::files(options, scratch.path().to_owned()).await?;
        let cost = meter.cost(raw.bytes)?.total;
        report.add(SECTION, "raw fsynced writes, CPU per GB", "s/GB", cost);
        raw
    };
    report.add(SECTION, "raw fsynced writes", "MB/s", raw.rate() / MB);
    let log = log(options, report).await?;
    let mut slower = raw.rate();
    match &options.kafka {
        None => report.note(
            SECTION,
            "Apache Kafka is not included: name an installation with `--kafka`",
        ),
        Some(home) => {
            for flush in [Flush::ByKernel, Flush::EachAppend] {
                let scratch = options.scratch()?;
                let peer = kafka::produce(options, home, scratch.path(), flush, log.count).await?;
                let name = flush.describe();
                let rate = peer.moved.rate();
                report.add(SECTION, name, "MB/s", rate / MB);
                report.add(
                    SECTION,
                    &format!("{name}, CPU per GB"),
                    "s/GB",
                    peer.cpu_per_gb,
                );
                report.add(SECTION, &format!("log / {name}"), "", log.rate() / rate);
                if flush == Flush::ByKernel {
                    slower = slower.min(rate);
                }
            }
        }
    }
    let ratio = log.rate() / slower;
    report.add(SECTION, "log / raw", "", log.rate() / raw.rate());
    report.aim(
        SECTION,
        "log / slower of raw and Kafka",
        "",
        ratio,
        Aim::AtLeast(1.0),
    );
    Ok(())
}

/// The log with a last flush of the disk inside its time, though all of it should be there by then.
async fn log(options: &Options, report: &mut Report) -> Result<Moved> {
    let scratch = options.scratch()?;
    raw::sync(scratch.path())?;
    let place = Place::folder(scratch.path().join("log"));
    let mut server = Server::start(options.server(&place)).await?;
    let load = options.load();
    prepare(&server, &load).await?;
    let id = server.process().id();
    let meter = Meter::start(&[("server", id), ("client", std::process::id())])?;
    let start = Instant::now();
    let produced = produce(&server, &load).await?;
    let cost = meter.cost(produced.bytes)?;
    raw::sync(scratch.path())?;
    let moved = Moved::since(start, produced.count, produced.bytes);
    report.add(SECTION, "log", "MB/s", moved.rate() / MB);
    report.cost(SECTION, &cost, Aim::AtMost(0.8));
    report.memory(SECTION, id)?;
    Ok(moved)
}
