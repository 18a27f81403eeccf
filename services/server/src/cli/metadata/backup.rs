//! `tidelog metadata backup`.

use clap::{Args, Subcommand};
use jiff::Timestamp as Moment;
use serde::Serialize;
use tidelog_blob::BackupName;
use tidelog_env::Env;
use tidelog_metadata::backup::{BackupEntry, BackupState, BackupSummary, TakeOptions};
use tidelog_runtime::Exit;
use tidelog_types::Timestamp;

use super::place::{Place, failed};
use crate::cli::output::{Table, grouped, print, print_done};
use crate::cli::{CliError, Output, Result, SettingsArgs, times};
use crate::serve::metadata::StoreRows;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    action: Option<BackupAction>,
    /// The name of the backup: `a-z`, `0-9` and `-` [default: the time].
    #[arg(long, value_name = "NAME")]
    name: Option<BackupName>,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Subcommand)]
enum BackupAction {
    /// List the backups, also those that are incomplete.
    List(SettingsArgs),
    /// Delete a backup, so that the segments that it needs may be deleted in their time.
    Delete {
        /// The name of the backup.
        name: BackupName,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// A backup as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    begun: Option<String>,
    ended: Option<String>,
    generation: Option<u32>,
    rows: Option<u64>,
    bytes: Option<u64>,
}

pub(super) async fn run(args: BackupArgs, output: Output, env: Env) -> Result<Exit> {
    match args.action {
        None => take(args.name, &args.settings, output, env).await,
        Some(BackupAction::List(settings)) => list(&settings, output, env).await,
        Some(BackupAction::Delete { name, settings }) => {
            delete(&name, &settings, output, env).await
        }
    }
}

async fn take(
    name: Option<BackupName>,
    settings: &SettingsArgs,
    output: Output,
    env: Env,
) -> Result<Exit> {
    let place = Place::find(settings, env).await?;
    let name = match name {
        Some(name) => name,
        None => name_of(place.env.clock.wall())?,
    };
    let listed = place.backups().list().await;
    let listed = listed.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    if listed.iter().any(|entry| entry.name == name) {
        let message = format!("backup `{name}` exists already: give another `--name`");
        return Err(CliError::usage(message));
    }
    let rows = place.rows().await?;
    let (backups, env, options) = (place.backups(), &place.env, TakeOptions::default());
    let taken = match &rows {
        StoreRows::Embedded(reader) => backups.take(reader.as_ref(), env, &name, options).await,
        #[cfg(feature = "fdb")]
        StoreRows::Shared(store) => backups.take(store.as_ref(), env, &name, options).await,
    };
    rows.close().await;
    let taken = taken.map_err(|error| failed(Exit::Error)(error.into()))?;
    let sentence = format!(
        "backup `{name}` is complete: {} rows, {} bytes",
        grouped(taken.keys),
        grouped(taken.bytes)
    );
    print_done(output, &complete(&taken), &sentence)?;
    Ok(Exit::Ok)
}

/// The name of a backup that nobody has named.
fn name_of(now: Timestamp) -> Result<BackupName> {
    let moment = Moment::from_millisecond(now.as_millis()).unwrap_or_default();
    let text = moment.strftime("%Y%m%d-%H%M%S").to_string();
    BackupName::new(&text).map_err(|error| CliError::usage(error.to_string()))
}

async fn list(settings: &SettingsArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(settings, env).await?;
    let listed = place.backups().list().await;
    let listed = listed.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    let listed: Vec<Shown> = listed.iter().map(shown).collect();
    print(output, &listed, || table(&listed))?;
    Ok(Exit::Ok)
}

async fn delete(
    name: &BackupName,
    settings: &SettingsArgs,
    output: Output,
    env: Env,
) -> Result<Exit> {
    let place = Place::find(settings, env).await?;
    let was_there = place.backups().delete(name).await;
    let was_there = was_there.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    if !was_there {
        let message = format!("there is no backup `{name}`");
        return Err(CliError::other(Exit::NotFound, message));
    }
    let deleted = serde_json::json!({ "deleted": name.as_str() });
    print_done(output, &deleted, &format!("deleted backup `{name}`"))?;
    Ok(Exit::Ok)
}

fn shown(entry: &BackupEntry) -> Shown {
    let without = |state, begun: Option<Timestamp>, fault| Shown {
        name: entry.name.to_string(),
        state,
        fault,
        begun: begun.map(|time| times::format(time.as_millis())),
        ended: None,
        generation: None,
        rows: None,
        bytes: None,
    };
    match &entry.state {
        BackupState::Complete(summary) => complete(summary),
        BackupState::Incomplete { begun_at } => without("incomplete", *begun_at, None),
        BackupState::Damaged(error) => without("damaged", None, Some(error.to_string())),
    }
}

fn complete(summary: &BackupSummary) -> Shown {
    Shown {
        name: summary.name.to_string(),
        state: "complete",
        fault: None,
        begun: Some(times::format(summary.begun_at.as_millis())),
        ended: Some(times::format(summary.ended_at.as_millis())),
        generation: Some(summary.generation.get()),
        rows: Some(summary.keys),
        bytes: Some(summary.bytes),
    }
}

fn table(listed: &[Shown]) -> Table {
    let mut table = Table::new(&["name", "begun", "generation", ">rows", ">bytes", "state"]);
    for shown in listed {
        let number = |number: Option<u64>| number.map_or_else(String::new, grouped);
        table.row(vec![
            shown.name.clone(),
            shown.begun.clone().unwrap_or_default(),
            number(shown.generation.map(u64::from)),
            number(shown.rows),
            number(shown.bytes),
            shown
                .fault
                .clone()
                .unwrap_or_else(|| shown.state.to_owned()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_without_a_name_is_named_by_its_time() {
        let name = name_of(Timestamp::from_millis(1_500)).unwrap();
        assert_eq!(name.as_str(), "19700101-000001");
    }
}
