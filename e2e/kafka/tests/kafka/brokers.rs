//! Several brokers: clients find all of them, stay in their zone, and a group outlives one.

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::{Cli, Cluster, ClusterOptions, Server, Tools, until};

use crate::support::{Ground, LIMIT, lines};

const RECORDS: usize = 1_000;

/// Metadata processes and two brokers, with the topic `t` of four partitions.
pub(crate) async fn cluster_of(metadata: usize) -> Result<(Ground, Cluster)> {
    let ground = Ground::new().await?;
    let options = ClusterOptions {
        metadata,
        brokers: 2,
        ..ClusterOptions::at(&ground.place)
    };
    let options = match &ground.fdb {
        Some(fdb) => options.on(fdb)?,
        None => options,
    };
    let cluster = Cluster::start(&options).await?;
    let no_config: [(&str, &str); 0] = [];
    let admin = cluster.client()?.admin();
    admin.create_topic("t", 4, no_config).await?;
    Ok((ground, cluster))
}

/// Runs kcat with a broker to begin with; it must succeed.
pub(crate) async fn kcat(broker: &Server, arguments: &[&str], input: &[u8]) -> Result<String> {
    let kcat = Tools::program("kcat")?;
    let address = broker.kafka().to_string();
    let all = [&["-b", &address, "-q"], arguments].concat();
    let finished = Cli::program(&kcat, &all, input, LIMIT).await?;
    ensure!(finished.code == 0, "kcat {arguments:?}: {finished:?}");
    Ok(finished.text())
}

#[tokio::test]
async fn every_broker_names_all_and_partitions_are_spread_over_them() -> Result<()> {
    let (_ground, cluster) = cluster_of(1).await?;
    let [first, second] = cluster.brokers.as_slice() else {
        anyhow::bail!("two brokers");
    };
    until("both are named", LIMIT, async || {
        let listed = kcat(first, &["-L"], &[]).await;
        listed.ok()?.contains(" 2 brokers:").then_some(())
    })
    .await?;
    let listed = kcat(first, &["-L", "-t", "t"], &[]).await?;
    for broker in [first, second] {
        let address = format!(" at {}", broker.kafka());
        let line = listed.lines().find(|line| line.contains(&address));
        let line = line.with_context(|| format!("{address} in {listed}"))?;
        let id = line.trim().strip_prefix("broker ").unwrap_or_default();
        let id = id.split_whitespace().next().unwrap_or_default();
        let named = listed.matches(&format!("leader {id},")).count();
        ensure!(named == 2, "{named} of {id} in {listed}");
    }
    let members = cluster.cli()?.ok(&["cluster", "members"]).await?;
    let internal = cluster.metadata[0].internal.to_string();
    for address in [
        first.kafka().to_string(),
        second.kafka().to_string(),
        internal,
    ] {
        ensure!(members.contains(&address), "{address} in {members}");
    }
    Ok(())
}

#[tokio::test]
async fn a_group_goes_on_at_another_broker() -> Result<()> {
    let (_ground, mut cluster) = cluster_of(1).await?;
    let all = lines(RECORDS);
    let read = [
        "-X",
        "auto.offset.reset=earliest",
        "-e",
        "-G",
        "readers",
        "t",
    ];
    kcat(&cluster.brokers[0], &["-P", "-t", "t"], all.as_bytes()).await?;
    let first = kcat(&cluster.brokers[0], &read, &[]).await?;
    ensure!(first.lines().count() == RECORDS, "{first}");
    cluster.brokers.remove(0).process().kill();
    kcat(&cluster.brokers[0], &["-P", "-t", "t"], b"new\n").await?;
    let second = kcat(&cluster.brokers[0], &read, &[]).await?;
    ensure!(second == "new\n", "{second}");
    Ok(())
}
