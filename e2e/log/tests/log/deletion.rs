//! What nobody needs any more goes from the bucket, through `kill -9`, and nothing else does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_client::{Client, ConsumerOptions, v1};
use tidelog_e2e_harness::{Bucket, Server, ServerOptions, metric};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use crate::support::{World, base, fetch, only_what_is_named, records};

const TOPIC: &str = "deletion";
const KEPT: &str = "kept";
const KILLS: u64 = 4;
/// Appends between two kills, of one record each: at least as many segments.
const APPENDS: u64 = 40;
/// Bytes of a record.
const VALUE_BYTES: usize = 1_000;
/// As many bytes are kept of the first topic.
const KEPT_BYTES: &str = "20000";

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.retention_interval", "1s")
        .with("janitor.grace", "1s")
}

fn value(number: u64) -> String {
    let text = format!("{number}:");
    text.repeat(VALUE_BYTES / text.len() + 1)
}

async fn append(client: &Client, topic: &str, number: u64) -> Result<()> {
    let entry = records(topic, 0, [value(number)]);
    let at = base(&client.log().produce(vec![entry]).await?)?;
    ensure!(at == number, "appended at {at}, not at {number}");
    Ok(())
}

async fn earliest(client: &Client, topic: &str) -> Result<u64> {
    let position = v1::OffsetPosition::Earliest;
    let asked = v1::ListOffsetsPartition {
        topic: topic.to_owned(),
        partition: 0,
        query: Some(v1::list_offsets_partition::Query::Position(position.into())),
    };
    let found = client.log().list_offsets(vec![asked]).await?;
    let found = found.first().and_then(|found| found.offset);
    found.context("an offset")
}

/// Reads all that is there: a log without a gap, of the bytes that were sent.
async fn read(client: &Client, topic: &str, end: u64) -> Result<u64> {
    let start = earliest(client, topic).await?;
    let mut consumer = client.consumer(topic, ConsumerOptions::all_until_end());
    let mut next = start;
    while let Some(chunk) = consumer.next().await? {
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(at == next, "offset {at} where {next} was to come");
            let expected = value(at);
            let same = record.value.as_deref() == Some(expected.as_bytes());
            ensure!(same, "other bytes at {at}");
            next += 1;
        }
    }
    ensure!(next == end, "read up to {next} of {end}");
    Ok(start)
}

/// The same while retention is at work: a reader whose place is gone by then begins anew.
async fn read_while_it_is_cut(client: &Client, end: u64) -> Result<u64> {
    loop {
        match read(client, TOPIC, end).await {
            Err(error) if error.to_string().contains("outside the log") => {}
            read => return read,
        }
    }
}

/// A segment that was put and never committed, as one that dies between the two leaves it: the next name of the writer
/// that has put the last one.
async fn leave_an_orphan(world: &World) -> Result<String> {
    let bucket = Bucket::open(&world.place)?;
    let all = bucket.segments().await?;
    let mut names: Vec<(u64, u64)> = Vec::new();
    for key in &all {
        let mut parts = key.rsplit('/');
        let mut number = || u64::from_str_radix(parts.next().unwrap_or_default(), 16);
        let sequence = number()?;
        names.push((number()?, sequence));
    }
    let (writer, last) = names.iter().max().context("a segment")?;
    let name = SegmentName::new(Incarnation::new(*writer), SegmentSequence::new(last + 3));
    let key = bucket.segment(all.first().context("a segment")?, name)?;
    bucket.put(&key, "an orphan").await?;
    Ok(key)
}

async fn what_is_not_needed_goes(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [("retention.bytes", KEPT_BYTES), ("retention.ms", "-1")];
    client.admin().create_topic(TOPIC, 1, config).await?;
    client
        .admin()
        .create_topic(KEPT, 1, [("retention.ms", "-1")])
        .await?;
    let (mut number, mut kept) = (0, 0);
    for round in 0..=KILLS {
        for _ in 0..APPENDS {
            append(&client, TOPIC, number).await?;
            number += 1;
        }
        append(&client, KEPT, kept).await?;
        kept += 1;
        read_while_it_is_cut(&client, number).await?;
        // In the middle of whatever it does.
        tokio::time::sleep(Duration::from_millis(700 * round)).await;
        server.process().kill();
        server.restart_with(options(world)).await?;
    }
    let named = only_what_is_named(world).await?;
    ensure!(named < APPENDS, "{named} segments are left");
    let start = read(&client, TOPIC, number).await?;
    read(&client, KEPT, kept).await?;
    let data = client.log().fetch(fetch(TOPIC, 0, start - 1)).await?;
    let error = data[0].error.as_ref().context("it is gone")?;
    ensure!(error.code() == v1::ErrorCode::OffsetOutOfRange, "{error:?}");
    let page = server.metrics().await?;
    let failures = metric(&page, "tidelog_janitor_failures_total", &[]);
    ensure!(failures == Some(0.0), "{failures:?} rounds have failed");
    println!("{named} segments are named and there, from {start} of {number} on");
    // Records that a client deletes, and what it has never heard of.
    append(&client, TOPIC, number).await?;
    let deleted = v1::DeleteRecordsPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        before_offset: Some(number),
    };
    client.log().delete_records(vec![deleted]).await?;
    server.process().kill();
    let orphan = leave_an_orphan(world).await?;
    server.restart_with(options(world)).await?;
    let named = only_what_is_named(world).await?;
    ensure!(named <= kept + 1, "{named} segments are left");
    let left = Bucket::open(&world.place)?.segments().await?;
    ensure!(!left.contains(&orphan), "the orphan is there");
    read(&client, TOPIC, number + 1).await?;
    read(&client, KEPT, kept).await?;
    Ok(())
}

#[tokio::test]
async fn what_nobody_needs_goes_through_kills_in_a_folder() -> Result<()> {
    what_is_not_needed_goes(&World::folder()?).await
}

#[tokio::test]
async fn what_nobody_needs_goes_through_kills_on_s3() -> Result<()> {
    what_is_not_needed_goes(&World::s3().await?).await
}
