//! Kafka's own command line tools, and with them the Java client.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Cli, Process, Tools};

use crate::support::{FETCH_LIMIT, World, lines, text};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
pub(crate) const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
pub(crate) const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE: &str = "org.apache.kafka.tools.DeleteRecordsCommand";

const RECORDS: usize = 1_000;

pub(crate) fn tool() -> Result<PathBuf> {
    Tools::program("java")?;
    Tools::program("mvn")?;
    Ok(Tools::repository()?.join("e2e/kafka/java/run"))
}

/// Starts one of Kafka's programs that run until they are stopped.
pub(crate) fn start(class: &str, settings: &[String], folder: &Path) -> Result<Process> {
    let name = class.rsplit('.').next().unwrap_or(class);
    let file = folder.join(format!("{name}.properties"));
    std::fs::write(&file, settings.join("\n"))?;
    let mut command = Command::new(tool()?);
    command
        .arg(class)
        .arg(&file)
        .env("TIDELOG_CACHE", Tools::cache()?);
    Process::spawn(name, &mut command, &folder.join(format!("{name}.log")))
}

/// Runs a tool against the server; it must succeed.
pub(crate) async fn run(
    world: &World,
    class: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<String> {
    let address = world.address();
    let all = [&[class, "--bootstrap-server", &address], arguments].concat();
    let finished = Cli::program(&tool()?, &all, input, FETCH_LIMIT).await?;
    ensure!(finished.code == 0, "{class} {arguments:?}: {finished:?}");
    Ok(finished.text())
}

#[tokio::test]
async fn console_clients_produce_and_consume() -> Result<()> {
    let world = World::new(1).await?;
    let lines = lines(RECORDS);
    let compressed = ["--topic", "t", "--compression-codec", "zstd"];
    run(&world, PRODUCER, &compressed, lines.as_bytes()).await?;
    let records = world.records(0).await?;
    let read: String = records
        .iter()
        .map(|record| text(record.value.as_ref()) + "\n")
        .collect();
    ensure!(read == lines, "{} records", records.len());
    let count = RECORDS.to_string();
    let from = [
        "--topic",
        "t",
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        &count,
        "--timeout-ms",
        "60000",
    ];
    let consumed = run(&world, CONSUMER, &from, &[]).await?;
    ensure!(consumed == lines, "{consumed}");
    Ok(())
}

#[tokio::test]
async fn tools_of_administration_see_and_change_topics() -> Result<()> {
    let world = World::new(1).await?;
    let create = [
        "--create",
        "--topic",
        "made",
        "--partitions",
        "2",
        "--config",
        "retention.ms=7200000",
    ];
    run(&world, TOPICS, &create, &[]).await?;
    let listed = run(&world, TOPICS, &["--list"], &[]).await?;
    ensure!(listed == "made\nt\n", "{listed}");
    let described = run(&world, TOPICS, &["--describe", "--topic", "made"], &[]).await?;
    let has = |word: &str| described.contains(word);
    ensure!(
        has("PartitionCount: 2") && has("retention.ms=7200000"),
        "{described}"
    );
    let widen = ["--alter", "--topic", "made", "--partitions", "5"];
    run(&world, TOPICS, &widen, &[]).await?;
    let offsets = run(&world, OFFSETS, &["--topic", "made"], &[]).await?;
    ensure!(offsets.lines().count() == 5, "{offsets}");
    run(&world, TOPICS, &["--delete", "--topic", "made"], &[]).await?;
    let listed = run(&world, TOPICS, &["--list"], &[]).await?;
    ensure!(listed == "t\n", "{listed}");
    Ok(())
}

#[tokio::test]
async fn records_are_deleted_by_the_tool_for_that() -> Result<()> {
    let world = World::new(1).await?;
    run(&world, PRODUCER, &["--topic", "t"], b"a\nb\nc\n").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("offsets.json");
    let wanted = r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 2}], "version": 1}"#;
    std::fs::write(&file, wanted)?;
    let file = file.display().to_string();
    run(&world, DELETE, &["--offset-json-file", &file], &[]).await?;
    let earliest = ["--topic", "t", "--time", "earliest"];
    let offsets = run(&world, OFFSETS, &earliest, &[]).await?;
    ensure!(offsets.trim() == "t:0:2", "{offsets}");
    Ok(())
}
