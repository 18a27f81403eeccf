//! Kafka's own programs: its broker and its load generators, as Maven has them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Process, Tools, free_port, until};

use crate::load::Moved;
use crate::process::children_seconds;
use crate::report::float;

/// The first start fetches the broker.
const START_LIMIT: Duration = Duration::from_mins(8);
/// Records before those that are measured are so small a part of them.
const WARM_UP: u64 = 10;
const MIB: f64 = 1024.0 * 1024.0;

/// Who is written to and read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) partitions: u32,
    pub(crate) record_bytes: usize,
}

/// What a program has moved, and the CPU seconds that it took itself, its start included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) moved: Moved,
    pub(crate) cpu: f64,
}

fn script(name: &str) -> Result<PathBuf> {
    Ok(Tools::repository()?
        .join("e2e/kafka")
        .join(name)
        .join("run"))
}

fn program(class: &str) -> Result<Command> {
    let mut command = Command::new(script("java")?);
    command
        .arg(class)
        .env("TIDELOG_CACHE", Tools::cache()?)
        .env("TIDELOG_JAVA_HEAP", "1g");
    Ok(command)
}

/// Runs a program to its end; answers what it printed.
fn finished(command: &mut Command) -> Result<String> {
    // Others of this process have work meanwhile.
    let output = tokio::task::block_in_place(|| command.output());
    let output = output.context("cannot run a program of Kafka")?;
    ensure!(
        output.status.success(),
        "a program of Kafka failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a broker of Apache Kafka in an empty folder.
pub(crate) async fn broker(folder: &Path) -> Result<(Process, SocketAddr)> {
    let (address, controller) = (free_port()?, free_port()?);
    let mut command = Command::new(script("apache")?);
    command
        .arg(folder)
        .arg(address.port().to_string())
        .arg(controller.port().to_string())
        .env("TIDELOG_CACHE", Tools::cache()?);
    let process = Process::spawn("kafka", &mut command, &folder.join("log"))?;
    until("Kafka listens", START_LIMIT, async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await?;
    Ok((process, address))
}

impl Target {
    /// Makes the topic `bench`.
    pub(crate) fn create_topic(&self) -> Result<()> {
        let mut command = program("org.apache.kafka.tools.TopicCommand")?;
        command
            .args(["--bootstrap-server", &self.address.to_string()])
            .args(["--create", "--topic", "bench", "--partitions"])
            .arg(self.partitions.to_string());
        finished(&mut command).map(drop)
    }

    /// Sends so many records, and some before that are not measured.
    pub(crate) fn produce(&self, records: u64, properties: &[&str]) -> Result<Run> {
        let warm_up = records / WARM_UP;
        let mut command = program("org.apache.kafka.tools.ProducerPerformance")?;
        command
            .args(["--bootstrap-server", &self.address.to_string()])
            .args(["--topic", "bench", "--throughput", "-1"])
            .args(["--num-records", &(records + warm_up).to_string()])
            .args(["--warmup-records", &warm_up.to_string()])
            .args(["--record-size", &self.record_bytes.to_string()])
            .arg("--command-property")
            .args(properties);
        let before = children_seconds()?;
        let said = finished(&mut command)?;
        let rate = produced(&said).with_context(|| format!("no rate: {said}"))?;
        self.run(records, float(records) / rate, before)
    }

    /// Reads so many records.
    pub(crate) fn consume(&self, records: u64) -> Result<Run> {
        let mut command = program("org.apache.kafka.tools.ConsumerPerformance")?;
        command
            .args(["--bootstrap-server", &self.address.to_string()])
            .args(["--topic", "bench", "--hide-header", "--num-records"])
            .arg(records.to_string());
        let before = children_seconds()?;
        let said = finished(&mut command)?;
        let (megabytes, rate) = consumed(&said).with_context(|| format!("no rate: {said}"))?;
        self.run(records, megabytes / rate, before)
    }

    fn run(&self, count: u64, seconds: f64, before: f64) -> Result<Run> {
        Ok(Run {
            moved: Moved {
                count,
                bytes: count * self.record_bytes as u64,
                seconds,
            },
            cpu: children_seconds()? - before,
        })
    }
}

/// Records a second, in the last line of the producer.
fn produced(said: &str) -> Option<f64> {
    let line = said.lines().rfind(|line| line.contains("records/sec"))?;
    let before = line.split(" records/sec").next()?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Mebibytes in all, and a second without the time to join the group, in the line of the consumer.
fn consumed(said: &str) -> Option<(f64, f64)> {
    let line = said.lines().rfind(|line| line.matches(", ").count() >= 9)?;
    let mut fields = line.split(", ").skip(2);
    let all: f64 = fields.next()?.parse().ok()?;
    let rate: f64 = fields.nth(5)?.parse().ok()?;
    Some((all * MIB, rate * MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_whole_run() {
        let said = "9 records sent, 1.5 records/sec (0.01 MB/sec), 1 ms avg latency.\n\
                    20 records sent, 9332.7 records/sec (9.11 MB/sec), 735.89 ms avg latency.\n";
        assert!(produced(said).is_some_and(|rate| (rate - 9332.7).abs() < 0.1));
        let said = "2026-01-01 00:00:00:000, 2026-01-01 00:00:04:000, 100.0, 25.0, 9, 3.0, 3000, \
                    1000, 100.0, 9.0\n";
        let (all, rate) = consumed(said).unwrap();
        assert!((all / MIB - 100.0).abs() < 0.1 && (rate / MIB - 100.0).abs() < 0.1);
        assert!(produced("an error").is_none() && consumed("a, b").is_none());
    }
}
