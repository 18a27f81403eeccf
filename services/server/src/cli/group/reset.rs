//! `tidelog group reset`.

use clap::Args;
use serde::Serialize;
use tidelog_client::{ApiError, ClientError, LogClient, Start, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use v1::list_offsets_partition::Query;

use super::in_group;
use crate::cli::consume::start;
use crate::cli::output::{Table, print};
use crate::cli::{Global, Result, connect};

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The group's name.
    name: String,
    /// The topic.
    #[arg(short = 'T', long)]
    topic: String,
    /// Only this partition; may be repeated.
    #[arg(short, long, value_name = "PARTITION")]
    partition: Vec<u32>,
    /// From where the group shall go on: earliest, latest, an offset, or a time (2026-01-31,
    /// 2026-01-31T12:00:00Z, -1h, @MILLIS).
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: String,
    /// Only show what would be set.
    #[arg(long)]
    dry_run: bool,
}

/// What a partition is set to.
#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partition: u32,
    before: Option<u64>,
    after: u64,
}

pub(super) async fn run(args: ResetArgs, global: &Global, env: Env) -> Result<Exit> {
    let to = start::parse(&args.to, env.clock.wall())?;
    let client = connect::client(global, env)?;
    let topic = client.admin().topic(&args.topic).await?;
    let partitions: Vec<u32> = if args.partition.is_empty() {
        (0..topic.partition_count).collect()
    } else {
        args.partition.clone()
    };
    let targets = targets(&client.log(), &topic.name, &partitions, to).await?;
    let groups = client.groups();
    let before = groups.offsets(&args.name).await?;
    let rows = partitions.iter().zip(&targets).map(|(partition, after)| {
        let known = before.iter();
        let mut known = known.filter(|it| it.topic == topic.name && it.partition == *partition);
        Row {
            topic: topic.name.clone(),
            partition: *partition,
            before: known.next().map(|offset| offset.committed_offset),
            after: *after,
        }
    });
    let rows: Vec<Row> = rows.collect();
    if !args.dry_run {
        let changes = rows.iter().map(|row| v1::GroupOffsetChange {
            topic: row.topic.clone(),
            partition: row.partition,
            offset: Some(row.after),
            metadata: String::new(),
        });
        let results = groups.alter_offsets(&args.name, changes.collect()).await?;
        if let Some(error) = results.into_iter().find_map(|result| result.error) {
            return Err(in_group(&args.name, ApiError::from_proto(error)).into());
        }
    }
    print(global.output, &rows, || table(&rows))?;
    Ok(Exit::Ok)
}

/// The offset that each partition shall have, within what is there.
async fn targets(log: &LogClient, topic: &str, partitions: &[u32], to: Start) -> Result<Vec<u64>> {
    let position = |position: v1::OffsetPosition| Query::Position(position.into());
    let earliest = ask(
        log,
        topic,
        partitions,
        position(v1::OffsetPosition::Earliest),
    )
    .await?;
    let latest = ask(log, topic, partitions, position(v1::OffsetPosition::Latest)).await?;
    let found = match to {
        Start::Timestamp(time) => {
            Some(ask(log, topic, partitions, Query::TimestampMs(time.as_millis())).await?)
        }
        _ => None,
    };
    let bounds = earliest.into_iter().zip(latest).enumerate();
    let targets = bounds.map(|(index, (earliest, latest))| {
        let (earliest, latest) = (earliest.unwrap_or(0), latest.unwrap_or(0));
        match to {
            Start::Earliest => earliest,
            Start::Offset(offset) => offset.clamp(earliest, latest.max(earliest)),
            // Where no record is that late, the group goes on with what comes.
            Start::Timestamp(_) => {
                let found = found.as_ref().and_then(|found| found.get(index).copied());
                found.flatten().unwrap_or(latest)
            }
            Start::Latest => latest,
        }
    });
    Ok(targets.collect())
}

/// Asks the same of each partition; an error of one is an error of all.
async fn ask(
    log: &LogClient,
    topic: &str,
    partitions: &[u32],
    query: Query,
) -> Result<Vec<Option<u64>>> {
    let asked = partitions.iter().map(|partition| v1::ListOffsetsPartition {
        topic: topic.to_owned(),
        partition: *partition,
        query: Some(query),
    });
    let results = log.list_offsets(asked.collect()).await?;
    match results.iter().find_map(|result| result.error.as_ref()) {
        Some(error) => Err(ClientError::Api(ApiError::from_proto(error.clone())).into()),
        None => Ok(results.into_iter().map(|result| result.offset).collect()),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["topic", ">partition", ">before", ">after"]);
    for row in rows {
        let before = row.before.map(|offset| offset.to_string());
        table.row(vec![
            row.topic.clone(),
            row.partition.to_string(),
            before.unwrap_or_else(|| "-".to_owned()),
            row.after.to_string(),
        ]);
    }
    table
}
