//! Processes that are drained, or asked to end, give their work away and nobody waits long.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{ClusterOptions, Ended, Minio, until};

use crate::support::{PROGRESS_LIMIT, Scene, bucket};

const END_LIMIT: Duration = Duration::from_secs(30);

/// Asks each process to end, one after the other, and starts it again.
async fn rolling_restart(minio: Minio, options: &ClusterOptions) -> Result<()> {
    let mut scene = Scene::start(minio, options).await?;
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

#[tokio::test]
async fn every_process_can_be_restarted_in_turn_on_the_embedded_store() -> Result<()> {
    let (minio, options) = bucket().await?;
    rolling_restart(minio, &options).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn every_process_can_be_restarted_in_turn_on_foundationdb() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    rolling_restart(minio, &options).await
}

#[tokio::test]
async fn a_drained_active_process_hands_over_to_a_standby_and_stays_where_there_is_none()
-> Result<()> {
    let (minio, options) = bucket().await?;
    let mut scene = Scene::start(minio, &options).await?;
    scene.progress(100).await?;
    let (first, other) = match shards_of(&scene, "metadata-0").await? {
        0 => ("metadata-1", "metadata-0"),
        _ => ("metadata-0", "metadata-1"),
    };
    let owns = async |scene: &Scene, name: &str| {
        until(format!("`{name}` is active"), PROGRESS_LIMIT, async || {
            let shards = shards_of(scene, name).await.ok()?;
            (shards > 0).then_some(())
        })
        .await
    };
    scene
        .cluster
        .cli()?
        .ok(&["cluster", "drain", first])
        .await?;
    owns(&scene, other).await?;
    scene.progress(100).await?;
    // Nobody is left who could take over, so it goes on and says so.
    scene
        .cluster
        .cli()?
        .ok(&["cluster", "drain", other])
        .await?;
    let at = usize::from(other == "metadata-1");
    until("it says that it stays", PROGRESS_LIMIT, async || {
        let log = scene.cluster.metadata[at].server.process().log();
        log.contains("stays active").then_some(())
    })
    .await?;
    scene.progress(100).await?;
    // One that takes on work again has it at once.
    scene
        .cluster
        .cli()?
        .ok(&["cluster", "undrain", first])
        .await?;
    owns(&scene, first).await?;
    let report = scene.judge().await?;
    println!("{} records acknowledged around a hand-over", report.acked);
    Ok(())
}

/// The shards that a metadata process owns.
async fn shards_of(scene: &Scene, name: &str) -> Result<u32> {
    let members = scene.cluster.client()?.cluster().members().await?;
    let member = members.into_iter().find(|member| member.name == name);
    Ok(member.map_or(0, |member| member.shard_count))
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_drained_process_gives_its_shards_away_and_gets_some_back() -> Result<()> {
    let (minio, _fdb, options) = crate::support::bucket_and_fdb().await?;
    let scene = Scene::start(minio, &options).await?;
    let owns = async |name: &str, wanted: fn(u32) -> bool| {
        until(
            format!("`{name}` owns its part"),
            PROGRESS_LIMIT,
            async || {
                let shards = shards_of(&scene, name).await.ok()?;
                wanted(shards).then_some(())
            },
        )
        .await
    };
    owns("metadata-0", |shards| shards == 16).await?;
    owns("metadata-1", |shards| shards == 16).await?;
    scene
        .cluster
        .cli()?
        .ok(&["cluster", "drain", "metadata-0"])
        .await?;
    owns("metadata-0", |shards| shards == 0).await?;
    owns("metadata-1", |shards| shards == 32).await?;
    scene.progress(100).await?;
    scene
        .cluster
        .cli()?
        .ok(&["cluster", "undrain", "metadata-0"])
        .await?;
    owns("metadata-0", |shards| shards == 16).await?;
    let report = scene.judge().await?;
    println!("{} records acknowledged around a drain", report.acked);
    Ok(())
}
