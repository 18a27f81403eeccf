//! `tidelog metadata restore` and `tidelog metadata accept-restore`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tidelog_blob::BackupName;
use tidelog_env::Env;
use tidelog_metadata::backup::{ObjectError, RestoreError, RestoreOptions, accept_restore};
use tidelog_metadata::keyspace::RestoreRow;
use tidelog_runtime::Exit;
use tidelog_store::RowSource;

use super::place::{Place, failed};
use crate::cli::output::{grouped, print_done};
use crate::cli::{CliError, Output, Result, SettingsArgs};
use crate::serve::metadata::StoreRows;

/// How long metadata processes are looked for that share the store: several of their beats.
const WATCH: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The name of the backup.
    name: BackupName,
    /// Delete everything that is in the metadata store first.
    #[arg(long)]
    wipe: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// A restore as programs see it.
#[derive(Debug, Serialize)]
struct Done {
    backup: String,
    generation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

pub(super) async fn run(args: RestoreArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(&args.settings, env).await?;
    // First without taking the store from anybody: what is refused leaves a server alone that works on it.
    check(&place, Some(&args.name), args.wipe).await?;
    let store = place.store().await?;
    let options = RestoreOptions {
        env: &place.env,
        store: store.as_ref(),
        name: &args.name,
        wipe: args.wipe,
        watch: WATCH,
    };
    let restored = place.backups().restore(&options).await;
    // Everything that was committed is durable; only tidying up is left to the next start.
    let _ = store.close().await;
    let restored = restored.map_err(|error| refused(&args.name, error))?;
    let done = Done {
        backup: args.name.to_string(),
        generation: restored.generation.get(),
        rows: Some(restored.rows),
    };
    let sentence = format!(
        "restored `{}` as generation {} of the cluster, {} rows\nnothing newer than the backup is deleted \
         until `tidelog metadata accept-restore`",
        done.backup,
        done.generation,
        grouped(restored.rows)
    );
    print_done(output, &done, &sentence)?;
    Ok(Exit::Ok)
}

/// Whether the restore would be refused, by reading alone.
pub(super) async fn check(place: &Place, name: Option<&BackupName>, wipe: bool) -> Result<()> {
    let (backups, env) = (place.backups(), &place.env);
    let rows = match place.rows().await {
        Ok(rows) => Some(rows),
        // There is nothing yet.
        Err(error) if error.exit() == Exit::NotFound => None,
        // What cannot be read may be why there is a restore.
        Err(_) if wipe => None,
        Err(error) => return Err(error),
    };
    let checked = match &rows {
        None => {
            let none: Option<&dyn RowSource> = None;
            backups.check_restore(none, env, name, wipe).await
        }
        Some(StoreRows::Embedded(reader)) => {
            let reader = Some(reader.as_ref());
            backups.check_restore(reader, env, name, wipe).await
        }
        #[cfg(feature = "fdb")]
        Some(StoreRows::Shared(store)) => {
            let store = Some(store.as_ref());
            backups.check_restore(store, env, name, wipe).await
        }
    };
    if let Some(rows) = rows {
        rows.close().await;
    }
    checked.map_err(|error| match name {
        Some(name) => refused(name, error),
        None => refused_anew(error),
    })
}

/// Why nothing was made from segments alone.
pub(super) fn refused_anew(error: RestoreError) -> CliError {
    let exit = match &error {
        RestoreError::NotEmpty | RestoreError::InUse => Exit::Usage,
        _ => Exit::Error,
    };
    failed(exit)(error.into())
}

/// Why nothing was restored, for people.
pub(super) fn refused(name: &BackupName, error: RestoreError) -> CliError {
    let exit = match &error {
        RestoreError::NotEmpty | RestoreError::InUse => Exit::Usage,
        RestoreError::Backup { source, .. } if matches!(**source, ObjectError::Missing(_)) => {
            let message = format!(
                "no such backup: `{name}`, or it is incomplete; `tidelog metadata backup list` shows what there is"
            );
            return CliError::other(Exit::NotFound, message);
        }
        _ => Exit::Error,
    };
    failed(exit)(error.into())
}

pub(super) async fn accept(args: &SettingsArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(args, env).await?;
    let (accepted, when) = if place.is_shared() {
        (accept_in_store(&place).await?, "")
    } else {
        let when = "\nthe server that has the store open takes note of it within a minute, or the next one when it \
                    starts";
        (ask_to_accept(&place).await?, when)
    };
    let done = Done {
        backup: accepted.backup,
        generation: accepted.generation.get(),
        rows: None,
    };
    let sentence = format!(
        "accepted the restore of `{}` as generation {}{when}",
        done.backup, done.generation
    );
    print_done(output, &done, &sentence)?;
    Ok(Exit::Ok)
}

/// In a store that many processes use.
async fn accept_in_store(place: &Place) -> Result<RestoreRow> {
    let store = place.store().await?;
    let accepted = accept_restore(store.as_ref(), &place.env).await;
    let _ = store.close().await;
    accepted.map_err(|error| failed(Exit::Error)(error.into()))
}

/// In a store that one process has to itself, which keeps it.
async fn ask_to_accept(place: &Place) -> Result<RestoreRow> {
    let (rows, backups) = (place.rows().await?, place.backups());
    let asked = match &rows {
        StoreRows::Embedded(reader) => backups.ask_to_accept(reader.as_ref(), &place.env).await,
        #[cfg(feature = "fdb")]
        StoreRows::Shared(store) => backups.ask_to_accept(store.as_ref(), &place.env).await,
    };
    rows.close().await;
    asked.map_err(|error| failed(Exit::Error)(error.into()))
}
