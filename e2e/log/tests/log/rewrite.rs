//! Of merged segments of which little is left that is written anew, through `kill -9` and lost machines: the bucket shrinks
//! to about what is needed, and that stays what it was, where it was.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tidelog_client::{Client, ConsumerOptions, v1};
use tidelog_e2e_harness::{Bucket, Cli, Server, ServerOptions, metric, until};

use crate::support::{World, base, only_what_is_named, records};

const TOPIC: &str = "rewrite";
const PARTITIONS: u32 = 12;
/// The partition that stays.
const KEPT: u32 = 7;
const ROUNDS: u64 = 3;
/// Appends of a round, of a record for each partition.
const APPENDS: u64 = 30;
const VALUE_BYTES: usize = 20_000;
const REWRITTEN: &str = "tidelog_sequencer_rewritten_bytes_total";
const LIMIT: Duration = Duration::from_mins(1);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("metadata.merge_bytes", "4MiB")
        .with("metadata.merge_growth", "0")
        .with("metadata.rewrite_live_percent", "60")
        .with("metadata.rewrite_age", "2s")
        .with("janitor.grace", "1s")
}

/// What a record says: its place, and bytes that follow from it.
fn value(partition: u32, number: u64) -> String {
    let text = format!("{partition}/{number}:");
    text.repeat(VALUE_BYTES / text.len() + 1)
}

async fn append(client: &Client, number: u64) -> Result<()> {
    let entries =
        (0..PARTITIONS).map(|partition| records(TOPIC, partition, [value(partition, number)]));
    for result in client.log().produce(entries.collect()).await? {
        let at = base(&[result])?;
        ensure!(at == number, "appended at {at}, not at {number}");
    }
    Ok(())
}

/// Reads everything: only the partition that stays has something, without a gap and of the bytes that were sent.
async fn read(client: &Client, end: u64) -> Result<()> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = 0;
    while let Some(chunk) = consumer.next().await? {
        ensure!(chunk.partition == KEPT, "{} has records", chunk.partition);
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(at == next, "offset {at} where {next} was to come");
            let expected = value(KEPT, at);
            let is_it = record.value.as_deref() == Some(expected.as_bytes());
            ensure!(is_it, "other bytes at {at}");
            next += 1;
        }
    }
    ensure!(next == end, "read up to {next} of {end}");
    Ok(())
}

async fn audit(world: &World) -> Result<()> {
    let flags = world.place.flags();
    let mut words = vec!["audit", "--verify", "bytes", "--set", "janitor.grace=1s"];
    words.extend(flags.iter().map(String::as_str));
    let finished = Cli::new(None).run(&words).await?;
    ensure!(finished.code == 0, "{finished:?}");
    Ok(())
}

async fn what_is_left_is_written_anew(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [("retention.ms", "-1")];
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    let mut number = 0;
    for _ in 0..ROUNDS {
        for _ in 0..APPENDS {
            append(&client, number).await?;
            number += 1;
        }
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    // What a writer has committed goes when it has ended.
    server.process().kill();
    server.restart_with(options(world)).await?;
    let before = only_what_is_named(world).await?;
    let bucket = Bucket::open(&world.place)?;
    let full = bucket.segment_bytes().await?;
    for partition in (0..PARTITIONS).filter(|partition| *partition != KEPT) {
        let deleted = v1::DeleteRecordsPartition {
            topic: TOPIC.to_owned(),
            partition,
            before_offset: Some(number),
        };
        client.log().delete_records(vec![deleted]).await?;
    }
    read(&client, number).await?;
    // Once before anything is written anew, and then in the middle of that.
    for is_written in [false, true] {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        if is_written {
            until("segments are written anew", LIMIT, async || {
                let page = server.metrics().await.ok()?;
                metric(&page, REWRITTEN, &[]).filter(|bytes| *bytes > 0.0)
            })
            .await?;
        }
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
        read(&client, number).await?;
    }
    let needed = number * (VALUE_BYTES as u64 + 200);
    let shrunk = until("the bucket has about what is needed", LIMIT, async || {
        let now = bucket.segment_bytes().await.ok()?;
        // What is not much is left where it is.
        (now <= needed * 2).then_some(())
    });
    if let Err(error) = shrunk.await {
        let (there, bytes) = (bucket.segments().await?, bucket.segment_bytes().await?);
        bail!("{error}: {bytes} bytes where {needed} are needed, in {there:?}");
    }
    let after = only_what_is_named(world).await?;
    let left = bucket.segment_bytes().await?;
    read(&client, number).await?;
    audit(world).await?;
    let page = server.metrics().await?;
    let rewritten = metric(&page, REWRITTEN, &[]);
    println!(
        "{full} bytes in {before} segments became {left} in {after}, of {needed}; {rewritten:?} written anew at last"
    );
    ensure!(left * 4 < full, "{left} of {full} bytes are left");
    Ok(())
}

#[tokio::test]
async fn what_is_left_is_written_anew_through_kills_in_a_folder() -> Result<()> {
    what_is_left_is_written_anew(&World::folder()?).await
}

#[tokio::test]
async fn what_is_left_is_written_anew_through_kills_and_lost_machines_on_s3() -> Result<()> {
    what_is_left_is_written_anew(&World::s3().await?).await
}
