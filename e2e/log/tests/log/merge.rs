//! Small segments become large ones, through `kill -9` and lost machines, and every record stays what it was, where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Bucket, Server, ServerOptions, metric, until};

use crate::numbered::Numbered;
use crate::support::{World, only_what_is_named};

const TOPIC: Numbered = Numbered {
    topic: "merge",
    partitions: 12,
    value_bytes: |_| 3_000,
};
const KILLS: u64 = 4;
/// Appends between two kills, of a record for each partition.
const APPENDS: u64 = 40;
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

/// Bytes of merged extents that were to be merged again since the server has started.
async fn merged_again(server: &Server) -> Result<f64> {
    let page = server.metrics().await?;
    let bytes = metric(&page, "tidelog_sequencer_merged_again_bytes_total", &[]);
    Ok(bytes.unwrap_or_default())
}

async fn segments_are_merged(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    TOPIC.create(&client, &[]).await?;
    let mut number = 0;
    let (mut most, mut again) = (0, 0.0);
    for round in 0..=KILLS {
        for _ in 0..APPENDS {
            TOPIC.append(&client, number).await?;
            number += 1;
        }
        most = most.max(Bucket::open(&world.place)?.segments().await?.len());
        TOPIC.read(&client, number).await?;
        // In the middle of whatever is merged, or swapped, or deleted.
        tokio::time::sleep(Duration::from_millis(600 * round)).await;
        again += merged_again(&server).await?;
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
    }
    TOPIC.read(&client, number).await?;
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
    TOPIC.read(&client, number).await?;
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
    for partition in 0..TOPIC.partitions {
        TOPIC.delete(&client, partition, number).await?;
    }
    TOPIC.append(&client, number).await?;
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
