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
    /// Readers of what is committed come up to here: an open transaction begins there, or it is the latest.
    last_stable: u64,
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
    let stable = ask(position(v1::OffsetPosition::LastStable)).await?;
    let newest = ask(position(v1::OffsetPosition::MaxTimestamp)).await?;
    let found = match at {
        Some(at) => Some(ask(Query::TimestampMs(at.as_millis())).await?),
        None => None,
    };
    let rows: Vec<Row> = (0..)
        .zip(earliest.iter().zip(&latest).zip(&stable).zip(&newest))
        .map(|(index, (((earliest, latest), stable), newest))| {
            let (from, to) = (earliest.offset.unwrap_or(0), latest.offset.unwrap_or(0));
            Row {
                partition: earliest.partition,
                earliest: from,
                latest: to,
                // Asked for later than the latest, it may lie behind that.
                last_stable: stable.offset.unwrap_or(to).min(to),
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

/// Where no transaction is open, there is nothing to say of the last stable offset.
fn table(rows: &[Row], with_time: bool) -> Table {
    let with_stable = rows.iter().any(|row| row.last_stable < row.latest);
    let mut headings = vec![">partition", ">earliest", ">latest"];
    if with_stable {
        headings.push(">last stable");
    }
    headings.extend([">records", "newest record"]);
    if with_time {
        headings.push(">at that time");
    }
    let mut table = Table::new(&headings);
    for row in rows {
        let mut cells = vec![
            row.partition.to_string(),
            row.earliest.to_string(),
            row.latest.to_string(),
        ];
        if with_stable {
            cells.push(row.last_stable.to_string());
        }
        cells.extend([
            row.records.to_string(),
            row.newest.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stable_offset_is_shown_where_a_transaction_is_open() {
        let row = |last_stable| Row {
            latest: 7,
            last_stable,
            ..Row::default()
        };
        let settled = table(&[row(7)], false).render();
        assert!(!settled.contains("LAST STABLE"), "{settled}");
        let open = table(&[row(7), row(5)], false).render();
        assert!(open.contains("LAST STABLE"), "{open}");
    }
}
