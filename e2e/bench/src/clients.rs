//! Kafka's own load generators, the same for all: Apache Kafka on a disk, the log on a folder of it, the log on S3.

use std::path::Path;

use anyhow::Result;
use tidelog_e2e_harness::{Bucket, Minio, Place, Server};

use crate::java::{Run, Target, broker};
use crate::options::Options;
use crate::process::Meter;
use crate::raw;
use crate::report::{Aim, Report, float};

const MB: f64 = 1e6;
const GB: f64 = 1e9;
/// As of our own producer. Five requests of at most a mebibyte, which is the default, would be all that is on its way.
const PRODUCER: [&str; 6] = [
    "acks=all",
    "enable.idempotence=true",
    "batch.size=524288",
    "max.request.size=8388608",
    "linger.ms=5",
    "buffer.memory=134217728",
];
/// About how many bytes a second are written, so that a phase takes as long as it should.
const GUESS: u64 = 150_000_000;

/// Rates of one target, in bytes a second, and CPU seconds per GB of all processes.
#[derive(Clone, Copy, Debug)]
struct Rates {
    produce: f64,
    produce_cpu: f64,
    consume: f64,
    consume_cpu: f64,
}

pub(crate) async fn round(options: &Options, report: &mut Report) -> Result<()> {
    let kafka = apache(options, report).await?;
    let folder = options.scratch()?;
    let place = Place::folder(folder.path().join("log"));
    let log = log(
        options,
        &place,
        folder.path(),
        &[],
        report,
        "log on a folder",
    )
    .await?;
    let ratio = |one: f64, other: f64| one / other;
    report.aim(
        "clients produce",
        "log on a folder / Kafka",
        "",
        ratio(log.produce, kafka.produce),
        Aim::AtLeast(1.0),
    );
    report.aim(
        "clients consume",
        "log on a folder / Kafka",
        "",
        ratio(log.consume, kafka.consume),
        Aim::AtLeast(1.0),
    );
    drop(folder);
    s3(options, report).await
}

fn records(options: &Options) -> u64 {
    GUESS * options.seconds / options.record_bytes as u64
}

async fn apache(options: &Options, report: &mut Report) -> Result<Rates> {
    let folder = options.scratch()?;
    let (process, address) = broker(folder.path()).await?;
    let target = Target {
        address,
        partitions: options.partitions,
        record_bytes: options.record_bytes,
    };
    measure(
        options,
        target,
        &[("server", process.id())],
        folder.path(),
        (report, "Kafka"),
    )
}

async fn log(
    options: &Options,
    place: &Place,
    disk: &Path,
    others: &[(&'static str, u32)],
    report: &mut Report,
    name: &str,
) -> Result<Rates> {
    let mut server = Server::start(options.server(place)).await?;
    let target = Target {
        address: server.kafka(),
        partitions: options.partitions,
        record_bytes: options.record_bytes,
    };
    let own = [("server", server.process().id())];
    let roles = [&own[..], others].concat();
    measure(options, target, &roles, disk, (report, name))
}

/// The log on S3, beside the ceiling that raw requests and the cores set.
async fn s3(options: &Options, report: &mut Report) -> Result<()> {
    let minio = Minio::start().await?;
    let store = Bucket::open(&minio.create_bucket("raw").await?)?.store();
    let temporary = std::env::temp_dir();
    let put = raw::puts(options, &store).await?;
    raw::sync(&temporary)?;
    let get = raw::gets(options, &store, put.count).await?;
    let place = minio.create_bucket("log").await?;
    let others = [("S3 server", minio.id())];
    let rates = log(options, &place, &temporary, &others, report, "log on S3").await?;
    let ceiling = |raw: f64, cpu: f64| raw.min(report.cores() * GB / cpu);
    let produce = rates.produce / ceiling(put.rate(), rates.produce_cpu);
    let consume = rates.consume / ceiling(get.rate(), rates.consume_cpu);
    report.add("clients produce", "raw PUT", "MB/s", put.rate() / MB);
    report.add("clients consume", "raw GET", "MB/s", get.rate() / MB);
    let what = "log on S3 / ceiling";
    report.aim("clients produce", what, "", produce, Aim::AtLeast(0.85));
    report.aim("clients consume", what, "", consume, Aim::AtLeast(0.85));
    Ok(())
}

/// Writes and reads; what has not reached the disk does so after each phase.
fn measure(
    options: &Options,
    target: Target,
    roles: &[(&'static str, u32)],
    disk: &Path,
    (report, name): (&mut Report, &str),
) -> Result<Rates> {
    target.create_topic()?;
    let records = records(options);
    let meter = Meter::start(roles)?;
    let run = target.produce(records, &PRODUCER)?;
    let (produce, produce_cpu) = told(report, "clients produce", name, (&meter, &run))?;
    raw::sync(disk)?;
    let meter = Meter::start(roles)?;
    let run = target.consume(records)?;
    let (consume, consume_cpu) = told(report, "clients consume", name, (&meter, &run))?;
    Ok(Rates {
        produce,
        produce_cpu,
        consume,
        consume_cpu,
    })
}

/// Adds the rate and the CPU seconds of each process; gives the rate and the sum of these.
fn told(
    report: &mut Report,
    section: &str,
    name: &str,
    (meter, run): (&Meter, &Run),
) -> Result<(f64, f64)> {
    let cost = meter.cost(run.moved.bytes)?;
    report.add(section, name, "MB/s", run.moved.rate() / MB);
    for (role, value) in &cost.roles {
        let what = format!("{name}, CPU per GB, {role}");
        report.add(section, &what, "s/GB", *value);
    }
    let client = run.cpu * GB / float(run.moved.bytes);
    let what = format!("{name}, CPU per GB, client");
    report.add(section, &what, "s/GB", client);
    Ok((run.moved.rate(), cost.total + client))
}
