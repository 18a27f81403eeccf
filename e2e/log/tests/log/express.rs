//! Small batches of an express class are acknowledged without a segment in the bucket, are moved there by merges, and leave
//! nothing behind, through `kill -9` and lost machines; an audit finds all well at every stage.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Server, ServerOptions, metric, until};

use crate::numbered::Numbered;
use crate::support::{World, audit, only_what_is_named, rows};

const TOPIC: Numbered = Numbered {
    topic: "express",
    partitions: 3,
    value_bytes: |number| if number % 10 == 9 { 40_000 } else { 300 },
};
const ROUNDS: u64 = 3;
/// Appends of a record for each partition, of which every tenth is too large to go with its commit.
const APPENDS: u64 = 40;
const LIMIT: Duration = Duration::from_mins(1);

fn options(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("storage.classes.quick.express_bytes", "16KiB")
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "2s")
        .with("janitor.grace", "1s")
}

async fn number(server: &Server, name: &str, labels: &[&str]) -> Result<f64> {
    let page = server.metrics().await?;
    Ok(metric(&page, name, labels).unwrap_or_default())
}

async fn small_batches_go_with_their_commits(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let class = ("tidelog.storage.class", "quick");
    TOPIC.create(&client, &[class]).await?;
    let mut at = 0;
    for _ in 0..ROUNDS {
        let sent = "tidelog_append_inline_segments_total";
        let put = "tidelog_append_segments_total";
        for _ in 0..APPENDS {
            TOPIC.append(&client, at).await?;
            at += 1;
        }
        let (sent, put) = (
            number(&server, sent, &[]).await?,
            number(&server, put, &[]).await?,
        );
        println!("{sent} segments with their commits, {put} put by the broker");
        ensure!(sent >= 30.0, "{sent} segments have gone with their commits");
        ensure!(put <= 4.0, "{put} segments were put for four large batches");
        TOPIC.read(&client, at).await?;
        audit(world).await?;
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
        TOPIC.read(&client, at).await?;
    }
    until(
        "all but the last are moved and deleted",
        LIMIT,
        async || {
            let in_store = rows(world, &["inline"]).await.ok()?;
            (in_store <= 1).then_some(())
        },
    )
    .await?;
    only_what_is_named(world).await?;
    TOPIC.read(&client, at).await?;
    audit(world).await
}

#[tokio::test]
async fn small_batches_go_with_their_commits_in_a_folder() -> Result<()> {
    small_batches_go_with_their_commits(&World::folder()?).await
}

#[tokio::test]
async fn small_batches_go_with_their_commits_on_s3() -> Result<()> {
    small_batches_go_with_their_commits(&World::s3().await?).await
}
