//! A process dies that groups stood on, and their members go on at another.

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

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The process that coordinates groups.
    Coordinator,
    /// The first broker, which the members have asked first.
    Broker,
}

async fn kill(cluster: &mut Cluster, victim: Victim) -> Result<()> {
    match victim {
        Victim::Broker => cluster.brokers[0].process().kill(),
        Victim::Coordinator => {
            let shards = shown(cluster, &["cluster", "shards"]).await?;
            let owner = shards[0]["owner_name"].as_str().context("an owner")?;
            let number: usize = owner.trim_start_matches("metadata-").parse()?;
            cluster.metadata[number].server.process().kill();
        }
    }
    Ok(())
}

/// Lets groups read, kills a process, and lets more be there to read.
async fn disturb(cluster: &mut Cluster, victim: Victim) -> Result<()> {
    let broker = &cluster.brokers[1];
    kcat(broker, &["-P", "-t", "t"], lines(RECORDS).as_bytes()).await?;
    for protocol in ["classic", "consumer"] {
        caught_up(cluster, &format!("steady, {protocol}")).await?;
    }
    kill(cluster, victim).await?;
    let broker = &cluster.brokers[1];
    kcat(broker, &["-P", "-t", "t"], lines(RECORDS).as_bytes()).await?;
    Ok(())
}

async fn go_on_without(victim: Victim) -> Result<()> {
    Tools::program("python3")?;
    let (_ground, mut cluster) = cluster_of(2).await?;
    let brokers = cluster.brokers.iter();
    let addresses: Vec<String> = brokers.map(|broker| broker.kafka().to_string()).collect();
    let addresses = addresses.join(",");
    let classic = members(addresses.clone(), "classic");
    let consumer = members(addresses, "consumer");
    let disturbed = disturb(&mut cluster, victim);
    let (disturbed, classic, consumer) = tokio::join!(disturbed, classic, consumer);
    disturbed?;
    for finished in [classic?, consumer?] {
        let said = finished.code == 0 && finished.text().contains("ok: ");
        ensure!(said, "{finished:?}");
    }
    Ok(())
}

#[tokio::test]
async fn members_of_both_protocols_go_on_when_their_coordinator_dies() -> Result<()> {
    go_on_without(Victim::Coordinator).await
}

#[tokio::test]
async fn members_of_both_protocols_go_on_when_a_broker_dies() -> Result<()> {
    go_on_without(Victim::Broker).await
}

/// A pipe from `t` to `made`, in transactions of which some are aborted, until all is there once.
async fn pipe(addresses: &str) -> Result<Finished> {
    let run = Tools::repository()?.join("e2e/kafka/python/run");
    let count = (2 * RECORDS).to_string();
    let arguments = ["confluent_transactions", addresses, "t", "made", &count];
    Cli::script(&run, &arguments, FETCH_LIMIT).await
}

/// Kills a process when something is committed, and lets more be there to pipe.
async fn disturb_transactions(cluster: &mut Cluster, victim: Victim) -> Result<()> {
    let all = lines(2 * RECORDS);
    let (first, second) = all.split_at(all.len() / 2);
    let (first, second) = match first.rsplit_once('\n') {
        Some((first, cut)) => (format!("{first}\n"), format!("{cut}{second}")),
        None => anyhow::bail!("lines"),
    };
    kcat(&cluster.brokers[1], &["-P", "-t", "t"], first.as_bytes()).await?;
    until("something is committed", LIMIT, async || {
        let from = ["-C", "-t", "made", "-o", "beginning", "-e"];
        let found = kcat(&cluster.brokers[1], &from, &[]).await.ok()?;
        (!found.is_empty()).then_some(())
    })
    .await?;
    kill(cluster, victim).await?;
    kcat(&cluster.brokers[1], &["-P", "-t", "t"], second.as_bytes()).await?;
    Ok(())
}

async fn transactions_go_on_without(victim: Victim) -> Result<()> {
    Tools::program("python3")?;
    let (_ground, mut cluster) = cluster_of(2).await?;
    let no_config: [(&str, &str); 0] = [];
    let admin = cluster.client()?.admin();
    admin.create_topic("made", 1, no_config).await?;
    let brokers = cluster.brokers.iter();
    let addresses: Vec<String> = brokers.map(|broker| broker.kafka().to_string()).collect();
    let addresses = addresses.join(",");
    let disturbed = disturb_transactions(&mut cluster, victim);
    let (disturbed, finished) = tokio::join!(disturbed, pipe(&addresses));
    let finished = finished?;
    let said = finished.code == 0 && finished.text().contains("ok: ");
    ensure!(said, "{finished:?}");
    disturbed
}

#[tokio::test]
async fn transactions_go_on_when_their_coordinator_dies() -> Result<()> {
    transactions_go_on_without(Victim::Coordinator).await
}

#[tokio::test]
async fn transactions_go_on_when_a_broker_dies() -> Result<()> {
    transactions_go_on_without(Victim::Broker).await
}
