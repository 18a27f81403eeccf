//! A member that drains is known to drain whichever metadata process is active.

use anyhow::{Context, Result, ensure};
use tidelog_client::v1;
use tidelog_e2e_harness::{Cluster, metric, until};

use crate::support::{PROGRESS_LIMIT, bucket};

const DRAINED: &str = "broker-1";

/// Whether the member drains, once it is listed by a process that has opened the store after `epoch`.
async fn drains(cluster: &Cluster, epoch: u64) -> Result<bool> {
    let client = cluster.client()?;
    until(
        format!("`{DRAINED}` is listed"),
        PROGRESS_LIMIT,
        async || {
            // First, so that the members are of this view or a later one.
            let shards = client.cluster().shards().await.ok()?;
            if shards.first()?.epoch <= epoch {
                return None;
            }
            let members = client.cluster().members().await.ok()?;
            let member = members.into_iter().find(|member| member.name == DRAINED)?;
            Some(member.state() == v1::MemberState::Draining)
        },
    )
    .await
}

async fn until_drains(cluster: &Cluster, wanted: bool) -> Result<()> {
    until(
        format!("whether `{DRAINED}` drains is {wanted}"),
        PROGRESS_LIMIT,
        async || {
            let drains = drains(cluster, 0).await.ok()?;
            (drains == wanted).then_some(())
        },
    )
    .await
}

#[tokio::test]
async fn a_member_that_drains_goes_on_to_after_a_takeover() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let mut cluster = Cluster::start(&options).await?;
    until_drains(&cluster, false).await?;
    cluster.cli()?.ok(&["cluster", "drain", DRAINED]).await?;
    until_drains(&cluster, true).await?;
    let mut active = None;
    for (at, process) in cluster.metadata.iter().enumerate() {
        let metrics = process.server.metrics().await?;
        if metric(&metrics, "tidelog_sequencer_store_in_touch", &[]) == Some(1.0) {
            active = Some(at);
        }
    }
    let active = active.context("one is active")?;
    let shards = cluster.client()?.cluster().shards().await?;
    let epoch = shards.first().context("a shard")?.epoch;
    cluster.metadata[active].server.process().kill();
    ensure!(
        drains(&cluster, epoch).await?,
        "the next one has forgotten it"
    );
    // Each broker hears of the next active one in its own time.
    let undrained = async || {
        let cli = cluster.cli().ok()?;
        let done = cli.run(&["cluster", "undrain", DRAINED]).await.ok()?;
        (done.code == 0).then_some(())
    };
    until("it can be undrained", PROGRESS_LIMIT, undrained).await?;
    until_drains(&cluster, false).await
}
