//! `tidelog delete-records TOPIC`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use serde::Serialize;
use tidelog_client::{ApiError, ClientError, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{Table, print};
use super::{CliError, Global, Result, connect};

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
    earliest: u64,
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
    let results = client
        .log()
        .delete_records(partitions.into_iter().map(request).collect())
        .await?;
    let failed = results.iter().find_map(|result| result.error.clone());
    let rows: Vec<Row> = results
        .into_iter()
        .map(|result| Row {
            partition: result.partition,
            earliest: result.log_start_offset,
            error: result.error.map(|error| error.message),
        })
        .collect();
    print(global.output, &rows, || table(&rows))?;
    match failed {
        Some(error) => Err(ClientError::Api(ApiError::from_proto(error)).into()),
        None => Ok(Exit::Ok),
    }
}

/// What is deleted does not come back, so a person is asked, and a program must say that it means it.
fn confirm(args: &DeleteRecordsArgs, partitions: usize) -> Result<()> {
    let what = format!("records of {partitions} partitions of `{}`", args.topic);
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "{what} would be gone for good: say so with --yes"
        )));
    }
    let failed = |error| CliError::io("the answer cannot be read", error);
    write!(io::stderr(), "delete {what} for good? [y/N] ").map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::usage("nothing was deleted"))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[">partition", ">earliest", "error"]);
    for row in rows {
        let error = row.error.clone().unwrap_or_default();
        table.row(vec![
            row.partition.to_string(),
            row.earliest.to_string(),
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
