//! `tidelog bench produce`.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tidelog_client::{Client, Delivery, ProducerOptions, SendRecord};
use tidelog_env::{Env, MonoTime};
use tokio::sync::mpsc;

use super::histogram::Histogram;
use super::load::{Schedule, Values};
use super::report::Report;
use super::{LoadArgs, clients, task_lost};
use crate::cli::{Global, Result};

/// One record of so many has its latency measured; every one is counted.
const SAMPLE_MIN: u64 = 1;
/// At most so many records a second are measured.
const SAMPLES_PER_SECOND: u64 = 2_000;
/// Without a rate we do not know how many there will be; this many are far apart enough.
const SAMPLE_FREE: u64 = 101;
/// Measured records that await their answer.
const WAITING_MAX: usize = 65_536;

pub(super) async fn run(args: &LoadArgs, global: &Global, env: &Env) -> Result<Report> {
    let clients = clients(global, env, args.producers)?;
    let start = env.clock.now();
    let mut tasks = Vec::new();
    for (index, client) in (0..).zip(clients) {
        let task = produce(client, args.clone(), env.clone(), start, index);
        tasks.push(env.supervisor.spawn("bench producer", task));
    }
    let mut latency = Histogram::new();
    let mut records = 0;
    for task in tasks {
        let (sent, measured) = task.await.ok().flatten().ok_or_else(task_lost)??;
        records += sent;
        for sample in measured {
            latency.record(sample);
        }
    }
    let took = env.clock.now() - start;
    Ok(Report::new(
        "produced",
        records,
        records * args.size.get(),
        took,
        Some(&latency),
    ))
}

/// Options of the producers of a load.
pub(super) fn options(args: &LoadArgs) -> ProducerOptions {
    ProducerOptions {
        batch_bytes: usize::try_from(args.batch.get()).unwrap_or(usize::MAX),
        linger: args.linger.get(),
        compression: args.compression.into(),
        ..ProducerOptions::default()
    }
}

async fn produce(
    client: Client,
    args: LoadArgs,
    env: Env,
    start: MonoTime,
    index: u32,
) -> Result<(u64, Vec<Duration>)> {
    let producer = client.producer(&args.topic, options(&args)).await?;
    let mut values = Values::new(&env, args.size.get());
    let mut schedule = Schedule::new(&args, &env, start, index);
    let sample = args.rate.map_or(SAMPLE_FREE, |rate| {
        (rate / SAMPLES_PER_SECOND).max(SAMPLE_MIN)
    });
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let measuring = env
        .supervisor
        .spawn("bench latency", measure(receiver, env.clone()));
    while let Some(due) = schedule.next().await {
        let delivery = producer.send(SendRecord::value(values.next())).await?;
        // A sample that does not fit is left out; the record itself is counted all the same.
        if schedule.sent().is_multiple_of(sample) {
            let _ = sender.try_send((due, delivery));
        }
    }
    producer.close().await?;
    drop(sender);
    Ok((
        schedule.sent(),
        measuring.await.ok().flatten().ok_or_else(task_lost)?,
    ))
}

/// How long each record took from when it was due to its acknowledgement.
async fn measure(mut samples: mpsc::Receiver<(MonoTime, Delivery)>, env: Env) -> Vec<Duration> {
    let mut waiting = FuturesUnordered::new();
    let mut measured = Vec::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            sample = samples.recv(), if open && waiting.len() < WAITING_MAX => match sample {
                Some((due, delivery)) => waiting.push(async move { (due, delivery.wait().await) }),
                None => open = false,
            },
            Some((due, answer)) = waiting.next() => {
                if answer.is_ok() {
                    measured.push(env.clock.now() - due);
                }
            }
        }
    }
    measured
}
