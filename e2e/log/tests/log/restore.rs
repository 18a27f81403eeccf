//! The metadata is lost in the middle of a load, and restored from a backup that was taken while the load
//! went on. What was acknowledged before the backup is there at the same offsets; clients that hold tokens
//! of the life before are not stuck; and writing goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_client::Client;
use tidelog_e2e_harness::history::{Append, Content, Outcome, Partition, Recorder, check};
use tidelog_e2e_harness::load::{Load, LoadOptions, drain};
use tidelog_e2e_harness::{Bucket, Cli, Ended, Server, ServerOptions, until, within};

use crate::support::{END_LIMIT, LOAD_LIMIT, World, base, fetch, fetched, records};

const TOPIC: &str = "restore";
const PARTITIONS: u32 = 3;
/// How a server ends that finds segments and no metadata.
const NO_METADATA: Ended = Ended::Code(4);
/// The exit code of a wrong command.
const USAGE: i32 = 2;
/// The exit code of a command that does not find what it is about.
const NOT_FOUND: i32 = 8;

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
fn acknowledged(appends: &[Append]) -> Records {
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
pub(crate) async fn lose_metadata(bucket: &Bucket) -> Result<()> {
    let keys = bucket.keys("/meta/").await?;
    ensure!(!keys.is_empty(), "there is metadata to lose");
    for key in keys {
        bucket.delete(&key).await?;
    }
    Ok(())
}

/// The records that were acknowledged before a backup, and where.
type Records = Vec<(Partition, u64, Content)>;

struct Scenario {
    place: Vec<String>,
    commands: Cli,
    server: Server,
    /// Holds tokens of all that it has written.
    client: Client,
}

impl Scenario {
    async fn start(world: &World) -> Result<Self> {
        let server = Server::start(ServerOptions::at(&world.place)).await?;
        let client = server.client()?;
        Ok(Self {
            place: world.place.flags(),
            commands: Cli::new(None),
            server,
            client,
        })
    }

    async fn run(&self, words: &[&str]) -> Result<String> {
        self.commands.ok(&with_place(words, &self.place)).await
    }

    async fn list(&self) -> Result<Value> {
        let listed = self.run(&["metadata", "backup", "list", "-o", "json"]);
        Ok(serde_json::from_str(&listed.await?)?)
    }

    async fn create(&self, topic: &str) -> Result<()> {
        let none = [] as [(&str, &str); 0];
        self.client
            .admin()
            .create_topic(topic, PARTITIONS, none)
            .await?;
        Ok(())
    }

    /// Takes a backup in the middle of a load, and loses the metadata while the load goes on.
    async fn back_up_and_lose(&mut self, world: &World) -> Result<Records> {
        self.create(TOPIC).await?;
        let recorder = Arc::new(Recorder::default());
        let options = LoadOptions {
            delivery_timeout: Duration::from_secs(3),
            ..LoadOptions::on(TOPIC, PARTITIONS)
        };
        let load = Load::start(|| self.server.client(), &options, &recorder)?;
        progress(&recorder, 300).await?;
        let before = acknowledged(&recorder.history().appends);
        self.run(&["metadata", "backup", "--name", "first"]).await?;
        // The server goes on: nothing has taken the store from it.
        progress(&recorder, 100).await?;
        self.is_left_alone_by_what_is_refused(&recorder).await?;
        let listed = self.list().await?;
        ensure!(listed[0]["state"] == "complete", "{listed}");
        let counted = self.run(&["metadata", "stats", "-o", "json"]).await?;
        let counted: Value = serde_json::from_str(&counted)?;
        ensure!(counted["rows"].as_u64() > Some(10), "{counted}");
        // From here on the client holds a token of a group that the backup does not have.
        self.append("lost").await?;
        self.server.process().kill();
        self.server.process().wait(END_LIMIT).await?;
        load.finish(LOAD_LIMIT).await?;
        lose_metadata(&Bucket::open(&world.place)?).await?;
        self.is_not_founded_anew().await?;
        Ok(before)
    }

    /// Restores that are refused take nothing from a server that works on the store.
    async fn is_left_alone_by_what_is_refused(&mut self, recorder: &Recorder) -> Result<()> {
        let refused = [
            (["metadata", "restore", "first"], USAGE, "--wipe"),
            (["metadata", "restore", "nope"], NOT_FOUND, "no such backup"),
        ];
        for (words, code, word) in refused {
            let words = with_place(&words, &self.place);
            self.commands.fails(&words, code, &[word]).await?;
        }
        let again = with_place(&["metadata", "backup", "--name", "first"], &self.place);
        self.commands
            .fails(&again, USAGE, &["exists already"])
            .await?;
        progress(recorder, 100).await?;
        ensure!(
            self.server.process().ended().is_none(),
            "the server lost its store"
        );
        Ok(())
    }

    /// A server that finds segments and no metadata does not begin a new cluster over them.
    async fn is_not_founded_anew(&mut self) -> Result<()> {
        let options = self.server.options().clone();
        self.server.respawn(options)?;
        let ended = self.server.process().wait(END_LIMIT).await?;
        ensure!(ended == NO_METADATA, "it ended with {ended:?}");
        let log = self.server.process().log();
        ensure!(log.contains("tidelog metadata restore"), "{log}");
        // What it has left of a store is nothing that a restore would mind.
        Ok(())
    }

    async fn append(&self, value: &str) -> Result<u64> {
        let entry = records(TOPIC, 0, [value]);
        base(&self.client.log().produce(vec![entry]).await?)
    }

    async fn restore(&mut self) -> Result<()> {
        self.run(&["metadata", "restore", "first"]).await?;
        let again = with_place(&["metadata", "restore", "first"], &self.place);
        self.commands.fails(&again, USAGE, &["--wipe"]).await?;
        self.server.restart().await
    }

    /// All of `before` is where it was. Returns where the first partition ends.
    async fn judge(&self, before: &Records) -> Result<u64> {
        let after = Arc::new(Recorder::default());
        let all = drain(&self.client, TOPIC, &after);
        within("the client of before to read", LOAD_LIMIT, all).await??;
        let mut there = HashMap::new();
        for read in after.history().reads {
            let of = read.partition;
            let found = read.records.into_iter();
            there.extend(found.map(|(offset, content)| ((of.clone(), offset), content)));
        }
        for (of, offset, content) in before {
            let found = there.get(&(of.clone(), *offset));
            ensure!(found == Some(content), "{of:?} has lost {offset}");
        }
        println!("{} records acknowledged before the backup", before.len());
        let first = there.keys().filter(|(of, _)| of.number == 0);
        Ok(u64::try_from(first.count())?)
    }

    /// Writing goes on where the log ends, by the client of before and by new ones.
    async fn go_on(&self, end: u64) -> Result<()> {
        ensure!(self.append("new").await? == end, "the log goes on at {end}");
        let mut read = self.client.log().fetch(fetch(TOPIC, 0, end)).await?;
        let data = read.pop().context("one partition")?;
        let value = fetched(&data).pop().context("a record")?.value;
        ensure!(value.as_deref() == Some(&b"new"[..]), "{data:?}");
        self.create("new").await?;
        let recorder = Arc::new(Recorder::default());
        let options = LoadOptions::on("new", PARTITIONS);
        let load = Load::start(|| self.server.client(), &options, &recorder)?;
        progress(&recorder, 200).await?;
        load.finish(LOAD_LIMIT).await?;
        drain(&self.client, "new", &recorder).await?;
        check(&recorder.history()).ensure_clean()
    }
}

async fn lost_and_restored(world: &World) -> Result<()> {
    let mut scenario = Scenario::start(world).await?;
    let before = scenario.back_up_and_lose(world).await?;
    scenario.restore().await?;
    let end = scenario.judge(&before).await?;
    scenario.go_on(end).await?;
    scenario.server.stop(END_LIMIT).await?;
    scenario.run(&["metadata", "accept-restore"]).await?;
    let delete = ["metadata", "backup", "delete", "first"];
    scenario.run(&delete).await?;
    ensure!(scenario.list().await? == Value::Array(Vec::new()));
    scenario.server.restart().await
}

#[tokio::test]
async fn metadata_that_is_lost_in_a_folder_is_restored() -> Result<()> {
    lost_and_restored(&World::folder()?).await
}

#[tokio::test]
async fn metadata_that_is_lost_on_s3_is_restored() -> Result<()> {
    lost_and_restored(&World::s3().await?).await
}
