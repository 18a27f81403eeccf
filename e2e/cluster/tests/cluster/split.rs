//! Two metadata processes that cannot hear each other, and both reach the bucket: they take it from each
//! other at most once in thirty seconds, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Cluster, ClusterOptions, Gate};

use crate::support::{Scene, bucket};

/// How long they cannot hear each other.
const SPLIT: Duration = Duration::from_secs(25);

/// How often the shard has changed its owner.
async fn epoch(cluster: &Cluster) -> Result<u64> {
    let shards = cluster.client()?.cluster().shards().await?;
    Ok(shards.first().context("a shard")?.epoch)
}

#[tokio::test]
async fn two_that_cannot_hear_each_other_do_not_fight() -> Result<()> {
    let (minio, options) = bucket().await?;
    let gates = [Gate::start().await?, Gate::start().await?].map(Arc::new);
    let options = ClusterOptions {
        gates: gates.to_vec(),
        ..options
    };
    let scene = Scene::start(minio, &options).await?;
    scene.progress(100).await?;
    let before = epoch(&scene.cluster).await?;
    for gate in &gates {
        gate.close();
    }
    tokio::time::sleep(SPLIT).await;
    scene.progress(100).await?;
    let changes = epoch(&scene.cluster).await? - before;
    // None where both opened the store at the start: the one that was fenced then waits for longer than this.
    ensure!(changes <= 1, "the owner changed {changes} times");
    for gate in &gates {
        gate.open();
    }
    let report = scene.judge().await?;
    println!("{} records acknowledged around a split", report.acked);
    Ok(())
}
