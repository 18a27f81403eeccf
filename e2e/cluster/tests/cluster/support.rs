//! What scenarios share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::Client;
#[cfg(feature = "fdb")]
use tidelog_e2e_harness::FdbServer;
use tidelog_e2e_harness::history::{Recorder, Report, check};
use tidelog_e2e_harness::load::{Follower, Load, LoadOptions, drain};
use tidelog_e2e_harness::{Cluster, ClusterOptions, Minio, until};

pub(crate) const TOPIC: &str = "cluster";
pub(crate) const PARTITIONS: u32 = 8;
/// A cluster that is up must acknowledge something within this time.
pub(crate) const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
/// Time for senders to finish after the last fault.
const LOAD_LIMIT: Duration = Duration::from_secs(90);

/// A cluster under load, with a reader that follows.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) recorder: Arc<Recorder>,
    load: Load,
    follower: Follower,
    _minio: Minio,
}

/// A bucket of one's own.
pub(crate) async fn bucket() -> Result<(Minio, ClusterOptions)> {
    let minio = Minio::start().await?;
    let options = ClusterOptions::at(&minio.create_bucket("logs").await?);
    Ok((minio, options))
}

/// A bucket and a `FoundationDB` of one's own.
#[cfg(feature = "fdb")]
pub(crate) async fn bucket_and_fdb() -> Result<(Minio, FdbServer, ClusterOptions)> {
    let (minio, options) = bucket().await?;
    let fdb = FdbServer::start().await?;
    let options = options.on(&fdb)?;
    Ok((minio, fdb, options))
}

/// A topic with so many partitions.
pub(crate) async fn create_topic(client: &Client, partitions: u32) -> Result<()> {
    let none = [] as [(&str, &str); 0];
    client.admin().create_topic(TOPIC, partitions, none).await?;
    Ok(())
}

impl Scene {
    /// Starts a cluster and a load on it.
    pub(crate) async fn start(minio: Minio, options: &ClusterOptions) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        let client = cluster.client()?;
        create_topic(&client, PARTITIONS).await?;
        let recorder = Arc::new(Recorder::default());
        let load = LoadOptions::on(TOPIC, PARTITIONS);
        let load = Load::start(|| cluster.client(), &load, &recorder)?;
        let follower = Follower::start(&client, TOPIC, &recorder);
        Ok(Self {
            cluster,
            recorder,
            load,
            follower,
            _minio: minio,
        })
    }

    /// Waits until `count` more records have been acknowledged.
    pub(crate) async fn progress(&self, count: usize) -> Result<()> {
        let goal = self.recorder.acked() + count;
        let what = format!("{goal} records are acknowledged");
        until(what, PROGRESS_LIMIT, async || {
            (self.recorder.acked() >= goal).then_some(())
        })
        .await
    }

    /// Stops the load and judges.
    pub(crate) async fn judge(self) -> Result<Report> {
        self.progress(1).await?;
        self.load.finish(LOAD_LIMIT).await?;
        self.follower.finish().await?;
        drain(&self.cluster.client()?, TOPIC, &self.recorder).await?;
        let report = check(&self.recorder.history());
        report.ensure_clean()?;
        // Producers that are idempotent get an answer for each record in the end.
        let unknown = report.unknown;
        ensure!(unknown == 0, "{unknown} records without an answer");
        Ok(report)
    }
}
