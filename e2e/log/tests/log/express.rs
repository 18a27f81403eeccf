//! Small batches of an express class are acknowledged without a segment in the bucket, are moved there by merges, and leave
//! nothing behind, through `kill -9` and lost machines; an audit finds all well at every stage.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::{Cli, Server, ServerOptions, metric, until};

use crate::support::{World, base, only_what_is_named, records, rows};

const TOPIC: &str = "express";
const PARTITIONS: u32 = 3;
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

fn value(partition: u32, number: u64) -> String {
    let text = format!("{partition}/{number}:");
    let times = if number % 10 == 9 { 8_000 } else { 50 };
    text.repeat(times)
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

async fn read(client: &Client, end: u64) -> Result<()> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next = vec![0; PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        let next = &mut next[partition as usize];
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            let expected = value(partition, *next);
            let is_it = at == *next && record.value.as_deref() == Some(expected.as_bytes());
            ensure!(is_it, "offset {at} of {partition} is not as it was sent");
            *next += 1;
        }
    }
    ensure!(
        next.iter().all(|next| *next == end),
        "read up to {next:?} of {end}"
    );
    Ok(())
}

async fn number(server: &Server, name: &str, labels: &[&str]) -> Result<f64> {
    let page = server.metrics().await?;
    Ok(metric(&page, name, labels).unwrap_or_default())
}

async fn audit(world: &World) -> Result<()> {
    let flags = world.place.flags();
    let mut words = vec!["audit", "--verify", "bytes", "--set", "janitor.grace=1s"];
    words.extend(flags.iter().map(String::as_str));
    let audited = Cli::new(None).run(&words).await?;
    ensure!(audited.code == 0, "{audited:?}");
    Ok(())
}

async fn small_batches_go_with_their_commits(world: &World) -> Result<()> {
    let mut server = Server::start(options(world)).await?;
    let client = server.client()?;
    let config = [("tidelog.storage.class", "quick"), ("retention.ms", "-1")];
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    let mut at = 0;
    for _ in 0..ROUNDS {
        let sent = "tidelog_append_inline_segments_total";
        let put = "tidelog_append_segments_total";
        for _ in 0..APPENDS {
            append(&client, at).await?;
            at += 1;
        }
        let (sent, put) = (
            number(&server, sent, &[]).await?,
            number(&server, put, &[]).await?,
        );
        println!("{sent} segments with their commits, {put} put by the broker");
        ensure!(sent >= 30.0, "{sent} segments have gone with their commits");
        ensure!(put <= 4.0, "{put} segments were put for four large batches");
        read(&client, at).await?;
        audit(world).await?;
        server.process().kill();
        if world.minio.is_some() {
            server.wipe()?;
        }
        server.restart_with(options(world)).await?;
        read(&client, at).await?;
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
    read(&client, at).await?;
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
