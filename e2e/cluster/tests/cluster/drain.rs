//! Processes that are drained, or asked to end, give their work away and nobody waits long.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::Ended;

use crate::support::{Scene, bucket};

const END_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn every_process_can_be_restarted_in_turn_without_an_error() -> Result<()> {
    let (minio, options) = bucket().await?;
    let mut scene = Scene::start(minio, &options).await?;
    scene.progress(100).await?;
    for at in 0..scene.cluster.metadata.len() {
        let ended = scene.cluster.metadata[at].server.stop(END_LIMIT).await?;
        ensure!(ended == Ended::Code(0), "metadata process {at}: {ended:?}");
        scene.progress(100).await?;
        scene.cluster.metadata[at].server.restart().await?;
    }
    for at in 0..scene.cluster.brokers.len() {
        let ended = scene.cluster.brokers[at].stop(END_LIMIT).await?;
        ensure!(ended == Ended::Code(0), "broker {at}: {ended:?}");
        scene.progress(100).await?;
        scene.cluster.brokers[at].restart().await?;
    }
    let report = scene.judge().await?;
    println!(
        "{} records acknowledged over a rolling restart",
        report.acked
    );
    Ok(())
}
