//! A process that was fenced stands by, and shows nothing of what it had any more.

use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_e2e_harness::{Cluster, metric, until};

use crate::support::{PROGRESS_LIMIT, bucket, create_topic};

/// The metadata process whose store is open.
async fn active(cluster: &Cluster) -> Option<usize> {
    for (at, process) in cluster.metadata.iter().enumerate() {
        let metrics = process.server.metrics().await.ok()?;
        if metric(&metrics, "tidelog_sequencer_shards_owned", &[]) == Some(1.0) {
            return Some(at);
        }
    }
    None
}

#[tokio::test]
async fn a_fenced_process_reports_nothing_of_shards_that_it_has_no_more() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let mut cluster = Cluster::start(&options).await?;
    create_topic(&cluster.client()?, 8).await?;
    let fenced = active(&cluster).await.context("one is active")?;
    cluster.metadata[fenced].server.process().pause()?;
    let other = &cluster.metadata[1 - fenced].server;
    until("the other has taken over", PROGRESS_LIMIT, async || {
        let metrics = other.metrics().await.ok()?;
        (metric(&metrics, "tidelog_sequencer_shards_owned", &[])? > 0.0).then_some(())
    })
    .await?;
    cluster.metadata[fenced].server.process().resume()?;
    let server = &cluster.metadata[fenced].server;
    let gauges = [
        "shards_owned",
        "extents_held",
        "partitions_held",
        "store_in_touch",
    ];
    until("it shows nothing any more", PROGRESS_LIMIT, async || {
        let metrics = server.metrics().await.ok()?;
        let mut shown = gauges.iter();
        let is_gone = shown.all(|name| {
            let name = format!("tidelog_sequencer_{name}");
            metric(&metrics, &name, &[]) == Some(0.0)
        });
        is_gone.then_some(())
    })
    .await?;
    // It stands by: it is well.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.ready().await
}
