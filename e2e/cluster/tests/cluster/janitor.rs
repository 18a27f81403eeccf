//! A janitor as a process of its own hears from the metadata process what nobody needs any more, and deletes it; its
//! death in the middle harms nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_client::{ProducerOptions, SendRecord, v1};
use tidelog_e2e_harness::{Bucket, Cluster, ClusterOptions, Server, ServerOptions, metric, until};

use crate::support::{TOPIC, bucket, create_topic};

/// A janitor asks every ten seconds, and what is dead is kept for a second.
const LIMIT: Duration = Duration::from_mins(1);
const RECORDS: usize = 30;

fn janitor(options: &ClusterOptions, cluster: &Cluster) -> ServerOptions {
    ServerOptions::at(&options.place)
        .with("memory.total", "128MiB")
        .with("roles", "janitor")
        .with(
            "cluster.metadata",
            &cluster.metadata[0].internal.to_string(),
        )
}

#[tokio::test]
async fn a_janitor_of_its_own_deletes_what_nobody_needs() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let options = ClusterOptions {
        metadata: 1,
        brokers: 1,
        ..options
    };
    let options = options
        .with("janitor.grace", "1s")
        .with("metadata.checkpoint_interval", "1s");
    let mut cluster = Cluster::start(&options).await?;
    let client = cluster.client()?;
    create_topic(&client, 1).await?;
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    for _ in 0..RECORDS {
        let record = SendRecord::keyed(b"key", b"value");
        producer.send(record).await?.wait().await?;
    }
    let before = Bucket::open(&options.place)?.segments().await?.len();
    ensure!(before > RECORDS / 2, "{before} segments");
    let all = v1::DeleteRecordsPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        before_offset: Some(RECORDS as u64),
    };
    client.log().delete_records(vec![all]).await?;
    // The writer ends with its broker, and with it what may still be committed.
    cluster.brokers[0].stop(LIMIT).await?;
    cluster.brokers[0].restart().await?;
    let mut server = Server::start(janitor(&options, &cluster)).await?;
    server.process().kill();
    server.restart().await?;
    until("the bucket has no segment", LIMIT, async || {
        let bucket = Bucket::open(&options.place).ok()?;
        bucket.segments().await.ok()?.is_empty().then_some(())
    })
    .await?;
    let page = server.metrics().await?;
    let deleted = metric(&page, "tidelog_janitor_segments_deleted_total", &[]);
    println!("{deleted:?} of {before} segments were deleted");
    let failures = metric(&page, "tidelog_janitor_failures_total", &[]);
    ensure!(failures.context("a metric")? <= 1.0, "{failures:?}");
    // The log goes on.
    let record = SendRecord::keyed(b"key", b"value");
    let client = cluster.client()?;
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    producer.send(record).await?.wait().await?;
    Ok(())
}
