//! Apache Kafka as a peer: one broker on the same disk, with Kafka's own load generator.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Process, free_port, until};
use tokio::net::TcpStream;

use crate::load::Moved;
use crate::options::Options;
use crate::process::Meter;
use crate::raw;

const START_LIMIT: Duration = Duration::from_mins(1);
/// The id of a cluster that lives for one measurement.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// As of our own producer.
const PRODUCER: [&str; 4] = [
    "acks=all",
    "batch.size=524288",
    "linger.ms=5",
    "buffer.memory=67108864",
];

/// When the broker flushes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// When the kernel sees fit: what was acknowledged may be in memory only.
    ByKernel,
    /// Before each answer, which is what the log promises.
    EachAppend,
}

impl Flush {
    /// Its name in the report.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::ByKernel => "Kafka without flush",
            Self::EachAppend => "Kafka flush.messages=1",
        }
    }
}

/// How the peer did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) moved: Moved,
    /// CPU seconds of the broker.
    pub(crate) cpu_per_gb: f64,
}

/// Writes so many records to a fresh broker; the final flush of the disk counts.
pub(crate) async fn produce(
    options: &Options,
    home: &Path,
    folder: &Path,
    flush: Flush,
    records: u64,
) -> Result<Peer> {
    let libs = [home.join("libs"), home.to_owned()];
    let libs = libs.into_iter().find(|path| path.is_dir());
    let libs = libs.with_context(|| format!("`{}` is no folder", home.display()))?;
    let listen = free_port()?;
    let settings = folder.join("server.properties");
    fs::write(&settings, properties(options, folder, flush, listen)?)?;
    let mut format = java(&libs, "kafka.tools.StorageTool");
    format.args(["format", "-t", CLUSTER, "-c"]).arg(&settings);
    finished(&mut format)?;
    let mut broker = java(&libs, "kafka.Kafka");
    let mut broker = Process::spawn("kafka", broker.arg(&settings), &folder.join("log"))?;
    until("Kafka listens", START_LIMIT, async || {
        if let Some(ended) = broker.ended() {
            let log = broker.log_tail();
            return Some(Err(anyhow::anyhow!("Kafka has ended: {ended:?}\n{log}")));
        }
        TcpStream::connect(listen).await.is_ok().then_some(Ok(()))
    })
    .await??;

    // Makes the topic and warms the broker up.
    finished(&mut load(&libs, listen, options, records / 20 + 1))?;
    raw::sync(folder)?;
    let bytes = records * options.record_bytes as u64;
    let meter = Meter::start(&[("kafka", broker.id())])?;
    let said = finished(&mut load(&libs, listen, options, records))?;
    let cost = meter.cost(bytes)?;
    let rate = records_per_second(&said).context("Kafka's load generator told no rate")?;
    let seconds = crate::report::float(records) / rate + raw::sync(folder)?.as_secs_f64();
    Ok(Peer {
        moved: Moved {
            count: records,
            bytes,
            seconds,
        },
        cpu_per_gb: cost.total,
    })
}

/// The settings of a broker that is its own controller.
fn properties(
    options: &Options,
    folder: &Path,
    flush: Flush,
    listen: SocketAddr,
) -> Result<String> {
    let controller = free_port()?;
    let flush = match flush {
        Flush::ByKernel => "",
        Flush::EachAppend => "log.flush.interval.messages=1\n",
    };
    Ok(format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{listen},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{listen}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\nnum.partitions={}\n\
         offsets.topic.replication.factor=1\n{flush}",
        folder.join("data").display(),
        options.partitions,
    ))
}

/// Kafka's own load generator, to send so many records.
fn load(libs: &Path, broker: SocketAddr, options: &Options, records: u64) -> Command {
    let mut command = java(libs, "org.apache.kafka.tools.ProducerPerformance");
    command
        .args(["--topic", "bench", "--throughput", "-1"])
        .args(["--num-records", &records.to_string()])
        .args(["--record-size", &options.record_bytes.to_string()])
        .arg("--producer-props")
        .arg(format!("bootstrap.servers={broker}"))
        .args(PRODUCER);
    command
}

/// A class of Kafka's, to be run with the memory that its own scripts give it.
fn java(libs: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xms1g", "-Xmx1g", "-cp"])
        .arg(libs.join("*"))
        .arg(class);
    command
}

/// Runs a program to its end; answers what it printed.
fn finished(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run `java`")?;
    ensure!(
        output.status.success(),
        "a program of Kafka failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The rate in the load generator's last line, which leaves out the start of its virtual machine.
fn records_per_second(said: &str) -> Option<f64> {
    let line = said.lines().rfind(|line| line.contains("records/sec"))?;
    let before = line.split(" records/sec").next()?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_whole_run() {
        let said = "9 records sent, 1.5 records/sec (0.01 MB/sec), 1 ms avg latency.\n\
                    20 records sent, 9332.7 records/sec (9.11 MB/sec), 735.89 ms avg latency.\n";
        assert_eq!(
            records_per_second(said)
                .map(|rate| format!("{rate}"))
                .as_deref(),
            Some("9332.7")
        );
        assert!(records_per_second("an error").is_none());
    }
}
