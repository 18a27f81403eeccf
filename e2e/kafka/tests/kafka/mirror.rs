//! `MirrorMaker` 2 between Apache Kafka and Tidelog.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Cli, Tools, until};
use tidelog_kafka_codec::messages::OffsetFetchRequest;
use tidelog_kafka_codec::messages::offset_fetch_request::OffsetFetchRequestGroup;

use crate::conformance::peer::{Apache, Peer};
use crate::java::start;
use crate::support::{LIMIT, World, lines};

const MIRROR: &str = "org.apache.kafka.connect.mirror.MirrorMaker";

const RECORDS: usize = 1_000;

async fn kcat(address: &str, arguments: &[&str], input: &[u8]) -> Result<String> {
    let all = [&["-b", address, "-q"], arguments].concat();
    let finished = Cli::program(&Tools::program("kcat")?, &all, input, LIMIT).await?;
    ensure!(finished.code == 0, "kcat {arguments:?}: {finished:?}");
    Ok(finished.text())
}

/// Reads to the end in a group.
async fn read(address: &str, group: &str, topic: &str) -> Result<Vec<String>> {
    let settings = ["-X", "auto.offset.reset=earliest", "-e"];
    let arguments = [&settings[..], &["-G", group, topic]].concat();
    let text = kcat(address, &arguments, &[]).await?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Waits until everything has come over.
async fn is_mirrored(address: &str, topic: &str, expected: &str) -> Result<()> {
    let expected: BTreeSet<&str> = expected.lines().collect();
    until(format!("{topic} is there"), LIMIT, async || {
        let arguments = ["-C", "-t", topic, "-o", "beginning", "-e"];
        let found = kcat(address, &arguments, &[]).await.ok()?;
        let found: BTreeSet<&str> = found.lines().collect();
        (found == expected).then_some(())
    })
    .await
}

/// The sum of all offsets that a group has committed.
async fn committed(address: &str, group: &str) -> Result<i64> {
    let mut peer = Peer::connect(address.parse()?).await?;
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetched = peer.answer(&request, 8).await?;
    let topics = fetched.groups.iter().flat_map(|group| &group.topics);
    let partitions = topics.flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|partition| partition.committed_offset).sum())
}

#[tokio::test]
async fn topics_and_the_offsets_of_groups_go_from_apache_kafka_and_back() -> Result<()> {
    Tools::program("kcat")?;
    let folder = tempfile::tempdir()?;
    let apache = Apache::start(folder.path()).await?;
    Peer::connect(apache.address)
        .await?
        .create_topic("t", 2)
        .await?;
    let world = World::new(2).await?;
    let no_config: [(&str, &str); 0] = [];
    let admin = world.server.client()?.admin();
    admin.create_topic("u", 2, no_config).await?;
    let (theirs, ours) = (apache.address.to_string(), world.address());
    let all = lines(RECORDS);
    let places = [
        (&theirs, "t", "from-apache", &ours, "apache.t"),
        (&ours, "u", "from-tidelog", &theirs, "tidelog.u"),
    ];
    for (address, topic, group, ..) in &places {
        kcat(address, &["-P", "-t", topic], all.as_bytes()).await?;
        let found = read(address, group, topic).await?;
        ensure!(found.len() == RECORDS, "{} records", found.len());
    }
    let settings = [
        "clusters=apache,tidelog",
        &format!("apache.bootstrap.servers={theirs}"),
        &format!("tidelog.bootstrap.servers={ours}"),
        "apache->tidelog.enabled=true",
        "apache->tidelog.topics=t",
        "tidelog->apache.enabled=true",
        "tidelog->apache.topics=u",
        "groups=from-.*",
        "replication.factor=1",
        "checkpoints.topic.replication.factor=1",
        "heartbeats.topic.replication.factor=1",
        "offset-syncs.topic.replication.factor=1",
        "offset.storage.replication.factor=1",
        "status.storage.replication.factor=1",
        "config.storage.replication.factor=1",
        "offset.lag.max=0",
        "emit.checkpoints.interval.seconds=1",
        "sync.group.offsets.enabled=true",
        "sync.group.offsets.interval.seconds=1",
        "refresh.topics.interval.seconds=2",
        "refresh.groups.interval.seconds=2",
    ]
    .map(str::to_owned);
    let process = start(MIRROR, &settings, folder.path())?;
    for (_, _, _, address, topic) in &places {
        let mirrored = is_mirrored(address, topic, &all).await;
        mirrored.with_context(|| process.log_tail())?;
    }
    // What a group has read there it does not read again here, once its offsets have come over.
    for (_, _, group, address, _) in &places {
        let what = format!("the offsets of {group} have come over");
        until(what, LIMIT, async || {
            let committed = committed(address, group).await.ok()?;
            (committed == i64::try_from(RECORDS).ok()?).then_some(())
        })
        .await
        .with_context(|| process.log_tail())?;
    }
    drop(process);
    for (_, _, group, address, copy) in &places {
        kcat(address, &["-P", "-t", copy, "-p", "0"], b"new\n").await?;
        let found = read(address, group, copy).await?;
        ensure!(found == ["new"], "{group}: {} records", found.len());
    }
    Ok(())
}
