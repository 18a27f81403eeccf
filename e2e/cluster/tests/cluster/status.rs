//! `tidelog cluster` shows the cluster as it is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_e2e_harness::{Cluster, until};

use crate::support::{PROGRESS_LIMIT, bucket};

/// What a command prints as JSON.
async fn json(cluster: &Cluster, words: &[&str]) -> Result<Value> {
    let cli = cluster.cli()?;
    let words: Vec<&str> = words.iter().chain(&["-o", "json"]).copied().collect();
    let text = cli.ok(&words).await?;
    serde_json::from_str(&text).with_context(|| format!("`{text}` is JSON"))
}

/// The names of the members.
async fn names(cluster: &Cluster) -> Result<Vec<String>> {
    let members = json(cluster, &["cluster", "members"]).await?;
    let members = members.as_array().context("a list of members")?;
    let mut names: Vec<String> = members
        .iter()
        .filter_map(|member| Some(member["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn members_shards_and_owners_are_shown_and_the_dead_go() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let mut cluster = Cluster::start(&options).await?;
    let all = [
        "broker-0",
        "broker-1",
        "broker-2",
        "metadata-0",
        "metadata-1",
    ];
    until("all members are listed", PROGRESS_LIMIT, async || {
        let names = names(&cluster).await.ok()?;
        (names == all).then_some(())
    })
    .await?;
    let shards = json(&cluster, &["cluster", "shards"]).await?;
    let shards = shards.as_array().context("a list of shards")?;
    ensure!(!shards.is_empty());
    for shard in shards {
        let owner = shard["owner_name"].as_str().context("each has an owner")?;
        ensure!(owner.starts_with("metadata-"), "`{owner}` owns a shard");
    }
    let status = json(&cluster, &["cluster", "status"]).await?;
    ensure!(
        status["members"] == 5 && status["shards_without_owner"] == 0,
        "{status}"
    );

    cluster.brokers[2].process().kill();
    until("the dead broker is gone", PROGRESS_LIMIT, async || {
        let names = names(&cluster).await.ok()?;
        (names.len() == 4).then_some(())
    })
    .await?;

    let drained = json(&cluster, &["cluster", "drain", "broker-1"]).await?;
    ensure!(drained["drained"].is_string(), "{drained}");
    until("the broker drains", PROGRESS_LIMIT, async || {
        let members = json(&cluster, &["cluster", "members"]).await.ok()?;
        let broker = members
            .as_array()?
            .iter()
            .find(|one| one["name"] == "broker-1")?;
        (broker["state"] == "draining").then_some(())
    })
    .await?;
    json(&cluster, &["cluster", "undrain", "broker-1"]).await?;
    Ok(())
}
