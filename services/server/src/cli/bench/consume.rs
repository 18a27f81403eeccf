//! `tidelog bench consume`.

use tidelog_client::{Client, ConsumerOptions};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::report::Report;
use super::{ConsumeArgs, clients, task_lost};
use crate::cli::{CliError, Global, Result};

pub(super) async fn run(args: &ConsumeArgs, global: &Global, env: &Env) -> Result<Report> {
    let clients = clients(global, env, args.consumers)?;
    let Some(first) = clients.first() else {
        return Err(task_lost());
    };
    let partitions = first.admin().topic(&args.topic).await?.partition_count;
    let start = env.clock.now();
    let mut tasks = Vec::new();
    for (index, client) in (0..).zip(clients) {
        let own: Vec<u32> = (0..partitions)
            .filter(|partition| partition % args.consumers == index)
            .collect();
        // No partitions would mean all of them.
        if !own.is_empty() {
            let task = consume(client, args.clone(), own);
            tasks.push(env.supervisor.spawn("bench consumer", task));
        }
    }
    let (mut records, mut bytes) = (0, 0);
    for task in tasks {
        let (more_records, more_bytes) = task.await.ok().flatten().ok_or_else(task_lost)??;
        records += more_records;
        bytes += more_bytes;
    }
    Ok(Report::new(
        "consumed",
        records,
        bytes,
        env.clock.now() - start,
        None,
    ))
}

async fn consume(client: Client, args: ConsumeArgs, partitions: Vec<u32>) -> Result<(u64, u64)> {
    let options = ConsumerOptions {
        partitions,
        ..ConsumerOptions::all_until_end()
    };
    let mut consumer = client.consumer(&args.topic, options);
    let (mut records, mut bytes) = (0, 0);
    loop {
        let chunk = consumer.next().await.map_err(|error| {
            CliError::because(Exit::Error, format!("reading ended: {error}"), error)
        })?;
        let Some(chunk) = chunk else {
            return Ok((records, bytes));
        };
        bytes += chunk.batches().len() as u64;
        if args.decode {
            for record in chunk.records() {
                record.map_err(|error| {
                    CliError::because(Exit::Error, "a record cannot be decoded", error)
                })?;
                records += 1;
            }
        } else {
            records += chunk.offsets.count();
        }
    }
}
