//! Topics in three places: one in the main bucket, one in a bucket beside it, one that is put there and merged into the main
//! one. Through `kill -9`, each record stays what and where it was, and what nobody needs goes from both buckets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_client::{Client, ConsumerOptions};
use tidelog_e2e_harness::{
    Bucket, Cli, Ended, Finished, Place, Server, ServerOptions, metric, until,
};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use crate::support::{END_LIMIT, World, base, records};

/// Without a class; put into the other bucket and merged there; put there and merged into the main one.
const TOPICS: [(&str, Option<&str>); 3] = [
    ("plain", None),
    ("beside", Some("fast")),
    ("moving", Some("moved")),
];
const KILLS: u64 = 3;
/// Appends to each topic between two kills.
const APPENDS: u64 = 15;
const VALUE_BYTES: usize = 2_000;
const LIMIT: Duration = Duration::from_mins(1);
/// The exit code of a server that cannot use its buckets.
const REFUSED: Ended = Ended::Code(4);

const LOCATION: &str = "storage.buckets.hot.location";

/// Where the bucket beside the main one is, and what comes before its keys.
fn hot(place: &Place) -> (String, &'static str) {
    match place {
        Place::Folder(path) => (path.display().to_string(), ""),
        Place::S3 { bucket, .. } => (format!("s3://{bucket}/deep/prefix"), "deep/prefix/"),
    }
}

/// Where it is after it has moved.
fn moved(place: &Place) -> (Place, String, &'static str) {
    match place {
        Place::Folder(path) => {
            let path = path.with_file_name("moved");
            (Place::folder(&path), path.display().to_string(), "")
        }
        Place::S3 { bucket, .. } => {
            let location = format!("s3://{bucket}/deep/moved");
            (place.clone(), location, "deep/moved/")
        }
    }
}

/// What commands are told that work on the buckets.
fn flags(world: &World, location: &str) -> Vec<String> {
    let set = ["--set".to_owned(), format!("{LOCATION}={location}")];
    world.place.flags().into_iter().chain(set).collect()
}

struct Scenario {
    options: ServerOptions,
    flags: Vec<String>,
    main: Bucket,
    hot: Bucket,
    hot_place: Place,
    /// What comes before the keys of that bucket.
    prefix: &'static str,
    is_remote: bool,
    server: Server,
    appended: u64,
}

fn plain(world: &World) -> ServerOptions {
    ServerOptions::at(&world.place)
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "1s")
        .with("metadata.merge_bytes", "1MiB")
        .with("janitor.grace", "1s")
}

fn with_hot(world: &World, location: &str) -> ServerOptions {
    plain(world)
        .with(LOCATION, location)
        .with("storage.classes.fast.bucket", "hot")
        .with("storage.classes.moved.bucket", "hot")
        .with("storage.classes.moved.merged_bucket", "main")
}

fn value(topic: &str, number: u64) -> String {
    let text = format!("{topic}/{number}:");
    text.repeat(VALUE_BYTES / text.len() + 1)
}

impl Scenario {
    async fn start(world: &World, hot_place: Place) -> Result<Self> {
        let (location, prefix) = hot(&hot_place);
        let options = with_hot(world, &location);
        let server = Server::start(options.clone()).await?;
        let client = server.client()?;
        for (topic, class) in TOPICS {
            let class = class.map(|class| ("tidelog.storage.class", class));
            let config = class.into_iter().chain([("retention.ms", "-1")]);
            client.admin().create_topic(topic, 1, config).await?;
        }
        Ok(Self {
            options,
            flags: flags(world, &location),
            prefix,
            main: Bucket::open(&world.place)?,
            hot: Bucket::open(&hot_place)?,
            hot_place,
            is_remote: world.minio.is_some(),
            server,
            appended: 0,
        })
    }

    async fn append(&mut self) -> Result<()> {
        let client = self.server.client()?;
        for _ in 0..APPENDS {
            for (topic, _) in TOPICS {
                let entry = records(topic, 0, [value(topic, self.appended)]);
                let at = base(&client.log().produce(vec![entry]).await?)?;
                ensure!(at == self.appended, "{topic} appended at {at}");
            }
            self.appended += 1;
        }
        Ok(())
    }

    /// Reads everything.
    async fn read(&self) -> Result<()> {
        let client = self.server.client()?;
        for (topic, _) in TOPICS {
            let mut consumer = client.consumer(topic, ConsumerOptions::all_until_end());
            let mut next = 0;
            while let Some(chunk) = consumer.next().await? {
                for record in chunk.records() {
                    let record = record?;
                    let at = record.offset.get();
                    ensure!(at == next, "{topic}: {at} where {next} was to come");
                    let expected = value(topic, at);
                    let same = record.value.as_deref() == Some(expected.as_bytes());
                    ensure!(same, "{topic}: other bytes at {at}");
                    next += 1;
                }
            }
            ensure!(next == self.appended, "{topic}: read up to {next}");
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.server.process().kill();
        if self.is_remote {
            self.server.wipe()?;
        }
        self.server.restart_with(self.options.clone()).await
    }

    /// Waits until all is merged.
    async fn merged(&self) -> Result<()> {
        until("all is merged", LIMIT, async || {
            let page = self.server.metrics().await.ok()?;
            let shard = ["shard=\"0\""];
            let since = metric(&page, "tidelog_sequencer_shard_tail_since_seconds", &shard);
            since.is_none().then_some(())
        })
        .await
    }

    async fn audit(&self, words: &[&str]) -> Result<(Finished, Value)> {
        let mut all = vec!["audit", "-o", "json", "--grace", "1s"];
        all.extend(words);
        all.extend(self.flags.iter().map(String::as_str));
        let finished = Cli::new(None).run(&all).await?;
        let found = serde_json::from_str(&finished.text());
        let found = found.with_context(|| format!("{finished:?}"))?;
        Ok((finished, found))
    }

    /// Bucket and metadata are the same to the byte.
    async fn is_clean(&self) -> Result<()> {
        let (finished, found) = self.audit(&["--verify", "bytes"]).await?;
        let none = found["differences"].as_array().is_some_and(Vec::is_empty);
        ensure!(finished.code == 0 && none, "{finished:?}");
        Ok(())
    }

    async fn segments(&self) -> Result<(usize, usize)> {
        let (main, hot) = tokio::try_join!(self.main.segments(), self.hot.segments())?;
        Ok((main.len(), hot.len()))
    }

    /// Deletes all records of a topic.
    async fn delete(&self, client: &Client, topic: &str) -> Result<()> {
        let deleted = tidelog_client::v1::DeleteRecordsPartition {
            topic: topic.to_owned(),
            partition: 0,
            before_offset: Some(self.appended),
        };
        client.log().delete_records(vec![deleted]).await?;
        Ok(())
    }

    /// An object of a writer that never was, in the bucket beside the main one.
    async fn an_orphan_is_found_and_goes(&self) -> Result<()> {
        let all = self.hot.segments().await?;
        let some = all.first().context("a segment beside the main bucket")?;
        let name = SegmentName::new(Incarnation::new(900), SegmentSequence::new(4));
        let orphan = format!("{}{}", self.prefix, self.hot.segment(some, name)?);
        self.hot.put(&orphan, "an orphan").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (_, found) = self.audit(&[]).await?;
        let only = &found["differences"][0];
        let object = only["object"].as_str().unwrap_or_default();
        let is_it = only["kind"] == "orphan" && object.contains("/seg@1/");
        ensure!(is_it, "{found}");
        let (finished, _) = self.audit(&["--mend"]).await?;
        ensure!(finished.code == 0, "{finished:?}");
        ensure!(!self.hot.segments().await?.contains(&orphan));
        Ok(())
    }

    /// The server ends when it starts with these settings, and says why.
    async fn refuses(&mut self, options: ServerOptions, says: &str) -> Result<()> {
        self.server.process().kill();
        self.server.respawn(options)?;
        let ended = self.server.process().wait(END_LIMIT).await?;
        let log = self.server.process().log_tail();
        ensure!(ended == REFUSED && log.contains(says), "{ended:?}: {log}");
        Ok(())
    }

    /// Servers and commands that would not find what there is end with an error that says what to set.
    async fn without_its_bucket_nothing_starts(&mut self, world: &World) -> Result<()> {
        let flags: Vec<String> = world.place.flags();
        let mut audit = vec!["audit"];
        audit.extend(flags.iter().map(String::as_str));
        Cli::new(None).fails(&audit, 4, &[LOCATION]).await?;
        self.refuses(plain(world), LOCATION).await?;
        // Nor with another one under its name.
        let elsewhere = world.file("elsewhere", "")?;
        std::fs::remove_file(&elsewhere)?;
        let other = plain(world).with(LOCATION, &elsewhere);
        self.refuses(other, "bucket adopt hot").await?;
        // Nor where there is nothing of it, though it is called the same.
        let marker = format!("{}tidelog.json", self.prefix);
        let bytes = self.hot.get(&marker).await?;
        self.hot.delete(&marker).await?;
        self.refuses(self.options.clone(), "has no marker").await?;
        let (finished, code) = (self.audit(&[]).await, 4);
        ensure!(finished.is_err(), "an audit ends with {code}: {finished:?}");
        ensure!(self.hot.keys("tidelog.json").await?.is_empty());
        self.hot.put(&marker, bytes).await?;
        self.server.restart_with(self.options.clone()).await
    }

    /// The marker of the main bucket is put back as it was before there were others.
    async fn an_old_marker_keeps_out_who_does_not_know_of_buckets(&mut self) -> Result<()> {
        const MARKER: &str = "tidelog.json";
        let features = async |bucket: &Bucket| {
            let marker: Value = serde_json::from_slice(&bucket.get(MARKER).await?)?;
            let features = marker["required_features"].as_array().cloned();
            let is_there = features
                .iter()
                .flatten()
                .any(|feature| feature == "buckets");
            anyhow::Ok((marker, is_there))
        };
        let (mut marker, is_there) = features(&self.main).await?;
        ensure!(is_there, "not required: {marker}");
        marker["required_features"] = Value::Array(Vec::new());
        self.server.process().kill();
        let old = serde_json::to_vec(&marker)?;
        self.main.put(MARKER, old).await?;
        self.server.restart_with(self.options.clone()).await?;
        let (marker, is_there) = features(&self.main).await?;
        ensure!(is_there, "not required again: {marker}");
        Ok(())
    }

    /// What one process has in its settings and nobody can use, or nobody uses, is in nobody's way afterwards.
    async fn a_wrong_bucket_is_not_for_ever(&mut self, world: &World) -> Result<()> {
        let options = self.options.clone();
        let with = |location: &str| {
            let options = options.clone();
            options.with("storage.buckets.other.location", location)
        };
        let spare = world.file("spare", "")?;
        std::fs::remove_file(&spare)?;
        let unused = with(&spare);
        if let Place::Folder(main) = &world.place {
            let wrong = with(&format!("{}/.", main.display()));
            let wrong = wrong.with("storage.classes.wrong.bucket", "other");
            self.refuses(wrong, "main bucket of cluster").await?;
            let wrong = with(&format!("{}/.", hot(&self.hot_place).0));
            let wrong = wrong.with("storage.classes.wrong.bucket", "other");
            self.refuses(wrong, "bucket number `1`").await?;
        }
        self.server.process().kill();
        self.server.restart_with(unused).await?;
        self.server.process().kill();
        self.server.restart_with(self.options.clone()).await
    }

    /// All of the bucket is copied to another place, and is there from then on.
    async fn the_bucket_moves(&mut self, world: &World) -> Result<()> {
        self.server.process().kill();
        let (place, location, prefix) = moved(&self.hot_place);
        let to = Bucket::open(&place)?;
        for key in self.hot.keys("").await? {
            let bytes = self.hot.get(&key).await?;
            let below = key.strip_prefix(self.prefix).context("a key of ours")?;
            to.put(&format!("{prefix}{below}"), bytes).await?;
            if place == self.hot_place && !below.ends_with("tidelog.json") {
                self.hot.delete(&key).await?;
            }
        }
        let options = with_hot(world, &location);
        self.refuses(options.clone(), "bucket adopt hot").await?;
        let flags = flags(world, &location);
        let mut adopt = vec!["bucket", "adopt", "hot"];
        adopt.extend(flags.iter().map(String::as_str));
        Cli::new(None).ok(&adopt).await?;
        // The marker that the copy has left says nothing.
        self.refuses(self.options.clone(), "bucket adopt hot")
            .await?;
        (self.options, self.flags) = (options, flags);
        (self.hot, self.hot_place, self.prefix) = (to, place, prefix);
        self.server.restart_with(self.options.clone()).await
    }

    /// A bucket in which nothing is left, and that no class uses, is let go of.
    async fn an_empty_bucket_is_forgotten(&mut self, world: &World) -> Result<()> {
        self.server.process().kill();
        let mut forget = vec!["bucket", "forget", "hot"];
        forget.extend(self.flags.iter().map(String::as_str));
        Cli::new(None).ok(&forget).await?;
        (self.options, self.flags) = (plain(world), world.place.flags());
        self.server.restart_with(self.options.clone()).await
    }
}

async fn topics_lie_where_their_classes_say(world: &World, hot: Place) -> Result<()> {
    let mut scenario = Scenario::start(world, hot).await?;
    for round in 0..KILLS {
        scenario.append().await?;
        scenario.read().await?;
        let (main, hot) = scenario.segments().await?;
        ensure!(main > 0 && hot > 0, "{main} and {hot} segments");
        tokio::time::sleep(Duration::from_millis(700 * round)).await;
        scenario.restart().await?;
    }
    // Cold: nothing is in memory.
    scenario.read().await?;
    scenario.merged().await?;
    scenario.restart().await?;
    scenario.read().await?;
    scenario.is_clean().await?;
    scenario.an_orphan_is_found_and_goes().await?;
    scenario.without_its_bucket_nothing_starts(world).await?;
    scenario
        .an_old_marker_keeps_out_who_does_not_know_of_buckets()
        .await?;
    scenario.a_wrong_bucket_is_not_for_ever(world).await?;
    scenario.read().await?;
    scenario.the_bucket_moves(world).await?;
    scenario.read().await?;
    scenario.is_clean().await?;

    // With the records of one topic all goes that the bucket has: those of the other have moved.
    let client = scenario.server.client()?;
    scenario.delete(&client, "beside").await?;
    until("nothing is left in the bucket", LIMIT, async || {
        let (_, hot) = scenario.segments().await.ok()?;
        (hot == 0).then_some(())
    })
    .await?;
    let (main, _) = scenario.segments().await?;
    ensure!(main > 0, "the others are there");
    scenario.is_clean().await?;
    scenario.an_empty_bucket_is_forgotten(world).await?;
    scenario.is_clean().await?;
    println!(
        "{} appends, {main} segments are left",
        scenario.appended * 3
    );
    Ok(())
}

#[tokio::test]
async fn topics_lie_where_their_classes_say_in_folders() -> Result<()> {
    let world = World::folder()?;
    let beside = match &world.place {
        Place::Folder(path) => Place::folder(path.with_file_name("hot")),
        other @ Place::S3 { .. } => other.clone(),
    };
    topics_lie_where_their_classes_say(&world, beside).await
}

#[tokio::test]
async fn topics_lie_where_their_classes_say_on_s3() -> Result<()> {
    let world = World::s3().await?;
    let beside = world.minio()?.create_bucket("hot").await?;
    topics_lie_where_their_classes_say(&world, beside).await
}

/// Segments that all lie beside the main bucket are not hidden by a new cluster either.
#[tokio::test]
async fn a_cluster_that_has_lost_its_store_is_no_new_one_though_its_main_bucket_is_empty()
-> Result<()> {
    let world = World::folder()?;
    let Place::Folder(path) = &world.place else {
        return Ok(());
    };
    let beside = Place::folder(path.with_file_name("hot"));
    let options = with_hot(&world, &hot(&beside).0);
    let mut server = Server::start(options.clone()).await?;
    let client = server.client()?;
    let class = [("tidelog.storage.class", "fast")];
    client.admin().create_topic("log", 1, class).await?;
    let entry = records("log", 0, ["value"]);
    client.log().produce(vec![entry]).await?;
    server.process().kill();
    let main = Bucket::open(&world.place)?;
    ensure!(main.segments().await?.is_empty());
    for key in main.keys("/meta/").await? {
        main.delete(&key).await?;
    }
    server.respawn(options)?;
    let ended = server.process().wait(END_LIMIT).await?;
    let log = server.process().log_tail();
    ensure!(
        ended == REFUSED && log.contains("the bucket holds segments"),
        "{ended:?}: {log}"
    );
    Ok(())
}
