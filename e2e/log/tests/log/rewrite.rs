//! Of merged segments of which little is left that is written anew, through `kill -9` and lost machines: the bucket shrinks
//! to about what is needed, and that stays what it was, where it was.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tidelog_e2e_harness::{Bucket, Server, ServerOptions, metric, until};

use crate::numbered::Numbered;
use crate::support::{World, audit, only_what_is_named};

const TOPIC: Numbered = Numbered {
    topic: "rewrite",
    partitions: 12,
    value_bytes: |_| VALUE_BYTES,
};
/// The partition that stays.
const KEPT: u32 = 7;
const ROUNDS: u64 = 3;
/// Appends of a round, of a record for each partition.
const APPENDS: u64 = 30;
const VALUE_BYTES: usize = 20_000;
const REWRITTEN: &str = "tidelog_sequencer_rewritten_bytes_total";
const LIMIT: Duration = Duration::from_mins(1);

/// What is left waits for so long.
fn options(world: &World, age: &str) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("metadata.merge_bytes", "4MiB")
        .with("metadata.merge_growth", "0")
        .with("metadata.rewrite_live_percent", "60")
        .with("metadata.rewrite_age", age)
        .with("janitor.grace", "1s")
}

async fn what_is_left_is_written_anew(world: &World) -> Result<()> {
    let mut server = Server::start(options(world, "1h")).await?;
    let client = server.client()?;
    TOPIC.create(&client, &[]).await?;
    let mut number = 0;
    for _ in 0..ROUNDS {
        for _ in 0..APPENDS {
            TOPIC.append(&client, number).await?;
            number += 1;
        }
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    // What a writer has committed goes when it has ended.
    server.process().kill();
    server.restart_with(options(world, "1h")).await?;
    let before = only_what_is_named(world).await?;
    let bucket = Bucket::open(&world.place)?;
    let full = bucket.segment_bytes().await?;
    for partition in (0..TOPIC.partitions).filter(|partition| *partition != KEPT) {
        TOPIC.delete(&client, partition, number).await?;
    }
    TOPIC.read_kept(&client, number, |at| at == KEPT).await?;
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
        server.restart_with(options(world, "2s")).await?;
        TOPIC.read_kept(&client, number, |at| at == KEPT).await?;
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
    TOPIC.read_kept(&client, number, |at| at == KEPT).await?;
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
