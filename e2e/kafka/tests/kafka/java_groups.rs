//! Kafka's own tools for groups, and the Java consumer in groups of both protocols.

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::until;

use crate::java::{CONSUMER, PRODUCER, run};
use crate::support::{LIMIT, World, lines};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

const RECORDS: usize = 500;

/// Consumes so many records of `t` in a group.
async fn consume(world: &World, group: &str, protocol: &str, count: usize) -> Result<String> {
    let (count, protocol) = (count.to_string(), format!("group.protocol={protocol}"));
    let arguments = [
        "--topic",
        "t",
        "--group",
        group,
        "--from-beginning",
        "--max-messages",
        &count,
        "--timeout-ms",
        "60000",
        "--command-property",
        &protocol,
    ];
    run(world, CONSUMER, &arguments, &[]).await
}

async fn groups(world: &World, arguments: &[&str]) -> Result<String> {
    run(world, GROUPS, arguments, &[]).await
}

/// Of each partition of `t`: the committed offset, the end of the log and the lag.
async fn offsets(world: &World, group: &str) -> Result<Vec<(String, String, String)>> {
    let described = groups(world, &["--describe", "--group", group]).await?;
    let rows = described.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "t");
        let mut next = || words.next().map(str::to_owned);
        let (_topic, _partition) = (next()?, next()?);
        Some((next()?, next()?, next()?))
    });
    Ok(rows.collect())
}

fn row(committed: &str, end: &str, lag: &str) -> (String, String, String) {
    (committed.to_owned(), end.to_owned(), lag.to_owned())
}

/// Waits until the tool sees the group without members.
async fn until_empty(world: &World, group: &str) -> Result<()> {
    until("the member has left", LIMIT, async || {
        let state = groups(world, &["--describe", "--state", "--group", group]).await;
        state.ok()?.contains("Empty").then_some(())
    })
    .await
}

async fn lives(protocol: &str) -> Result<()> {
    let world = World::new(1).await?;
    let group = "readers";
    let all = lines(RECORDS);
    run(&world, PRODUCER, &["--topic", "t"], all.as_bytes()).await?;
    let read = consume(&world, group, protocol, RECORDS).await?;
    ensure!(read == all, "{read}");
    let listed = groups(&world, &["--list"]).await?;
    ensure!(listed.trim() == group, "{listed}");
    until_empty(&world, group).await?;
    let end = RECORDS.to_string();
    let before = offsets(&world, group).await?;
    ensure!(before == [row(&end, &end, "0")], "{before:?}");
    let reset = [
        "--reset-offsets",
        "--group",
        group,
        "--topic",
        "t",
        "--execute",
    ];
    groups(&world, &[&reset[..], &["--to-offset", "480"]].concat()).await?;
    let after = offsets(&world, group).await?;
    ensure!(after == [row("480", &end, "20")], "{after:?}");
    let read = consume(&world, group, protocol, 20).await?;
    let last = read.lines().last().context("a line")?;
    ensure!(read.lines().count() == 20 && last == "line 499", "{read}");
    until_empty(&world, group).await?;
    groups(
        &world,
        &["--delete-offsets", "--group", group, "--topic", "t"],
    )
    .await?;
    let deleted = groups(&world, &["--delete", "--group", group]).await?;
    ensure!(deleted.contains("successful"), "{deleted}");
    let listed = groups(&world, &["--list"]).await?;
    ensure!(listed.trim().is_empty(), "{listed}");
    Ok(())
}

#[tokio::test]
async fn a_group_of_the_classic_protocol_is_read_by_described_reset_and_deleted() -> Result<()> {
    lives("classic").await
}

#[tokio::test]
async fn a_group_of_the_consumer_protocol_is_read_by_described_reset_and_deleted() -> Result<()> {
    lives("consumer").await
}
