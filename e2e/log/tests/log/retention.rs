//! Old records go, through `kill -9` and lost machines, and what is left is whole: dense, in order, unchanged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_client::{Client, ConsumerOptions, v1};
use tidelog_e2e_harness::{Server, ServerOptions, metric, until};

use crate::support::{World, base, fetch, records};

const TOPIC: &str = "retention";
const KILLS: u64 = 4;
/// Appends between two kills, of one record each.
const APPENDS: u64 = 40;
/// As many bytes of a record make it a kilobyte with its batch.
const VALUE_BYTES: usize = 1_000;
/// About how many records are kept.
const KEPT: u64 = 20;
/// About as many bytes go in a round at least.
const RECLAIMED_MIN: f64 = 35_000.0;
/// A checkpoint and a check come each second.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.retention_interval", "1s")
        // Extents go as a whole, and merged ones would have many records.
        .with("metadata.merge", "false")
}

/// What a record says: its number, and so many bytes that follow from it.
fn value(number: u64) -> String {
    let text = format!("{number}:");
    text.repeat(VALUE_BYTES / text.len() + 1)
}

async fn offset(client: &Client, position: v1::OffsetPosition) -> Result<u64> {
    let asked = v1::ListOffsetsPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        query: Some(v1::list_offsets_partition::Query::Position(position.into())),
    };
    let found = client.log().list_offsets(vec![asked]).await?;
    let found = found.first().and_then(|found| found.offset);
    found.context("an offset")
}

/// Waits until about as much is there as is kept.
async fn settled(client: &Client) -> Result<(u64, u64)> {
    until("the log is cut", CHECK_LIMIT, async || {
        let start = offset(client, v1::OffsetPosition::Earliest).await.ok()?;
        let end = offset(client, v1::OffsetPosition::Latest).await.ok()?;
        (end - start <= KEPT + 1).then_some((start, end))
    })
    .await
}

/// All that is there, which must begin where the log does and have no gap.
async fn read(client: &Client, start: u64, end: u64) -> Result<()> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = start;
    while let Some(chunk) = consumer.next().await? {
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            ensure!(at == next, "offset {at} where {next} was to come");
            let expected = value(at);
            ensure!(
                record.value.as_deref() == Some(expected.as_bytes()),
                "other bytes at {at}"
            );
            next += 1;
        }
    }
    ensure!(next == end, "read up to {next} of {end}");
    Ok(())
}

async fn old_records_go(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let kept = (KEPT * 1_080).to_string();
    let config = [("retention.bytes", kept.as_str()), ("retention.ms", "-1")];
    client.admin().create_topic(TOPIC, 1, config).await?;
    let mut number = 0;
    for round in 0..=KILLS {
        for _ in 0..APPENDS {
            let entry = records(TOPIC, 0, [value(number)]);
            ensure!(base(&client.log().produce(vec![entry]).await?)? == number);
            number += 1;
        }
        let (start, end) = settled(&client).await?;
        ensure!(end == number && start + KEPT <= end + 2, "{start}..{end}");
        read(&client, start, end).await?;
        let data = client.log().fetch(fetch(TOPIC, 0, start - 1)).await?;
        let error = data[0].error.as_ref().context("it is gone")?;
        ensure!(error.code() == v1::ErrorCode::OffsetOutOfRange, "{error:?}");
        println!("round {round}: {start}..{end}");
        if round < KILLS {
            server.process().kill();
            if world.minio.is_some() {
                server.wipe()?;
            }
            server.restart_with(options(world)).await?;
        }
    }
    // What is not needed is off the books, and all of it is said.
    until("all is reclaimed", CHECK_LIMIT, async || {
        let page = server.metrics().await.ok()?;
        let bytes = metric(&page, "tidelog_sequencer_reclaimed_bytes_total", &[])?;
        // The process counts its own, which are those of the last round.
        (bytes >= RECLAIMED_MIN).then_some(())
    })
    .await?;
    // Of a time that is over everything goes, also without traffic.
    let set = [("retention.ms".to_owned(), "1000".to_owned())];
    let admin = client.admin();
    admin.alter_topic(TOPIC, set.into(), Vec::new()).await?;
    until("the log is empty", CHECK_LIMIT, async || {
        let start = offset(&client, v1::OffsetPosition::Earliest).await.ok()?;
        (start == number).then_some(())
    })
    .await
}

#[tokio::test]
async fn old_records_go_through_kills_in_a_folder() -> Result<()> {
    old_records_go(&World::folder()?).await
}

#[tokio::test]
async fn old_records_go_through_kills_and_lost_machines_on_s3() -> Result<()> {
    old_records_go(&World::s3().await?).await
}
