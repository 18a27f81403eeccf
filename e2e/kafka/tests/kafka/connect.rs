//! Kafka Connect: a cluster of workers with the source and the sink of files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tidelog_e2e_harness::{Process, free_port, http_get, http_post, until};

use crate::java::start;
use crate::support::{FETCH_LIMIT, LIMIT, World, lines};

const WORKER: &str = "org.apache.kafka.connect.cli.ConnectDistributed";

const LINES: usize = 2_000;
/// More than there are lines: what the source has read beyond a batch it keeps until the file grows again.
const BATCH: usize = 10 * LINES;

/// Starts a worker, which keeps all that it knows in topics.
async fn worker(world: &World, address: SocketAddr, folder: &Path) -> Result<Process> {
    let text = "org.apache.kafka.connect.storage.StringConverter";
    let mut settings = vec![
        format!("bootstrap.servers={}", world.address()),
        format!("listeners=http://{address}"),
        "group.id=workers".to_owned(),
        format!("key.converter={text}"),
        format!("value.converter={text}"),
        "offset.storage.partitions=3".to_owned(),
        "status.storage.partitions=2".to_owned(),
        "offset.flush.interval.ms=300".to_owned(),
        "session.timeout.ms=6000".to_owned(),
        "heartbeat.interval.ms=1000".to_owned(),
    ];
    for kind in ["config", "offset", "status"] {
        settings.push(format!("{kind}.storage.topic=connect-{kind}"));
        settings.push(format!("{kind}.storage.replication.factor=1"));
    }
    let process = start(WORKER, &settings, folder)?;
    until("the worker serves", FETCH_LIMIT, async || {
        let (code, _) = http_get(address, "/connectors").await.ok()?;
        (code == 200).then_some(())
    })
    .await
    .with_context(|| process.log_tail())?;
    Ok(process)
}

async fn connector(
    address: SocketAddr,
    name: &str,
    class: &str,
    file: &Path,
    topic: (&str, &str),
) -> Result<()> {
    let config = json!({
        "connector.class": class, "file": file, topic.0: topic.1, "batch.size": BATCH,
    });
    let connector = json!({"name": name, "config": config}).to_string();
    // While workers find each other, they say so.
    until(format!("{name} is made"), LIMIT, async || {
        let (code, _) = http_post(address, "/connectors", &connector).await.ok()?;
        (code == 201).then_some(())
    })
    .await
}

/// Waits until the sink has written as many lines as the source has read.
async fn until_same(source: &Path, sink: &Path) -> Result<Vec<String>> {
    let expected: BTreeSet<String> = read(source)?.into_iter().collect();
    until("the sink has all lines", LIMIT, async || {
        let found = read(sink).ok()?;
        let different: BTreeSet<&String> = found.iter().collect();
        (different.len() == expected.len()).then_some(())
    })
    .await?;
    let found = read(sink)?;
    ensure!(
        found.iter().cloned().collect::<BTreeSet<_>>() == expected,
        "the sink has other lines than the source"
    );
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file)?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_file_goes_through_a_topic_into_a_file_also_when_the_worker_is_killed() -> Result<()> {
    let world = World::new(3).await?;
    let folder = tempfile::tempdir()?;
    let (source, sink) = (folder.path().join("source"), folder.path().join("sink"));
    fs::write(&source, lines(LINES))?;
    let address = free_port()?;
    let mut process = worker(&world, address, folder.path()).await?;
    let reads = "FileStreamSource";
    connector(address, "reads", reads, &source, ("topic", "t")).await?;
    connector(address, "writes", "FileStreamSink", &sink, ("topics", "t")).await?;
    let written = until_same(&source, &sink).await?;
    ensure!(written.len() == LINES, "{} lines", written.len());
    process.kill();
    let mut file = fs::File::options().append(true).open(&source)?;
    file.write_all(b"one more\nand another\n")?;
    let process = worker(&world, address, folder.path()).await?;
    until_same(&source, &sink).await?;
    ensure!(!process.log().contains("ERROR"), "{}", process.log());
    Ok(())
}
