//! Small segments become large ones, through `kill -9` and lost machines, and every record stays what it was, where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::{Bucket, Server, ServerOptions, metric, until};

use crate::support::{World, base, only_what_is_named, records};

const TOPIC: &str = "merge";
const PARTITIONS: u32 = 12;
const KILLS: u64 = 4;
/// Appends between two kills, of a record for each partition.
const APPENDS: u64 = 40;
/// About how many bytes a record has.
const VALUE_BYTES: usize = 3_000;
const LIMIT: Duration = Duration::from_mins(1);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("metadata.merge_bytes", "1MiB")
        .with("metadata.merge_growth", "3")
        .with("metadata.merge_again_age", "1s")
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

/// Reads everything: each partition without a gap, and of the bytes that were sent.
async fn read(client: &Client, end: u64) -> Result<()> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = vec![0; PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        let next = &mut next[partition as usize];
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(
                at == *next,
                "offset {at} of {partition} where {next} was to come"
            );
            let expected = value(partition, at);
            let is_it = record.value.as_deref() == Some(expected.as_bytes());
            ensure!(is_it, "other bytes at {at} of {partition}");
            *next += 1;
        }
    }
    ensure!(
        next.iter().all(|next| *next == end),
        "read up to {next:?} of {end}"
    );
    Ok(())
}

/// Bytes of merged extents that were to be merged again since the server has started.
async fn merged_again(server: &Server) -> Result<f64> {
    let page = server.metrics().await?;
    let bytes = metric(&page, "tidelog_sequencer_merged_again_bytes_total", &[]);
    Ok(bytes.unwrap_or_default())
}

async fn segments_are_merged(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [("retention.ms", "-1")];
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    let mut number = 0;
    let (mut most, mut again) = (0, 0.0);
    for round in 0..=KILLS {
        for _ in 0..APPENDS {
            append(&client, number).await?;
            number += 1;
        }
        most = most.max(Bucket::open(&world.place)?.segments().await?.len());
        read(&client, number).await?;
        // In the middle of whatever is merged, or swapped, or deleted.
        tokio::time::sleep(Duration::from_millis(600 * round)).await;
        again += merged_again(&server).await?;
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
    }
    read(&client, number).await?;
    until("what was committed last is merged", LIMIT, async || {
        let page = server.metrics().await.ok()?;
        // There is no such number where all is merged.
        let since = metric(
            &page,
            "tidelog_sequencer_shard_tail_since_seconds",
            &["shard=\"0\""],
        );
        since.is_none().then_some(())
    })
    .await?;
    let named = only_what_is_named(world).await?;
    read(&client, number).await?;
    // Each append is a segment at least; what is merged has a megabyte, or was merged for its age.
    let appends = number;
    ensure!(
        named * 4 <= appends,
        "{named} segments of {appends} appends are left"
    );
    again += merged_again(&server).await?;
    ensure!(again > 0.0, "nothing was merged again");
    println!(
        "{appends} appends, at most {most} segments at once, {named} are left, {again} bytes were merged again"
    );
    // What is merged is deleted like all else.
    for partition in 0..PARTITIONS {
        let deleted = tidelog_client::v1::DeleteRecordsPartition {
            topic: TOPIC.to_owned(),
            partition,
            before_offset: Some(number),
        };
        client.log().delete_records(vec![deleted]).await?;
    }
    append(&client, number).await?;
    until("only what is named is left", LIMIT, async || {
        let named = only_what_is_named(world).await.ok()?;
        (named <= 2).then_some(())
    })
    .await
}

#[tokio::test]
async fn segments_are_merged_through_kills_in_a_folder() -> Result<()> {
    segments_are_merged(&World::folder()?).await
}

#[tokio::test]
async fn segments_are_merged_through_kills_and_lost_machines_on_s3() -> Result<()> {
    segments_are_merged(&World::s3().await?).await
}
