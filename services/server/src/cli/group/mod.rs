//! `tidelog group`.

mod assigned;
mod describe;
mod reset;

use std::io::{self, IsTerminal as _};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use tidelog_client::{ApiError, ClientError, GroupAdmin, v1};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{Table, counted, print, print_done};
use super::{CliError, Global, Result, confirm, connect};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the groups.
    List {
        /// Only groups in this state; may be repeated.
        #[arg(short, long, value_enum)]
        state: Vec<StateArg>,
    },
    /// Show a group, its members, and how far it has come and lags behind in each partition.
    Describe {
        /// The group's name.
        name: String,
    },
    /// Set from where a group without members goes on.
    Reset(reset::ResetArgs),
    /// Delete groups without members, with their committed offsets. On a terminal it asks first.
    Delete {
        /// The groups' names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    /// No members.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// All have joined, the assignment is awaited.
    CompletingRebalance,
    /// The coordinator is about to assign.
    Assigning,
    /// Some members do not have yet what they are to have.
    Reconciling,
    /// All members have what they are to have.
    Stable,
}

impl StateArg {
    const fn to_proto(self) -> v1::GroupState {
        match self {
            Self::Empty => v1::GroupState::Empty,
            Self::PreparingRebalance => v1::GroupState::PreparingRebalance,
            Self::CompletingRebalance => v1::GroupState::CompletingRebalance,
            Self::Assigning => v1::GroupState::Assigning,
            Self::Reconciling => v1::GroupState::Reconciling,
            Self::Stable => v1::GroupState::Stable,
        }
    }
}

/// A group in a list.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    protocol: &'static str,
    state: &'static str,
}

pub(crate) async fn run(command: GroupCommand, global: &Global, env: Env) -> Result<Exit> {
    match command {
        GroupCommand::List { state } => {
            let groups = connect::client(global, env)?.groups();
            let states: Vec<_> = state.into_iter().map(StateArg::to_proto).collect();
            let groups = groups.list(&states, &[]).await?;
            let rows: Vec<Row> = groups.into_iter().map(row).collect();
            print(global.output, &rows, || table(&rows))?;
            Ok(Exit::Ok)
        }
        GroupCommand::Describe { name } => describe::run(&name, global, env).await,
        GroupCommand::Reset(args) => reset::run(args, global, env).await,
        GroupCommand::Delete { names, yes } => {
            if !yes && io::stdin().is_terminal() {
                let groups = counted(names.len() as u64, "group");
                confirm::ask(&format!("delete {groups} with all committed offsets?"))?;
            }
            let groups = connect::client(global, env)?.groups();
            delete(&groups, &names).await?;
            let done = serde_json::json!({ "deleted": names });
            let sentence = format!("deleted {}", counted(names.len() as u64, "group"));
            print_done(global.output, &done, &sentence)?;
            Ok(Exit::Ok)
        }
    }
}

/// Deletes all, or says of which one it could not.
async fn delete(groups: &GroupAdmin, names: &[String]) -> Result<()> {
    let results = groups.delete(names).await?;
    let failed = results.iter().filter(|result| result.error.is_some());
    let failed = failed.count();
    let first = results.into_iter().find_map(|result| {
        let error = ApiError::from_proto(result.error?);
        Some((result.name, error))
    });
    let Some((name, error)) = first else {
        return Ok(());
    };
    let error = in_group(&name, error);
    if failed < names.len() {
        let deleted = names.len() - failed;
        let text = format!(
            "{deleted} of {} deleted; {error}",
            counted(names.len() as u64, "group")
        );
        return Err(CliError::other(Exit::Partial, text));
    }
    Err(error.into())
}

/// An error of one group, with its name.
fn in_group(name: &str, error: ApiError) -> ClientError {
    let message = format!("group `{name}`: {}", error.message);
    ClientError::Api(ApiError { message, ..error })
}

fn row(group: v1::GroupSummary) -> Row {
    Row {
        protocol: protocol_name(group.protocol()),
        state: state_name(group.state()),
        name: group.name,
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["name", "protocol", "state"]);
    for row in rows {
        table.row(vec![
            row.name.clone(),
            row.protocol.to_owned(),
            row.state.to_owned(),
        ]);
    }
    table
}

const fn protocol_name(protocol: v1::GroupProtocol) -> &'static str {
    match protocol {
        v1::GroupProtocol::Classic => "classic",
        v1::GroupProtocol::Consumer => "consumer",
        v1::GroupProtocol::Unspecified => "unknown",
    }
}

const fn state_name(state: v1::GroupState) -> &'static str {
    match state {
        v1::GroupState::Empty => "empty",
        v1::GroupState::PreparingRebalance => "preparing-rebalance",
        v1::GroupState::CompletingRebalance => "completing-rebalance",
        v1::GroupState::Assigning => "assigning",
        v1::GroupState::Reconciling => "reconciling",
        v1::GroupState::Stable => "stable",
        v1::GroupState::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_asked_for_by_the_names_that_are_shown() {
        for state in StateArg::value_variants() {
            let value = state.to_possible_value().unwrap();
            assert_eq!(value.get_name(), state_name(state.to_proto()));
        }
    }
}
