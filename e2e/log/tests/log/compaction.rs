//! Of each key the last record stays, at its offset and as it was produced, through `kill -9` and lost machines; tombstones
//! go some time after that.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidelog_client::{Client, ConsumerOptions, v1};
use tidelog_e2e_harness::{Server, ServerOptions, metric, until};

use crate::support::{World, base, records};

const TOPIC: &str = "compaction";
const PARTITIONS: u32 = 12;
const KILLS: u64 = 3;
/// Appends between two kills, of some records for each partition.
const APPENDS: u64 = 30;
/// Records of one append in a partition.
const RECORDS: u64 = 3;
const KEYS: u64 = 17;
const VALUE_BYTES: usize = 2_000;
const LIMIT: Duration = Duration::from_mins(1);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.retention_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("metadata.merge_bytes", "1MiB")
        .with("janitor.grace", "1s")
}

fn key(partition: u32, number: u64) -> Bytes {
    format!("{}", number * 5 % KEYS + u64::from(partition)).into()
}

/// What the record at an offset says; in the last rounds some keys are deleted.
fn value(partition: u32, offset: u64, number: u64) -> Option<Bytes> {
    let is_late = offset > RECORDS * APPENDS * KILLS;
    if is_late && (number * 5 % KEYS).is_multiple_of(4) {
        return None;
    }
    let text = format!("{partition}/{offset}:");
    Some(text.repeat(VALUE_BYTES / text.len() + 1).into())
}

async fn append(client: &Client, number: u64) -> Result<()> {
    let entries = (0..PARTITIONS).map(|partition| {
        let mut entry = records(TOPIC, partition, (0..RECORDS).map(|_| String::new()));
        if let Some(v1::produce_entry::Data::Records(list)) = &mut entry.data {
            for (at, record) in (number * RECORDS..).zip(&mut list.records) {
                record.key = Some(key(partition, at));
                record.value = value(partition, at, at);
            }
        }
        entry
    });
    for result in client.log().produce(entries.collect()).await? {
        let at = base(&[result])?;
        ensure!(at == number * RECORDS, "appended at {at}, not at {number}");
    }
    Ok(())
}

/// The last offset of each key.
fn last_of_each(partition: u32, end: u64) -> BTreeMap<Bytes, u64> {
    (0..end).map(|at| (key(partition, at), at)).collect()
}

/// Reads everything. Each record must be one that was produced, and of each key the last one must be there, but for
/// tombstones; answers how many records and tombstones there are that could go.
async fn read(client: &Client, end: u64) -> Result<(u64, u64)> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut found = vec![BTreeMap::new(); PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(
                record.key == Some(key(partition, at)),
                "another key at {at}"
            );
            let expected = value(partition, at, at);
            ensure!(
                record.value == expected,
                "another value at {at} of {partition}"
            );
            let before = found[partition as usize].insert(at, record.value.is_none());
            ensure!(before.is_none(), "{at} of {partition} comes twice");
        }
    }
    let (mut surplus, mut tombstones) = (0, 0);
    for (partition, found) in (0..PARTITIONS).zip(&found) {
        let last = last_of_each(partition, end);
        for at in last.values() {
            let is_tombstone = value(partition, *at, *at).is_none();
            let is_there = found.contains_key(at);
            ensure!(is_there || is_tombstone, "{at} of {partition} is gone");
            tombstones += u64::from(is_there && is_tombstone);
        }
        let is_last = |at: &u64| last.get(&key(partition, *at)) == Some(at);
        surplus += found.keys().filter(|at| !is_last(at)).count() as u64;
    }
    Ok((surplus, tombstones))
}

async fn the_last_of_each_key_stays(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "3000"),
    ];
    let admin = client.admin();
    admin.create_topic(TOPIC, PARTITIONS, config).await?;
    let mut number = 0;
    for round in 0..=KILLS {
        for _ in 0..APPENDS {
            append(&client, number).await?;
            number += 1;
        }
        let (surplus, _) = read(&client, number * RECORDS).await?;
        println!("round {round}: {surplus} records that may go");
        // In the middle of whatever is merged, compacted or deleted.
        tokio::time::sleep(Duration::from_millis(1_100 * round)).await;
        read(&client, number * RECORDS).await?;
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
    }
    // One segment alone is not merged, and what is not merged is not compacted.
    let unmerged = 2 * RECORDS * u64::from(PARTITIONS);
    let left = until(
        "all is compacted and tombstones are gone",
        LIMIT,
        async || {
            let (surplus, tombstones) = read(&client, number * RECORDS).await.ok()?;
            let is_settled = surplus <= unmerged && tombstones <= unmerged;
            is_settled.then_some((surplus, tombstones))
        },
    )
    .await?;
    let (surplus, tombstones) = read(&client, number * RECORDS).await?;
    let page = server.metrics().await?;
    let sum = |name: &str| metric(&page, name, &[]).context("a number");
    println!(
        "{} records, {surplus} that may go and {tombstones} tombstones are left, {left:?} before; {} bytes in, {} out",
        number * RECORDS * u64::from(PARTITIONS),
        sum("tidelog_compaction_in_bytes_total")?,
        sum("tidelog_compaction_out_bytes_total")?,
    );
    Ok(())
}

#[tokio::test]
async fn the_last_of_each_key_stays_through_kills_in_a_folder() -> Result<()> {
    the_last_of_each_key_stays(&World::folder()?).await
}

#[tokio::test]
async fn the_last_of_each_key_stays_through_kills_and_lost_machines_on_s3() -> Result<()> {
    the_last_of_each_key_stays(&World::s3().await?).await
}
