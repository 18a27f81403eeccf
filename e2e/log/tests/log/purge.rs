//! Deleted topics go from metadata and from the bucket once their time is over, through `kill -9`, and nothing else does.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::{Server, ServerOptions, metric, until};

use crate::support::{World, base, only_what_is_named, records, rows};

const GONE: [&str; 3] = ["gone-1", "gone-2", "gone-3"];
const KEPT: &str = "kept";
const PARTITIONS: u32 = 4;
const KILLS: u64 = 4;
/// Appends to each topic before they are deleted.
const APPENDS: u64 = 24;
/// How long a deleted topic is kept.
const DELETED_KEPT: &str = "2500";
/// Time for the purge itself.
const PURGE_LIMIT: Duration = Duration::from_secs(90);
/// What is left of topics, by kinds of rows.
const KINDS: [&str; 2] = ["deleted topic", "emptied"];

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.retention_interval", "1s")
        .with("janitor.grace", "1s")
}

fn value(topic: &str, number: u64) -> String {
    format!("{topic} {number} ").repeat(40)
}

async fn append(client: &Client, topic: &str, partition: u32, number: u64) -> Result<u64> {
    let entry = records(topic, partition, [value(topic, number)]);
    base(&client.log().produce(vec![entry]).await?)
}

/// The topic that stays has each record once, with its bytes.
async fn check_kept(client: &Client, count: u64) -> Result<()> {
    let mut consumer = client.consumer(KEPT, ConsumerOptions::all_until_end());
    let mut next = 0;
    while let Some(chunk) = consumer.next().await? {
        for record in chunk.records() {
            let record = record?;
            ensure!(
                record.offset.get() == next,
                "{} is not {next}",
                record.offset
            );
            let expected = value(KEPT, next);
            let same = record.value.as_deref() == Some(expected.as_bytes());
            ensure!(same, "other bytes at {next}");
            next += 1;
        }
    }
    ensure!(next == count, "read up to {next} of {count}");
    Ok(())
}

async fn deleted_topics_go(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let forever = ("retention.ms", "-1");
    for topic in GONE {
        let config = [forever, ("deleted.retention.ms", DELETED_KEPT)];
        client
            .admin()
            .create_topic(topic, PARTITIONS, config)
            .await?;
    }
    client.admin().create_topic(KEPT, 1, [forever]).await?;
    let mut kept = 0;
    for number in 0..APPENDS {
        for topic in GONE {
            let partition = u32::try_from(number)? % PARTITIONS;
            append(&client, topic, partition, number).await?;
        }
        ensure!(append(&client, KEPT, 0, kept).await? == kept);
        kept += 1;
    }
    // One comes back in time.
    client.admin().delete_topic(GONE[0]).await?;
    client.admin().undelete_topic(GONE[0], None).await?;
    for topic in &GONE[1..] {
        client.admin().delete_topic(topic).await?;
    }
    for round in 0..KILLS {
        // In the middle of whatever it does.
        tokio::time::sleep(Duration::from_millis(1_000 + 600 * round)).await;
        server.process().kill();
        server.restart_with(options(world)).await?;
        ensure!(append(&client, KEPT, 0, kept).await? == kept);
        kept += 1;
    }
    until("the topics are purged", PURGE_LIMIT, async || {
        let left = rows(world, &KINDS).await.ok()?;
        let topics = rows(world, &["topic"]).await.ok()?;
        (left == 0 && topics == 2).then_some(())
    })
    .await?;
    let page = server.metrics().await?;
    let waiting = metric(&page, "tidelog_sequencer_deleted_topics", &[]);
    ensure!(waiting == Some(0.0), "{waiting:?} topics wait");
    check_kept(&client, kept).await?;
    // The one that came back, and then all that was left of it.
    ensure!(append(&client, GONE[0], 0, 0).await? == APPENDS / u64::from(PARTITIONS));
    client.admin().delete_topic(GONE[0]).await?;
    until("the last topic is purged", PURGE_LIMIT, async || {
        let topics = rows(world, &["topic"]).await.ok()?;
        (topics == 1).then_some(())
    })
    .await?;
    // What the writer has not put beyond its floor stays until it ends.
    server.process().kill();
    server.restart_with(options(world)).await?;
    let named = only_what_is_named(world).await?;
    ensure!(named <= kept, "{named} segments are left of {kept} records");
    check_kept(&client, kept).await?;
    // A name that is used again begins anew.
    client.admin().create_topic(GONE[1], 1, [forever]).await?;
    ensure!(append(&client, GONE[1], 0, 0).await? == 0);
    println!("{named} segments are named and there, of {kept} records that were kept");
    Ok(())
}

#[tokio::test]
async fn deleted_topics_go_through_kills_in_a_folder() -> Result<()> {
    deleted_topics_go(&World::folder()?).await
}

#[tokio::test]
async fn deleted_topics_go_through_kills_on_s3() -> Result<()> {
    deleted_topics_go(&World::s3().await?).await
}
