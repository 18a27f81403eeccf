//! The metadata is lost in the middle of a load, and restored from a backup that was taken while the load
//! went on. What was acknowledged before the backup is there at the same offsets; clients that hold tokens
//! of the life before are not stuck; and writing goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_e2e_harness::history::{Append, Content, Outcome, Partition, Recorder, check};
use tidelog_e2e_harness::load::{Load, LoadOptions, drain};
use tidelog_e2e_harness::{Bucket, Cli, Server, ServerOptions, until, within};

use crate::support::{END_LIMIT, LOAD_LIMIT, World, base, fetch, fetched, records};

const TOPIC: &str = "restore";
const PARTITIONS: u32 = 3;
/// The exit code of a wrong command.
const USAGE: i32 = 2;

/// A command on the bucket itself, with the settings of the world.
fn with_place<'a>(words: &[&'a str], place: &'a [String]) -> Vec<&'a str> {
    let mut all = words.to_vec();
    all.extend(place.iter().map(String::as_str));
    all
}

/// Waits until `count` more records have been acknowledged.
async fn progress(recorder: &Recorder, count: usize) -> Result<()> {
    let goal = recorder.acked() + count;
    let what = format!("{goal} records are acknowledged");
    until(what, END_LIMIT, async || {
        (recorder.acked() >= goal).then_some(())
    })
    .await
}

/// Where each acknowledged record is.
fn acknowledged(appends: &[Append]) -> Vec<(Partition, u64, Content)> {
    let mut all = Vec::new();
    for append in appends {
        if let Outcome::Acked { base, .. } = append.outcome {
            let contents = (base..).zip(&append.records);
            all.extend(
                contents
                    .map(|(offset, content)| (append.partition.clone(), offset, content.clone())),
            );
        }
    }
    all
}

/// Loses the store of the metadata, as if somebody had deleted it.
async fn lose_metadata(bucket: &Bucket) -> Result<()> {
    let keys = bucket.keys("/meta/").await?;
    ensure!(!keys.is_empty(), "there is metadata to lose");
    for key in keys {
        bucket.delete(&key).await?;
    }
    Ok(())
}

async fn lost_and_restored(world: &World) -> Result<()> {
    let place = world.place.flags();
    let commands = Cli::new(None);
    let run = async |words: &[&str]| commands.ok(&with_place(words, &place)).await;
    let mut server = Server::start(ServerOptions::at(&world.place)).await?;
    let client = server.client()?;
    let topics = client.admin();
    topics
        .create_topic(TOPIC, PARTITIONS, [] as [(&str, &str); 0])
        .await?;
    let recorder = Arc::new(Recorder::default());
    let options = LoadOptions {
        delivery_timeout: Duration::from_secs(3),
        ..LoadOptions::on(TOPIC, PARTITIONS)
    };
    let load = Load::start(|| server.client(), &options, &recorder)?;
    progress(&recorder, 300).await?;

    // The server goes on: nothing takes the store from it.
    let before = acknowledged(&recorder.history().appends);
    run(&["metadata", "backup", "--name", "first"]).await?;
    progress(&recorder, 100).await?;
    let listed = run(&["metadata", "backup", "list", "-o", "json"]).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    ensure!(listed[0]["state"] == "complete", "{listed}");
    let counted = run(&["metadata", "stats", "-o", "json"]).await?;
    let counted: Value = serde_json::from_str(&counted)?;
    ensure!(counted["rows"].as_u64() > Some(10), "{counted}");
    // The client holds a token of a group that the backup does not have.
    let lost = client
        .log()
        .produce(vec![records(TOPIC, 0, ["lost"])])
        .await?;
    base(&lost)?;

    server.process().kill();
    server.process().wait(END_LIMIT).await?;
    load.finish(LOAD_LIMIT).await?;
    lose_metadata(&Bucket::open(&world.place)?).await?;
    run(&["metadata", "restore", "first"]).await?;
    let again = with_place(&["metadata", "restore", "first"], &place);
    commands.fails(&again, USAGE, &["--wipe"]).await?;
    server.restart().await?;

    let after = Arc::new(Recorder::default());
    within(
        "the old client to read",
        LOAD_LIMIT,
        drain(&client, TOPIC, &after),
    )
    .await??;
    let mut there = HashMap::new();
    for read in after.history().reads {
        let of = read.partition;
        let found = read.records.into_iter();
        there.extend(found.map(|(offset, content)| ((of.clone(), offset), content)));
    }
    for (of, offset, content) in &before {
        let found = there.get(&(of.clone(), *offset));
        ensure!(found == Some(content), "{of:?} has lost {offset}");
    }
    println!("{} records acknowledged before the backup", before.len());

    // Writing goes on where the log ends, by the old client and by new ones.
    let ends: u64 = there.keys().filter(|(of, _)| of.number == 0).count() as u64;
    let sent = client
        .log()
        .produce(vec![records(TOPIC, 0, ["new"])])
        .await?;
    ensure!(base(&sent)? == ends, "the log goes on at {ends}");
    let mut stream = client.log().fetch(fetch(TOPIC, 0, ends)).await?;
    let data = stream.pop().context("one partition")?;
    ensure!(
        fetched(&data)[0].value.as_deref() == Some(&b"new"[..]),
        "{data:?}"
    );
    topics
        .create_topic("new", PARTITIONS, [] as [(&str, &str); 0])
        .await?;
    let recorder = Arc::new(Recorder::default());
    let options = LoadOptions::on("new", PARTITIONS);
    let load = Load::start(|| server.client(), &options, &recorder)?;
    progress(&recorder, 200).await?;
    load.finish(LOAD_LIMIT).await?;
    drain(&client, "new", &recorder).await?;
    check(&recorder.history()).ensure_clean()?;

    server.stop(END_LIMIT).await?;
    run(&["metadata", "accept-restore"]).await?;
    run(&["metadata", "backup", "delete", "first"]).await?;
    let listed = run(&["metadata", "backup", "list", "-o", "json"]).await?;
    ensure!(listed.trim() == "[]", "{listed}");
    server.restart().await
}

#[tokio::test]
async fn metadata_that_is_lost_in_a_folder_is_restored() -> Result<()> {
    lost_and_restored(&World::folder()?).await
}

#[tokio::test]
async fn metadata_that_is_lost_on_s3_is_restored() -> Result<()> {
    lost_and_restored(&World::s3().await?).await
}
