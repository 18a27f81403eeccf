//! From `kill -9` of a metadata process to the first acknowledged produce.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tidelog_client::{Client, ClientOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Cluster, ClusterOptions, Minio, until};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{PARTITIONS, TOPIC, bucket, create_topic};

/// The promise.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(5);
/// How often each partition is written to.
const PERIOD: Duration = Duration::from_millis(50);

/// When the first record that was sent after a moment was acknowledged, partition by partition.
struct Probes {
    killed: Instant,
    first: Vec<Option<Instant>>,
}

/// Writes to one partition again and again.
async fn probe(client: Client, partition: u32, probes: Arc<Mutex<Probes>>) -> Result<()> {
    let options = ProducerOptions {
        linger: Duration::ZERO,
        ..ProducerOptions::default()
    };
    let producer = client.producer(TOPIC, options).await?;
    let mut open = JoinSet::new();
    loop {
        let sent = Instant::now();
        let record = SendRecord {
            partition: Some(partition),
            ..SendRecord::keyed(b"probe", b"probe")
        };
        let delivery = producer.send(record).await?;
        let probes = Arc::clone(&probes);
        open.spawn(async move {
            if delivery.wait().await.is_ok() {
                let mut probes = probes.lock();
                let is_after = sent > probes.killed;
                if let Some(first) = probes.first.get_mut(partition as usize)
                    && is_after
                {
                    first.get_or_insert_with(Instant::now);
                }
            }
        });
        while open.try_join_next().is_some() {}
        tokio::time::sleep(PERIOD).await;
    }
}

/// Kills the metadata processes one after the other, each time when the one before is back.
async fn each_death_is_survived(minio: Minio, options: &ClusterOptions) -> Result<()> {
    let mut cluster = Cluster::start(options).await?;
    create_topic(&cluster.client()?, PARTITIONS).await?;
    let probes = Arc::new(Mutex::new(Probes {
        killed: Instant::now(),
        first: vec![None; PARTITIONS as usize],
    }));
    let mut tasks = JoinSet::new();
    for partition in 0..PARTITIONS {
        let client = cluster.client_with(ClientOptions::default())?;
        tasks.spawn(probe(client, partition, Arc::clone(&probes)));
    }
    all_write(&probes).await?;
    for at in 0..cluster.metadata.len() {
        let server = &mut cluster.metadata[at].server;
        server.process().kill();
        let killed = Instant::now();
        *probes.lock() = Probes {
            killed,
            first: vec![None; PARTITIONS as usize],
        };
        let slowest = all_write(&probes).await?.saturating_duration_since(killed);
        println!("metadata process {at}: every partition takes writes after {slowest:?}");
        ensure!(slowest <= TAKEOVER_LIMIT, "it took {slowest:?}");
        cluster.metadata[at].server.restart().await?;
        // It has to be one of the cluster again before the next one goes.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    drop((tasks, cluster, minio));
    Ok(())
}

/// Waits until every partition has acknowledged a record; answers when the last one did.
async fn all_write(probes: &Mutex<Probes>) -> Result<Instant> {
    let all = until(
        "all partitions take writes",
        TAKEOVER_LIMIT * 4,
        async || {
            let probes = probes.lock();
            let first: Option<Vec<Instant>> = probes.first.iter().copied().collect();
            first.and_then(|first| first.into_iter().max())
        },
    );
    all.await.context("a partition takes no writes")
}

#[tokio::test]
async fn a_dead_metadata_process_is_replaced_within_five_seconds_on_the_embedded_store()
-> Result<()> {
    let (minio, options) = bucket().await?;
    each_death_is_survived(minio, &options).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_dead_metadata_process_is_replaced_within_five_seconds_on_foundationdb() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    each_death_is_survived(minio, &options).await
}
