//! A history is written, merged, cut by retention, compacted by key and read back at every stage, while the janitor and the readers are
//! killed all the while: contents and offsets stay exact, and in the end the bucket holds what metadata names.
//!
//! It runs in the main bucket alone, and with classes that put segments into a bucket beside it and let small batches go with
//! their commits. `TIDELOG_HISTORY_MIB` says how much is written; what runs by default is the short form. Of a GiB or more it is also
//! waited until what killed janitors have left behind is deleted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tidelog_client::{Client, ConsumerOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{
    Cli, Cluster, ClusterOptions, Place, Server, ServerOptions, free_port, metric,
    only_what_is_named, until,
};
use tokio::time::sleep;

use crate::keyed;
use crate::support::{TOPIC, bucket};

const PARTITIONS: u32 = 12;
const VALUE_BYTES: usize = 32 << 10;
const MIB_DEFAULT: u64 = 144;
/// With classes, where what is asked is the way of the bytes and not what they weigh.
const MIB_OF_CLASSES: u64 = 48;
/// Records that are on their way at a time, of all partitions.
const AT_ONCE: u64 = 24;
/// The longest that anything may take for each GiB, and at least.
const LIMIT_PER_GIB: Duration = Duration::from_mins(5);
const LIMIT_MIN: Duration = Duration::from_mins(3);
/// A janitor that was killed may come back for ten minutes, and until then what it has put may yet be named.
const WRITERS_ENDED: Duration = Duration::from_mins(20);
/// Time between two kills.
const KILL_EVERY: Duration = Duration::from_millis(1_500);
/// Retention takes extents as a whole, which have a MiB once merged, and so keeps up to one more of them.
const EXTENT_BYTES: u64 = 2 << 20;

/// How much is written, and how long its stages may take.
#[derive(Clone, Copy)]
struct Size {
    records: u64,
    limit: Duration,
    is_long: bool,
}

impl Size {
    fn from_env(default: u64) -> Result<Self> {
        let mib = match std::env::var("TIDELOG_HISTORY_MIB") {
            Ok(text) => text.parse().context("`TIDELOG_HISTORY_MIB`")?,
            Err(_) => default,
        };
        let gib = u32::try_from(mib >> 10)?;
        Ok(Self {
            records: (mib << 20) / VALUE_BYTES as u64 / u64::from(PARTITIONS),
            limit: LIMIT_MIN.max(LIMIT_PER_GIB * gib),
            is_long: gib > 0,
        })
    }
}

/// What a history runs with beside what all have: settings of all processes, and the classes of its two topics.
#[derive(Default)]
struct Classes {
    settings: Vec<(&'static str, String)>,
    topic: Option<&'static str>,
    keyed: Option<&'static str>,
}

impl Classes {
    /// The history is put into a bucket beside the main one and merged into the main one; what is keyed is committed
    /// inside the metadata transaction where it is small, is put beside where it is not, and is merged there.
    fn beside(place: &Place) -> Self {
        let location = match place {
            Place::Folder(path) => path.with_file_name("hot").display().to_string(),
            Place::S3 { bucket, .. } => format!("s3://{bucket}/hot"),
        };
        let settings = [
            ("storage.buckets.hot.location", location.as_str()),
            ("storage.classes.moved.bucket", "hot"),
            ("storage.classes.moved.merged_bucket", "main"),
            ("storage.classes.quick.bucket", "hot"),
            ("storage.classes.quick.express_bytes", "64KiB"),
        ];
        Self {
            settings: settings.map(|(key, value)| (key, value.to_owned())).into(),
            topic: Some("moved"),
            keyed: Some("quick"),
        }
    }

    /// What commands are told that work on the buckets.
    fn flags(&self, place: &Place) -> Vec<String> {
        let set = self.settings.iter();
        let set = set.flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        place.flags().into_iter().chain(set).collect()
    }
}

/// What is at an offset: bytes that follow from the place.
fn value(partition: u32, offset: u64) -> Vec<u8> {
    let mut state = (u64::from(partition) << 40 | offset) + 1;
    let mut value = Vec::with_capacity(VALUE_BYTES + 8);
    while value.len() < VALUE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value
}

/// Writes all records of all partitions, each at the offset that it must get.
async fn write(client: &Client, records: u64) -> Result<()> {
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let mut number = 0;
    while number < records {
        let some = number..records.min(number + AT_ONCE / 4);
        let mut sent = Vec::new();
        for number in some.clone() {
            for partition in 0..PARTITIONS {
                let value = value(partition, number);
                let record = SendRecord {
                    partition: Some(partition),
                    ..SendRecord::value(&value)
                };
                sent.push((number, producer.send(record).await?));
            }
        }
        for (number, sent) in sent {
            let at = sent.wait().await?.offset;
            ensure!(at == number, "record {number} was appended at {at}");
        }
        number = some.end;
    }
    Ok(())
}

/// Reads everything that there is and compares it; answers where each partition begins.
async fn read(client: &Client, end: u64) -> Result<Vec<u64>> {
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::all_until_end());
    let mut next: Vec<Option<u64>> = vec![None; PARTITIONS as usize];
    let mut starts = vec![end; PARTITIONS as usize];
    while let Some(chunk) = consumer.next().await? {
        let partition = chunk.partition;
        for record in chunk.records() {
            let record = record?;
            let at = record.offset.get();
            let place = &mut next[partition as usize];
            if place.is_none() {
                starts[partition as usize] = at;
            }
            let due = place.unwrap_or(at);
            ensure!(at == due, "offset {at} of {partition} where {due} was due");
            let is_it = record.value.as_deref() == Some(value(partition, at).as_slice());
            ensure!(is_it, "other bytes at {at} of {partition}");
            *place = Some(at + 1);
        }
    }
    let ended = next.iter().all(|next| next.unwrap_or(end) == end);
    ensure!(ended, "read up to {next:?} of {end}");
    Ok(starts)
}

/// Kills one process after the other, for ever.
async fn kill(servers: &mut [Server], kills: &mut u32) -> Result<()> {
    loop {
        for server in servers.iter_mut() {
            sleep(KILL_EVERY).await;
            server.process().kill();
            server.restart().await?;
            *kills += 1;
        }
    }
}

/// What is written, merged and cut is read back after each step.
async fn stages(client: &Client, cluster: &Cluster, size: Size, keyed: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let step = |what: &str| println!("{:6.1} s: {what}", start.elapsed().as_secs_f64());
    let whole = [0; PARTITIONS as usize];
    write(client, size.records).await?;
    keyed::write(client, keyed).await?;
    step("written");
    ensure!(read(client, size.records).await? == whole, "all is there");
    step("read");
    merged(cluster, size.limit).await?;
    step("merged");
    ensure!(read(client, size.records).await? == whole, "all is there");
    step("read merged");
    retain(client, size).await?;
    step("cut by retention");
    keyed::compacted(client, size.limit).await?;
    step("compacted");
    Ok(())
}

async fn helper(options: &ClusterOptions, cluster: &Cluster, role: &str) -> Result<Server> {
    let metadata = cluster.metadata.first().context("there is one")?;
    let server = ServerOptions::at(&options.place)
        .with("memory.total", "256MiB")
        .with("roles", role)
        .with("cluster.metadata", &metadata.internal.to_string());
    let storage = options.settings.iter();
    let storage = storage.filter(|(key, _)| key.starts_with("storage."));
    let server = storage.fold(server, |server, (key, value)| server.with(key, value));
    let server = match role {
        "reader" => server.with("listen.internal", &free_port()?.to_string()),
        _ => server,
    };
    Server::start(server).await
}

/// Every byte that metadata names is there, and nothing is there that is named by nothing and never will be.
async fn audit(flags: &[String]) -> Result<()> {
    let mut words = vec!["audit", "--verify", "bytes"];
    words.extend(flags.iter().map(String::as_str));
    println!("{}", Cli::new(None).ok(&words).await?);
    Ok(())
}

/// Waits until nothing of the tail is left to merge.
async fn merged(cluster: &Cluster, limit: Duration) -> Result<()> {
    until("all is merged", limit, async || {
        let page = cluster.metadata[0].server.metrics().await.ok()?;
        let since = "tidelog_sequencer_shard_tail_since_seconds";
        metric(&page, since, &[]).is_none().then_some(())
    })
    .await
}

/// Keeps the last bytes of each partition, and waits until the rest has gone.
async fn retain(client: &Client, size: Size) -> Result<()> {
    let kept = size.records * VALUE_BYTES as u64 / 4;
    let config = [("retention.bytes".to_owned(), kept.to_string())].into();
    client
        .admin()
        .alter_topic(TOPIC, config, Vec::new())
        .await?;
    let before = Instant::now();
    loop {
        let starts = match read(client, size.records).await {
            // Records went between the question where the log begins and the first read.
            Err(error) if format!("{error:#}").contains("outside the log") => {
                ensure!(before.elapsed() < size.limit, "{error:#}");
                continue;
            }
            starts => starts?,
        };
        let bytes = |start: &u64| (size.records - start) * VALUE_BYTES as u64;
        let most = starts.iter().map(bytes).max().unwrap_or_default();
        let least = starts.iter().map(bytes).min().unwrap_or_default();
        ensure!(least >= kept, "{least} bytes are left of {kept}");
        if most <= kept + EXTENT_BYTES {
            return Ok(());
        }
        ensure!(
            before.elapsed() < size.limit,
            "{most} bytes are left of {kept}"
        );
        sleep(Duration::from_secs(1)).await;
    }
}

/// All stages, while janitor and readers are killed, and what is there in the end.
async fn run(options: ClusterOptions, size: Size, classes: &Classes) -> Result<()> {
    let options = ClusterOptions {
        metadata: 1,
        brokers: 1,
        ..options
    };
    let options = options
        .with("metadata.checkpoint_interval", "1s")
        .with("metadata.merge_age", "2s")
        .with("metadata.merge_bytes", "16MiB")
        .with("metadata.retention_interval", "1s")
        .with("janitor.grace", "5s");
    let settings = classes.settings.iter();
    let options = settings.fold(options, |options, (key, value)| options.with(key, value));
    let mut cluster = Cluster::start(&options).await?;
    let client = cluster.client()?;
    let class = classes.topic.map(|class| ("tidelog.storage.class", class));
    let config = class.into_iter().chain([("retention.ms", "-1")]);
    client
        .admin()
        .create_topic(TOPIC, PARTITIONS, config)
        .await?;
    let roles = ["janitor", "reader", "reader"];
    let mut servers = try_join_all(roles.map(|role| helper(&options, &cluster, role))).await?;
    let mut kills = 0;
    tokio::select! {
        killed = kill(&mut servers, &mut kills) => killed?,
        passed = stages(&client, &cluster, size, classes.keyed) => passed?,
    }
    if classes.keyed.is_some() {
        let page = cluster.metadata[0].server.metrics().await?;
        let inline = metric(&page, "tidelog_sequencer_inline_segments_total", &[]);
        ensure!(
            inline > Some(0.0),
            "{inline:?} segments went with their commits"
        );
    }
    // Some of them may be in the middle of a start.
    for server in &mut servers {
        server.process().kill();
        server.restart().await?;
    }
    // The writer ends with its broker, and with it what may still be committed.
    cluster.brokers[0].stop(size.limit).await?;
    cluster.brokers[0].restart().await?;
    audit(&classes.flags(&options.place)).await?;
    let starts = read(&cluster.client()?, size.records).await?;
    let written = size.records * u64::from(PARTITIONS) * VALUE_BYTES as u64 / 1_000_000;
    println!("{written} MB, {kills} kills; partitions begin at {starts:?}");
    ensure!(kills >= 3, "{kills} kills");
    if size.is_long {
        let named = only_what_is_named(&options.place, WRITERS_ENDED).await?;
        println!("{named} segments are named and there");
    }
    Ok(())
}

#[tokio::test]
async fn a_history_stays_exact_while_janitor_and_readers_are_killed() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let size = Size::from_env(MIB_DEFAULT)?;
    run(options, size, &Classes::default()).await
}

#[tokio::test]
async fn a_history_of_classes_stays_exact_while_janitor_and_readers_are_killed() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let classes = Classes::beside(&options.place);
    run(options, Size::from_env(MIB_OF_CLASSES)?, &classes).await
}
