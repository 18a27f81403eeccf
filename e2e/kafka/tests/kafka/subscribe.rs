//! `Subscribe` of gRPC and Kafka's consumers in one group.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tidelog_e2e_harness::{Ended, Process, Tools, until};

use crate::support::{FETCH_LIMIT, LIMIT, World};

const PARTITIONS: u32 = 6;
const RECORDS: usize = 600;

/// `tidelog consume --group shared`, whose output is its log.
fn subscriber(world: &World, name: &str, folder: &Path) -> Result<Process> {
    let mut command = Command::new(Tools::tidelog()?);
    let address = format!("http://{}", world.server.grpc());
    command.env("TIDELOG_ADDRESS", address);
    command.args(["consume", "--group", "shared", "t", "--from", "earliest"]);
    Process::spawn(name, &mut command, &folder.join(name))
}

/// A consumer of Kafka, likewise.
fn kafka_consumer(world: &World, folder: &Path) -> Result<Process> {
    let run = Tools::repository()?.join("e2e/kafka/python/run");
    let mut command = Command::new(run);
    command.env("TIDELOG_CACHE", Tools::cache()?);
    command.args(["confluent_member", &world.address(), "t"]);
    Process::spawn("kafka", &mut command, &folder.join("kafka"))
}

async fn described(world: &World) -> Option<Value> {
    let words = ["group", "describe", "shared", "-o", "json"];
    let text = world.server.cli().ok(&words).await.ok()?;
    serde_json::from_str(&text).ok()
}

/// Waits until the partitions are shared by so many, in equal parts.
async fn shared_by(world: &World, count: usize) -> Result<()> {
    let what = format!("{count} members share");
    until(what, FETCH_LIMIT, async || {
        let described = described(world).await?;
        let members = described["members"].as_array()?;
        (members.len() == count && described["state"] == "stable").then_some(())
    })
    .await
}

/// Waits until the group has committed all that there is.
async fn caught_up(world: &World, total: usize) -> Result<()> {
    until("all is committed", LIMIT, async || {
        let described = described(world).await?;
        let committed = described["partitions"].as_array()?.iter();
        let committed: u64 = committed.filter_map(|it| it["committed"].as_u64()).sum();
        (described["lag"] == 0 && committed == total as u64).then_some(())
    })
    .await
}

/// Writes lines to all partitions in turn: a client that chooses by itself may take one for all of them.
async fn produce(world: &World, numbers: std::ops::Range<usize>) -> Result<()> {
    for (partition, index) in (0..PARTITIONS).zip(0_usize..) {
        let own = numbers.clone().skip(index).step_by(PARTITIONS as usize);
        let lines: Vec<String> = own.map(|number| format!("line {number}")).collect();
        let (partition, lines) = (partition.to_string(), lines.join("\n"));
        if !lines.is_empty() {
            let arguments = ["-P", "-t", "t", "-p", &partition];
            world.kcat(&arguments, lines.as_bytes()).await?;
        }
    }
    Ok(())
}

fn lines(members: &[&Process]) -> Vec<String> {
    let logs = members.iter().map(|member| member.log());
    let logs: Vec<String> = logs.collect();
    let lines = logs.iter().flat_map(|log| log.lines());
    lines
        .filter(|line| line.starts_with("line "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn subscribers_and_a_consumer_of_kafka_share_a_topic_and_miss_nothing_when_one_is_killed()
-> Result<()> {
    Tools::program("python3")?;
    let world = World::new(PARTITIONS).await?;
    let folder = TempDir::new()?;
    let mut first = subscriber(&world, "first", folder.path())?;
    let mut second = subscriber(&world, "second", folder.path())?;
    let mut kafka = kafka_consumer(&world, folder.path())?;
    shared_by(&world, 3).await?;
    produce(&world, 0..RECORDS).await?;
    caught_up(&world, RECORDS).await?;
    // What a member has committed it may write a moment later.
    until("each has written its part, once", LIMIT, async || {
        let members = [&first, &second, &kafka];
        let each = members.iter().all(|member| !lines(&[member]).is_empty());
        (each && lines(&members).len() == RECORDS).then_some(())
    })
    .await?;
    first.kill();
    produce(&world, RECORDS..2 * RECORDS).await?;
    shared_by(&world, 2).await?;
    caught_up(&world, 2 * RECORDS).await?;
    until("all records are written", LIMIT, async || {
        let read: BTreeSet<String> = lines(&[&first, &second, &kafka]).into_iter().collect();
        (read.len() == 2 * RECORDS).then_some(())
    })
    .await?;

    second.terminate()?;
    let ended = second.wait(LIMIT).await?;
    ensure!(ended == Ended::Code(0), "{ended:?}: {}", second.log_tail());
    shared_by(&world, 1).await?;
    kafka.terminate()?;
    kafka.wait(LIMIT).await?;
    until("nobody is there", LIMIT, async || {
        let described = described(&world).await?;
        described["members"].as_array()?.is_empty().then_some(())
    })
    .await?;
    produce(&world, 0..3).await?;
    let rest = ["consume", "--group", "shared", "t", "--count", "3"];
    let rest = world.server.cli().ok(&rest).await?;
    let rest: BTreeSet<&str> = rest.lines().collect();
    let new = BTreeSet::from(["line 0", "line 1", "line 2"]);
    ensure!(rest == new, "{rest:?}");
    caught_up(&world, 2 * RECORDS + 3)
        .await
        .context("what the last one wrote is committed")
}
