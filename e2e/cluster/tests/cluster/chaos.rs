//! A minute in which any process may be killed, paused or restarted at any moment.
//!
//! Idempotent producers write through all brokers, and a reader follows. At the end a second reader reads
//! everything and the checker judges: what was acknowledged is there once, unchanged, in order, at dense
//! offsets.

use std::time::Duration;

use anyhow::Result;
use tidelog_e2e_harness::{ClusterOptions, FdbServer, Minio, Server};
use tidelog_env::{Rng as _, SeededRng};
use tokio::time::Instant;

use crate::support::{Scene, bucket};

/// How long processes are hurt.
const CHAOS: Duration = Duration::from_mins(1);
/// Longer than a lease, so that a process wakes to find that it owns nothing.
const PAUSE_MAX_MS: u64 = 6_000;

/// Every so many faults the store itself is killed and started again.
const FDB_FAULTS_EVERY: u64 = 5;

/// Hurts one process and lets it come back.
async fn hurt(server: &mut Server, rng: &SeededRng) -> Result<()> {
    if rng.below(2) == 0 {
        server.process().kill();
        tokio::time::sleep(Duration::from_millis(rng.below(3_000))).await;
        let options = server.options().clone();
        server.respawn(options)
    } else {
        server.process().pause()?;
        tokio::time::sleep(Duration::from_millis(rng.below(PAUSE_MAX_MS))).await;
        server.process().resume()
    }
}

/// Starts processes again that ended by themselves: one that was fenced may do that, and a supervisor
/// starts it again.
fn supervise(scene: &mut Scene) -> Result<()> {
    let cluster = &mut scene.cluster;
    let metadata = cluster.metadata.iter_mut().map(|one| &mut one.server);
    for server in metadata.chain(&mut cluster.brokers) {
        if server.process().ended().is_some() {
            let options = server.options().clone();
            server.respawn(options)?;
        }
    }
    Ok(())
}

async fn chaos(
    minio: Minio,
    mut fdb: Option<FdbServer>,
    options: &ClusterOptions,
    seed: u64,
) -> Result<()> {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let mut scene = Scene::start(minio, options).await?;
    let (mut faults, end) = (0, Instant::now() + CHAOS);
    while Instant::now() < end {
        scene.progress(20).await?;
        tokio::time::sleep(Duration::from_millis(rng.below(1_500))).await;
        if let Some(fdb) = fdb.as_mut().filter(|_| rng.below(FDB_FAULTS_EVERY) == 0) {
            fdb.kill();
            fdb.restart().await?;
            faults += 1;
            continue;
        }
        let cluster = &mut scene.cluster;
        let count = cluster.metadata.len() + cluster.brokers.len();
        let at = usize::try_from(rng.below(count as u64))?;
        let mut servers = cluster.metadata.iter_mut().map(|one| &mut one.server);
        let server = match servers.nth(at) {
            Some(server) => server,
            None => &mut cluster.brokers[at - cluster.metadata.len()],
        };
        hurt(server, &rng).await?;
        faults += 1;
        supervise(&mut scene)?;
    }
    scene.cluster.ready().await?;
    let report = scene.judge().await?;
    println!("{} records acknowledged over {faults} faults", report.acked);
    Ok(())
}

#[tokio::test]
async fn a_minute_of_faults_harms_nothing_on_the_embedded_store() -> Result<()> {
    let (minio, options) = bucket().await?;
    chaos(minio, None, &options, 21).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn a_minute_of_faults_harms_nothing_on_foundationdb() -> Result<()> {
    let (minio, fdb, options) = crate::support::bucket_and_fdb().await?;
    chaos(minio, Some(fdb), &options, 22).await
}
