//! From the death of a metadata process, or from the moment in which it stands still, to the first acknowledged
//! produce.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tidelog_client::{Client, ClientOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Cluster, ClusterOptions, Minio, metric, until};
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

impl Probes {
    fn from_now() -> Self {
        Self {
            killed: Instant::now(),
            first: vec![None; PARTITIONS as usize],
        }
    }
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

/// A cluster and writers to each of its partitions.
struct Writing {
    cluster: Cluster,
    probes: Arc<Mutex<Probes>>,
    _writers: JoinSet<Result<()>>,
    _minio: Minio,
}

impl Writing {
    async fn start(minio: Minio, options: &ClusterOptions) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        create_topic(&cluster.client()?, PARTITIONS).await?;
        let probes = Arc::new(Mutex::new(Probes::from_now()));
        let mut writers = JoinSet::new();
        for partition in 0..PARTITIONS {
            let client = cluster.client_with(ClientOptions::default())?;
            writers.spawn(probe(client, partition, Arc::clone(&probes)));
        }
        all_write(&probes).await?;
        Ok(Self {
            cluster,
            probes,
            _writers: writers,
            _minio: minio,
        })
    }

    /// How long it takes from now on until every partition takes writes; not longer than promised.
    async fn goes_on(&self, what: &str) -> Result<()> {
        let since = {
            let mut probes = self.probes.lock();
            *probes = Probes::from_now();
            probes.killed
        };
        let slowest = all_write(&self.probes)
            .await?
            .saturating_duration_since(since);
        println!("{what}: every partition takes writes after {slowest:?}");
        ensure!(slowest <= TAKEOVER_LIMIT, "it took {slowest:?}");
        Ok(())
    }

    /// The metadata process that owns the most shards.
    async fn owner(&self) -> Result<usize> {
        let mut owned = Vec::new();
        for process in &self.cluster.metadata {
            let metrics = process.server.metrics().await?;
            owned.push(metric(&metrics, "tidelog_sequencer_shards_owned", &[]).unwrap_or(0.0));
        }
        let most = (0..owned.len()).max_by(|a, b| owned[*a].total_cmp(&owned[*b]));
        most.context("there are metadata processes")
    }
}

/// Kills the metadata processes one after the other, each time when the one before is back.
async fn each_death_is_survived(minio: Minio, options: &ClusterOptions) -> Result<()> {
    let mut writing = Writing::start(minio, options).await?;
    for at in 0..writing.cluster.metadata.len() {
        writing.cluster.metadata[at].server.process().kill();
        writing
            .goes_on(&format!("metadata process {at} is dead"))
            .await?;
        writing.cluster.metadata[at].server.restart().await?;
        // It has to be one of the cluster again before the next one goes.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

/// Stops the owner where it is: its connections stay, and nobody answers on them. Then it wakes, and it is the
/// turn of the one that has replaced it.
async fn a_standstill_is_survived(minio: Minio, options: &ClusterOptions) -> Result<()> {
    let mut writing = Writing::start(minio, options).await?;
    for what in ["the owner stands still", "the next owner stands still"] {
        let owner = writing.owner().await?;
        let process = writing.cluster.metadata[owner].server.process();
        process.pause()?;
        writing.goes_on(what).await?;
        let process = writing.cluster.metadata[owner].server.process();
        process.resume()?;
        // It has to be one of the cluster again before the next one goes.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
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

#[tokio::test]
async fn a_hung_metadata_process_is_replaced_within_five_seconds_on_the_embedded_store()
-> Result<()> {
    let (minio, options) = bucket().await?;
    a_standstill_is_survived(minio, &options).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_dead_metadata_process_is_replaced_within_five_seconds_on_foundationdb() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    each_death_is_survived(minio, &options).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_hung_metadata_process_is_replaced_within_five_seconds_on_foundationdb() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    a_standstill_is_survived(minio, &options).await
}
