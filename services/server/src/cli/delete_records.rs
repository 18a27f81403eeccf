//! `tidelog delete-records TOPIC`.

use std::io::{self, IsTerminal as _};

use clap::Args;
use serde::Serialize;
use tidelog_client::{ApiError, ClientError, LogClient, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{Table, counted, print};
use super::{CliError, Global, Result, confirm, connect};

#[derive(Debug, Args)]
pub(crate) struct DeleteRecordsArgs {
    /// The topic's name.
    topic: String,
    /// Delete records before this offset, or `latest` for all that are there now.
    #[arg(long, value_name = "OFFSET")]
    before: Before,
    /// Only this partition; may be repeated.
    #[arg(short, long, value_name = "PARTITION")]
    partition: Vec<u32>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Offset(u64),
    Latest,
}

impl std::str::FromStr for Before {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        text.parse()
            .map(Self::Offset)
            .map_err(|_| "write an offset or `latest`")
    }
}

#[derive(Debug, Serialize)]
struct Row {
    partition: u32,
    earliest: Option<u64>,
    error: Option<String>,
}

pub(crate) async fn run(args: DeleteRecordsArgs, global: &Global, env: Env) -> Result<Exit> {
    let client = connect::client(global, env)?;
    let topic = client.admin().topic(&args.topic).await?;
    let partitions = if args.partition.is_empty() {
        (0..topic.partition_count).collect()
    } else {
        args.partition.clone()
    };
    if !args.yes {
        confirm(&args, partitions.len())?;
    }
    let before_offset = match args.before {
        Before::Offset(offset) => Some(offset),
        Before::Latest => None,
    };
    let request = |partition| v1::DeleteRecordsPartition {
        topic: topic.name.clone(),
        partition,
        before_offset,
    };
    let log = client.log();
    let results = log
        .delete_records(partitions.into_iter().map(request).collect())
        .await?;
    let rows = rows(&log, &topic.name, &results).await?;
    print(global.output, &rows, || table(&rows))?;
    outcome(&results)
}

/// What the partitions are like now. A refusal does not say where its partition begins.
async fn rows(
    log: &LogClient,
    topic: &str,
    results: &[v1::DeleteRecordsResult],
) -> Result<Vec<Row>> {
    let refused = results.iter().filter(|result| result.error.is_some());
    let asked: Vec<v1::ListOffsetsPartition> = refused
        .map(|result| v1::ListOffsetsPartition {
            topic: topic.to_owned(),
            partition: result.partition,
            query: Some(v1::list_offsets_partition::Query::Position(
                v1::OffsetPosition::Earliest.into(),
            )),
        })
        .collect();
    let begins = if asked.is_empty() {
        Vec::new()
    } else {
        log.list_offsets(asked).await?
    };
    let begin = |partition| {
        let mut begins = begins.iter();
        begins.find(|begin| begin.partition == partition)?.offset
    };
    let row = |result: &v1::DeleteRecordsResult| Row {
        partition: result.partition,
        earliest: match &result.error {
            None => Some(result.log_start_offset),
            Some(_) => begin(result.partition),
        },
        error: result.error.as_ref().map(|error| error.message.clone()),
    };
    Ok(results.iter().map(row).collect())
}

/// How the command ends. The table has told the errors.
fn outcome(results: &[v1::DeleteRecordsResult]) -> Result<Exit> {
    let mut errors = results.iter().filter_map(|result| result.error.as_ref());
    let Some(first) = errors.next() else {
        return Ok(Exit::Ok);
    };
    let refused = 1 + errors.count();
    let code = ApiError::from_proto(first.clone()).code;
    let text = format!(
        "nothing was deleted in {} of {}",
        refused,
        counted(results.len() as u64, "partition")
    );
    if refused < results.len() {
        return Err(CliError::other(Exit::Partial, text));
    }
    Err(ClientError::Api(ApiError::new(code, text)).into())
}

/// What is deleted does not come back, so a person is asked, and a program must say that it means it.
fn confirm(args: &DeleteRecordsArgs, partitions: usize) -> Result<()> {
    let partitions = counted(partitions as u64, "partition");
    let what = format!("records of {partitions} of `{}`", args.topic);
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "{what} would be gone for good: say so with --yes"
        )));
    }
    confirm::ask(&format!("delete {what} for good?"))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[">partition", ">earliest", "error"]);
    for row in rows {
        let error = row.error.clone().unwrap_or_default();
        table.row(vec![
            row.partition.to_string(),
            row.earliest
                .map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            error,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_offset_or_latest() {
        assert_eq!("latest".parse(), Ok(Before::Latest));
        assert_eq!("7".parse(), Ok(Before::Offset(7)));
        assert!("-7".parse::<Before>().is_err());
    }
}
