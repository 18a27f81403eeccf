//! The metadata is lost some time after the last backup. What was merged meanwhile comes back, at its offsets and byte for
//! byte, also without the backup; and what was not merged comes behind it, if somebody asks for that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::{Bucket, Cli, Server, ServerOptions, until};

use crate::restore::lose_metadata;
use crate::support::{END_LIMIT, World, base, records};

const TOPIC: &str = "rebuild";
const PARTITIONS: u32 = 3;
/// Appends before the backup and after it.
const APPENDS: u64 = 40;
const LIMIT: Duration = Duration::from_mins(2);
/// What was to be merged is merged by then.
const SETTLED: Duration = Duration::from_secs(4);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
}

fn value(partition: u32, number: u64) -> String {
    format!("{partition}/{number}:").repeat(100)
}

async fn append(client: &Client, numbers: std::ops::Range<u64>) -> Result<()> {
    for number in numbers {
        let entries = (0..PARTITIONS).map(|at| records(TOPIC, at, [value(at, number)]));
        for result in client.log().produce(entries.collect()).await? {
            let at = base(&[result])?;
            ensure!(at == number, "appended at {at}, not at {number}");
        }
    }
    Ok(())
}

/// Reads all that there is: where each partition ends.
async fn read(client: &Client) -> Result<Vec<u64>> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = vec![0; PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        let next = &mut next[partition as usize];
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(at == *next, "offset {at} where {next} was to come");
            let expected = value(partition, at);
            let is_it = record.value.as_deref() == Some(expected.as_bytes());
            ensure!(is_it, "other bytes at {at} of {partition}");
            *next += 1;
        }
    }
    Ok(next)
}

async fn run(world: &World, words: &[&str]) -> Result<String> {
    let flags = world.place.flags();
    let mut all = words.to_vec();
    all.extend(flags.iter().map(String::as_str));
    Cli::new(None).ok(&all).await
}

/// Where each partition ends that a rebuild tells of.
async fn rebuild(world: &World, words: &[&str]) -> Result<Vec<u64>> {
    let words = [&["metadata", "rebuild", "-o", "json"], words].concat();
    let rebuilt = run(world, &words).await?;
    let rebuilt: Value = serde_json::from_str(&rebuilt)?;
    println!("{rebuilt}");
    let mut ends = vec![0; PARTITIONS as usize];
    for told in rebuilt["partitions"].as_array().context("partitions")? {
        let partition = usize::try_from(told["partition"].as_u64().context("a number")?)?;
        ensure!(told["topic"] == TOPIC, "{told}");
        ends[partition] = told["next_offset"].as_u64().context("an offset")?;
    }
    Ok(ends)
}

/// How many extents the logs have.
async fn extents(world: &World) -> Option<u64> {
    let found = run(world, &["audit", "-o", "json", "--verify", "lengths"]);
    let found: Value = serde_json::from_str(&found.await.ok()?).ok()?;
    found["extents"].as_u64()
}

async fn what_was_merged_comes_back(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [("retention.ms", "-1")];
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    append(&client, 0..APPENDS).await?;
    run(world, &["metadata", "backup", "--name", "early"]).await?;
    append(&client, APPENDS..2 * APPENDS).await?;
    until("no more is merged", LIMIT, async || {
        let before = extents(world).await?;
        tokio::time::sleep(SETTLED).await;
        let merged = before < 3 * APPENDS && extents(world).await? == before;
        merged.then_some(())
    })
    .await?;
    server.process().kill();
    server.process().wait(END_LIMIT).await?;
    lose_metadata(&Bucket::open(&world.place)?).await?;
    let merged = rebuild(world, &[]).await?;
    let first = merged.first().copied().context("a partition")?;
    ensure!(
        merged.iter().all(|end| *end == first),
        "merged alike: {merged:?}"
    );
    ensure!(first > APPENDS, "more than the backup had: {first}");
    println!("{first} of {} come back", 2 * APPENDS);
    let alone = rebuild(world, &["--wipe", "--without-backup"]).await?;
    ensure!(alone == merged, "{alone:?} without a backup");
    let all = rebuild(world, &["--wipe", "--append-newer"]).await?;
    let first = 2 * APPENDS;
    ensure!(all.iter().all(|end| *end == first), "{all:?}");
    server.restart().await?;
    ensure!(read(&client).await? == all);
    append(&client, first..first + 10).await?;
    ensure!(read(&client).await?.iter().all(|end| *end == first + 10));
    // Until it is accepted what was not merged is kept, and no difference.
    let found = run(world, &["audit", "-o", "json", "--verify", "bytes"]).await?;
    let found: Value = serde_json::from_str(&found)?;
    ensure!(found["restored_backup"] == "early", "{found}");
    run(world, &["metadata", "accept-restore"]).await?;
    Ok(())
}

#[tokio::test]
async fn what_was_merged_after_the_backup_comes_back_in_a_folder() -> Result<()> {
    what_was_merged_comes_back(&World::folder()?).await
}

#[tokio::test]
async fn what_was_merged_after_the_backup_comes_back_on_s3() -> Result<()> {
    what_was_merged_comes_back(&World::s3().await?).await
}
