//! The coordinator of groups moves to another process, and their members go on.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_e2e_harness::{Cli, Cluster, Finished, Tools, until};

use crate::brokers::{cluster_of, kcat};
use crate::support::{FETCH_LIMIT, LIMIT, lines};

/// Records before the coordinator moves, and after.
const RECORDS: usize = 500;

/// What a command prints as JSON.
async fn shown(cluster: &Cluster, words: &[&str]) -> Result<Value> {
    let words: Vec<&str> = words.iter().chain(&["-o", "json"]).copied().collect();
    let text = cluster.cli()?.ok(&words).await?;
    serde_json::from_str(&text).with_context(|| format!("`{text}` is JSON"))
}

/// Waits until a group has read and committed all that there is.
async fn caught_up(cluster: &Cluster, group: &str) -> Result<()> {
    until(format!("`{group}` has read all"), LIMIT, async || {
        let described = shown(cluster, &["group", "describe", group]).await.ok()?;
        let committed = described["partitions"].as_array()?.iter();
        let committed: u64 = committed.filter_map(|it| it["committed"].as_u64()).sum();
        (described["lag"] == 0 && committed == RECORDS as u64).then_some(())
    })
    .await
}

/// Two members in a group that read until they have all.
async fn members(address: String, protocol: &str) -> Result<Finished> {
    let run = Tools::repository()?.join("e2e/kafka/python/run");
    let count = (2 * RECORDS).to_string();
    let arguments = ["confluent_steady", &address, "t", protocol, &count];
    Cli::script(&run, &arguments, FETCH_LIMIT).await
}

/// Lets a group read, kills the process that coordinates it, and sees whether the group reads on.
async fn disturb(cluster: &mut Cluster) -> Result<()> {
    let broker = &cluster.brokers[1];
    kcat(broker, &["-P", "-t", "t"], lines(RECORDS).as_bytes()).await?;
    for protocol in ["classic", "consumer"] {
        caught_up(cluster, &format!("steady, {protocol}")).await?;
    }
    let shards = shown(cluster, &["cluster", "shards"]).await?;
    let owner = shards[0]["owner_name"].as_str().context("an owner")?;
    let number: usize = owner.trim_start_matches("metadata-").parse()?;
    cluster.metadata[number].server.process().kill();
    let broker = &cluster.brokers[1];
    kcat(broker, &["-P", "-t", "t"], lines(RECORDS).as_bytes()).await?;
    Ok(())
}

#[tokio::test]
async fn members_of_both_protocols_go_on_when_their_coordinator_dies() -> Result<()> {
    Tools::program("python3")?;
    let (_folder, mut cluster) = cluster_of(2).await?;
    let address = cluster.brokers[0].kafka().to_string();
    let classic = members(address.clone(), "classic");
    let consumer = members(address, "consumer");
    let (disturbed, classic, consumer) = tokio::join!(disturb(&mut cluster), classic, consumer);
    disturbed?;
    for finished in [classic?, consumer?] {
        let said = finished.code == 0 && finished.text().contains("ok: ");
        ensure!(said, "{finished:?}");
    }
    Ok(())
}
