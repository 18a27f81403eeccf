//! Commits a second and their latency, on a local folder with fsync: `commit_rate [FOLDER] [SECONDS]`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use tidelog_env::Env;
use tidelog_store::{Bytes, ReadMode, Store};
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, Medium, Metrics};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .unwrap_or_else(|| "commit-rate-data".to_owned());
    let seconds: u64 = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    std::fs::create_dir_all(&folder)?;
    let files = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
    let options = EmbeddedOptions::new("meta", 64 * 1024 * 1024, Medium::Folder);
    let metrics = Metrics::unregistered();
    let env = Env::system();
    let store = EmbeddedStore::open(Arc::new(files), options, env.clone(), metrics).await?;
    for committers in [1, 64] {
        run(&store, &env, committers, Duration::from_secs(seconds)).await?;
    }
    store.close().await?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
async fn run(
    store: &EmbeddedStore,
    env: &Env,
    committers: usize,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    let before = store.stats();
    let started = env.clock.now();
    let tasks: Vec<_> = (0..committers)
        .map(|number| {
            let commits = commit_for(store.clone(), env.clone(), number, time);
            env.supervisor.spawn("commits", commits)
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await?.ok_or("a committer panicked")?);
    }
    let took = (env.clock.now() - started).as_secs_f64();
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() * part / 100).min(latencies.len() - 1)];
    let flushes = store.stats().flushes - before.flushes;
    println!(
        "{committers:>3} committers: {:.0} commits/s, p50 {:?}, p99 {:?}, {:.0} flushes/s",
        latencies.len() as f64 / took,
        at(50),
        at(99),
        flushes as f64 / took,
    );
    Ok(())
}

/// Commits as a sequencer does: reads its lease, writes a row and a counter.
async fn commit_for(
    store: EmbeddedStore,
    env: Env,
    number: usize,
    time: Duration,
) -> Vec<Duration> {
    let until = env.clock.now() + time;
    let mut latencies = Vec::new();
    while env.clock.now() < until {
        let started = env.clock.now();
        let Ok(mut transaction) = store.begin().await else {
            break;
        };
        let lease = format!("lease/{number}");
        if transaction
            .get(lease.as_bytes(), ReadMode::Serializable)
            .await
            .is_err()
        {
            break;
        }
        let row = format!("row/{number}/{}", latencies.len());
        transaction.put(Bytes::from(row), Bytes::from_static(&[7; 400]));
        transaction.add(Bytes::from(format!("bytes/{number}")), 1);
        if transaction.commit().await.is_err() {
            break;
        }
        latencies.push(env.clock.now() - started);
    }
    latencies
}
