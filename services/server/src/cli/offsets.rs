//! `tidelog offsets TOPIC`.

use clap::Args;
use serde::Serialize;
use tidelog_client::{ApiError, ClientError, LogClient, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use v1::list_offsets_partition::Query;

use super::output::{Table, print};
use super::{CliError, Global, Result, connect, times};

#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    /// The topic's name.
    topic: String,
    /// Also find the first record at or after this time: 2026-01-31, 2026-01-31T12:00:00Z, -1h, @MILLIS.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
}

/// The offsets of one partition.
#[derive(Debug, Default, Serialize)]
struct Row {
    partition: u32,
    earliest: u64,
    latest: u64,
    records: u64,
    /// The latest time of a record, if there are any.
    newest: Option<String>,
    /// The offset of the first record at or after the time asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

pub(crate) async fn run(args: OffsetsArgs, global: &Global, env: Env) -> Result<Exit> {
    let at = match &args.at {
        None => None,
        Some(text) => Some(times::parse(text, env.clock.wall()).ok_or_else(|| {
            CliError::usage(format!(
                "`{text}` is no time: write 2026-01-31, 2026-01-31T12:00:00Z, -1h or @MILLISECONDS"
            ))
        })?),
    };
    let client = connect::client(global, env)?;
    let topic = client.admin().topic(&args.topic).await?;
    let log = client.log();
    let ask = |query: Query| list(&log, &topic, query);
    let position = |position: v1::OffsetPosition| Query::Position(position.into());
    let earliest = ask(position(v1::OffsetPosition::Earliest)).await?;
    let latest = ask(position(v1::OffsetPosition::Latest)).await?;
    let newest = ask(position(v1::OffsetPosition::MaxTimestamp)).await?;
    let found = match at {
        Some(at) => Some(ask(Query::TimestampMs(at.as_millis())).await?),
        None => None,
    };
    let rows: Vec<Row> = (0..)
        .zip(earliest.iter().zip(&latest).zip(&newest))
        .map(|(index, ((earliest, latest), newest))| {
            let (from, to) = (earliest.offset.unwrap_or(0), latest.offset.unwrap_or(0));
            Row {
                partition: earliest.partition,
                earliest: from,
                latest: to,
                records: to.saturating_sub(from),
                newest: newest.timestamp_ms.map(times::format),
                at: found
                    .as_ref()
                    .and_then(|found: &Vec<v1::ListOffsetsResult>| found.get(index)?.offset),
            }
        })
        .collect();
    print(global.output, &rows, || table(&rows, args.at.is_some()))?;
    Ok(Exit::Ok)
}

/// Asks the same of every partition; an error of one is an error of all.
async fn list(
    log: &LogClient,
    topic: &v1::Topic,
    query: Query,
) -> Result<Vec<v1::ListOffsetsResult>> {
    let partitions = (0..topic.partition_count)
        .map(|partition| v1::ListOffsetsPartition {
            topic: topic.name.clone(),
            partition,
            query: Some(query),
        })
        .collect();
    let results = log.list_offsets(partitions).await?;
    match results.iter().find_map(|result| result.error.as_ref()) {
        Some(error) => Err(ClientError::Api(ApiError::from_proto(error.clone())).into()),
        None => Ok(results),
    }
}

fn table(rows: &[Row], with_time: bool) -> Table {
    let mut headings = vec![
        ">partition",
        ">earliest",
        ">latest",
        ">records",
        "newest record",
    ];
    if with_time {
        headings.push(">at that time");
    }
    let mut table = Table::new(&headings);
    for row in rows {
        let mut cells = vec![
            row.partition.to_string(),
            row.earliest.to_string(),
            row.latest.to_string(),
            row.records.to_string(),
            row.newest.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        if with_time {
            cells.push(
                row.at
                    .map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            );
        }
        table.row(cells);
    }
    table
}
