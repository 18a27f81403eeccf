//! No metadata process at all: brokers keep what they have accepted, tell others to come back, and finish
//! when metadata is back.

use std::time::Duration;

use anyhow::Result;

use crate::support::{Scene, bucket};

/// How long there is no metadata.
const OUTAGE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn what_was_accepted_survives_an_outage_of_all_metadata() -> Result<()> {
    let (minio, options) = bucket().await?;
    let mut scene = Scene::start(minio, &options).await?;
    scene.progress(200).await?;
    for process in &mut scene.cluster.metadata {
        process.server.process().kill();
    }
    tokio::time::sleep(OUTAGE).await;
    let before = scene.recorder.acked();
    tokio::time::sleep(Duration::from_secs(1)).await;
    anyhow::ensure!(
        scene.recorder.acked() == before,
        "acknowledged without metadata"
    );
    for process in &mut scene.cluster.metadata {
        let options = process.server.options().clone();
        process.server.respawn(options)?;
    }
    scene.cluster.ready().await?;
    scene.progress(200).await?;
    let report = scene.judge().await?;
    println!("{} records acknowledged around an outage", report.acked);
    Ok(())
}
