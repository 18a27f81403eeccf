//! `tidelog bench e2e`: from the producer's call to the consumer's hands.

use std::time::Duration;

use tidelog_client::{Chunk, Client, Consumer, ConsumerOptions, SendRecord};
use tidelog_env::{Env, MonoTime};
use tidelog_runtime::Exit;
use tidelog_runtime::settings::ByteSize;
use tokio::sync::oneshot;

use super::histogram::Histogram;
use super::load::{Schedule, Values};
use super::report::Report;
use super::{LoadArgs, clients, produce, task_lost};
use crate::cli::{CliError, Global, Result, connect};

/// A value begins with a mark of this run and the time at which it was due.
const STAMP_BYTES: usize = 16;
/// How long the last records may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &LoadArgs, global: &Global, env: &Env) -> Result<Report> {
    let size = ByteSize::new(args.size.get().max(STAMP_BYTES as u64));
    let args = LoadArgs {
        size,
        ..args.clone()
    };
    let reading = connect::client(global, env.clone())?;
    let mut consumer = reading.consumer(&args.topic, ConsumerOptions::default());
    consumer.begin().await.map_err(ended)?;
    let mark = env.rng.next_u64();
    let (total, expected) = oneshot::channel();
    let receiver = Receiver {
        mark,
        env: env.clone(),
        latency: Histogram::new(),
    };
    let receiving = env
        .supervisor
        .spawn("bench consumer", receiver.run(consumer, expected));
    let start = env.clock.now();
    let mut tasks = Vec::new();
    for (index, client) in (0..).zip(clients(global, env, args.producers)?) {
        let task = send(client, args.clone(), env.clone(), mark, start, index);
        tasks.push(env.supervisor.spawn("bench producer", task));
    }
    let mut sent = 0;
    for task in tasks {
        sent += task.await.ok().flatten().ok_or_else(task_lost)??;
    }
    // The receiver may have ended with an error, which is told below.
    let _ = total.send(sent);
    let latency = receiving.await.ok().flatten().ok_or_else(task_lost)??;
    let took = env.clock.now() - start;
    Ok(Report::new(
        "end to end",
        sent,
        sent * size.get(),
        took,
        Some(&latency),
    ))
}

async fn send(
    client: Client,
    args: LoadArgs,
    env: Env,
    mark: u64,
    start: MonoTime,
    index: u32,
) -> Result<u64> {
    let producer = client
        .producer(&args.topic, produce::options(&args))
        .await?;
    let mut values = Values::new(&env, args.size.get());
    let mut schedule = Schedule::new(&args, &env, start, index);
    let mut value = Vec::new();
    while let Some(due) = schedule.next().await {
        value.clear();
        value.extend_from_slice(values.next());
        let nanos = u64::try_from(due.since_start().as_nanos()).unwrap_or(u64::MAX);
        value[..8].copy_from_slice(&mark.to_be_bytes());
        value[8..STAMP_BYTES].copy_from_slice(&nanos.to_be_bytes());
        producer.send(SendRecord::value(&value)).await?;
    }
    producer.close().await?;
    Ok(schedule.sent())
}

/// Measures the records of this run until all have arrived.
struct Receiver {
    mark: u64,
    env: Env,
    latency: Histogram,
}

impl Receiver {
    async fn run(
        mut self,
        mut consumer: Consumer,
        mut expected: oneshot::Receiver<u64>,
    ) -> Result<Histogram> {
        let total = loop {
            tokio::select! {
                biased;
                total = &mut expected => break total.map_err(|_| task_lost())?,
                chunk = consumer.next() => self.take(chunk.map_err(ended)?)?,
            }
        };
        let deadline = self.env.clock.now() + PATIENCE;
        while self.latency.count() < total {
            tokio::select! {
                biased;
                chunk = consumer.next() => self.take(chunk.map_err(ended)?)?,
                () = self.env.clock.sleep_until(deadline) => {
                    let missing = total - self.latency.count();
                    let message = format!("{missing} records had not arrived after {PATIENCE:?}");
                    return Err(CliError::other(Exit::Error, message));
                }
            }
        }
        Ok(self.latency)
    }

    fn take(&mut self, chunk: Option<Chunk>) -> Result<()> {
        let chunk = chunk.ok_or_else(task_lost)?;
        let now = self.env.clock.now().since_start();
        for record in chunk.records() {
            let record = record.map_err(|error| {
                CliError::because(Exit::Error, "a record cannot be decoded", error)
            })?;
            if let Some(due) = record
                .value
                .as_deref()
                .and_then(|value| stamp(value, self.mark))
            {
                self.latency.record(now.saturating_sub(due));
            }
        }
        Ok(())
    }
}

/// When a record of the run with this mark was due.
fn stamp(value: &[u8], mark: u64) -> Option<Duration> {
    let (own, rest) = value.split_first_chunk::<8>()?;
    let (nanos, _) = rest.split_first_chunk::<8>()?;
    (u64::from_be_bytes(*own) == mark).then(|| Duration::from_nanos(u64::from_be_bytes(*nanos)))
}

fn ended(error: tidelog_client::consumer::ConsumeError) -> CliError {
    CliError::because(Exit::Error, format!("reading ended: {error}"), error)
}
