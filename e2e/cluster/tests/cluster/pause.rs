//! A metadata process that stands still for longer than its lease, and wakes in a cluster that has gone on
//! without it: it commits nothing (rule C1) and finds its place again.

use std::time::Duration;

use anyhow::Result;
use tidelog_e2e_harness::{ClusterOptions, Minio};

use crate::support::{Scene, bucket};

/// Longer than a lease and a takeover.
const PAUSE: Duration = Duration::from_secs(8);

/// Time for a process to notice what it has slept through.
const RETURN: Duration = Duration::from_secs(3);

async fn each_wakes_harmlessly(minio: Minio, options: &ClusterOptions) -> Result<()> {
    let mut scene = Scene::start(minio, options).await?;
    for at in 0..scene.cluster.metadata.len() {
        scene.progress(100).await?;
        scene.cluster.metadata[at].server.process().pause()?;
        let woken = tokio::time::sleep(PAUSE);
        // The others go on meanwhile.
        let went_on = scene.progress(100);
        tokio::join!(woken, went_on).1?;
        scene.cluster.metadata[at].server.process().resume()?;
        // It has to find its place again before the next one stands still.
        tokio::time::sleep(RETURN).await;
        scene.progress(100).await?;
    }
    scene.cluster.ready().await?;
    let report = scene.judge().await?;
    println!("{} records acknowledged around pauses", report.acked);
    Ok(())
}

#[tokio::test]
async fn a_paused_and_woken_owner_harms_nothing_on_the_embedded_store() -> Result<()> {
    let (minio, options) = bucket().await?;
    each_wakes_harmlessly(minio, &options).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_paused_and_woken_owner_harms_nothing_on_foundationdb() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    each_wakes_harmlessly(minio, &options).await
}
