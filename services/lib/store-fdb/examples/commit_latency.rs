//! Latency of bare transactions, one at a time and many at once: `commit_latency [CLUSTER_FILE] [SECONDS]`.
//! Without a cluster file, or with `-`, it starts an `fdbserver` of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_e2e_harness::FdbServer;
use tidelog_env::Env;
use tidelog_store::{Bytes, CommitError, ReadMode, Store, StoreError};
use tidelog_store_fdb::{FdbOptions, FdbStore, Metrics, Network, NetworkOptions};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().filter(|file| file != "-");
    let seconds: u64 = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let server = match &file {
        Some(_) => None,
        None => Some(FdbServer::start_on_disk().await?),
    };
    let own = server.as_ref().map(FdbServer::cluster_file);
    let cluster_file = file.map(PathBuf::from).or(own).context("no cluster file")?;
    let env = Env::system();
    let network = Network::start(&NetworkOptions::default())?;
    let options = FdbOptions::new(cluster_file);
    let store = FdbStore::open(&network, options, env.clone(), Metrics::unregistered()).await?;
    for committers in [1, 16, 128] {
        run(&store, &env, committers, Duration::from_secs(seconds)).await?;
    }
    println!("{:?}", store.stats());
    store.close().await?;
    Ok(())
}

/// What one transaction took: all of it, and its commit alone.
struct Sample {
    whole: Duration,
    commit: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn run(store: &FdbStore, env: &Env, committers: usize, time: Duration) -> Result<()> {
    let started = env.clock.now();
    let tasks: Vec<_> = (0..committers)
        .map(|number| {
            let commits = commit_for(store.clone(), env.clone(), number, time);
            env.supervisor.spawn("commits", commits)
        })
        .collect();
    let mut samples = Vec::new();
    for task in tasks {
        samples.extend(task.await?.context("a committer panicked")??);
    }
    let took = (env.clock.now() - started).as_secs_f64();
    println!(
        "{committers:>3} committers: {:.0} commits/s, transaction {}, commit {}",
        samples.len() as f64 / took,
        percentiles(samples.iter().map(|sample| sample.whole).collect()),
        percentiles(samples.iter().map(|sample| sample.commit).collect()),
    );
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    format!(
        "p50 {:.2?} p99 {:.2?}",
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default()
    )
}

/// Commits as a sequencer does: reads its lease, writes a row and a counter.
async fn commit_for(
    store: FdbStore,
    env: Env,
    number: usize,
    time: Duration,
) -> Result<Vec<Sample>> {
    let until = env.clock.now() + time;
    let mut samples = Vec::new();
    while env.clock.now() < until {
        samples.push(commit_once(&store, &env, number, samples.len()).await?);
    }
    Ok(samples)
}

async fn commit_once(
    store: &FdbStore,
    env: &Env,
    committer: usize,
    row: usize,
) -> Result<Sample, CommitError> {
    let began = env.clock.now();
    let mut transaction = store.begin().await?;
    let lease = format!("lease/{committer}");
    let read: Result<_, StoreError> = transaction
        .get(lease.as_bytes(), ReadMode::Serializable)
        .await;
    read?;
    let row = format!("row/{committer}/{row}");
    transaction.put(Bytes::from(row), Bytes::from_static(&[7; 400]));
    transaction.add(Bytes::from(format!("bytes/{committer}")), 1);
    let committing = env.clock.now();
    transaction.commit().await?;
    let done = env.clock.now();
    Ok(Sample {
        whole: done - began,
        commit: done - committing,
    })
}
