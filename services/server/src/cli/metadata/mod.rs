//! `tidelog metadata`: what is in the metadata store, backups of it, and restores from them.
//!
//! These commands go to the bucket and the store, not to a server. Those that only read leave a server that
//! has the store open alone; a restore takes the store from it.

mod backup;
pub(super) mod place;
mod rebuild;
mod restore;
mod stats;

use clap::Subcommand;
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::{Output, Result, SettingsArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum MetadataCommand {
    /// Count rows and bytes by kind. A server may run meanwhile: what is durable is counted.
    Stats(SettingsArgs),
    /// Copy the metadata into the bucket; list and delete such copies. A server may run meanwhile.
    Backup(Box<backup::BackupArgs>),
    /// Make the metadata store again from a backup, as a new generation of the cluster.
    ///
    /// Stop the server first: the store is opened for writing, which takes it from whoever has it. What was
    /// committed after the backup is lost; its segments are kept until `tidelog metadata accept-restore`.
    Restore(restore::RestoreArgs),
    /// Make the metadata store again from a backup and from the merged segments that are newer than it.
    ///
    /// As a restore, but logs go on with all that was merged after the backup, at the offsets that it had. What was
    /// written and not merged yet is counted and told, and stays in the bucket; with `--append-newer` it is appended.
    Rebuild(rebuild::RebuildArgs),
    /// Accept what a restore has lost: from then on what is newer than the backup may be deleted.
    ///
    /// A server may run meanwhile, and keeps its store: it finds the word in the bucket.
    AcceptRestore(SettingsArgs),
}

pub(crate) async fn run(command: MetadataCommand, output: Output, env: Env) -> Result<Exit> {
    match command {
        MetadataCommand::Stats(args) => stats::run(&args, output, env).await,
        MetadataCommand::Backup(args) => backup::run(*args, output, env).await,
        MetadataCommand::Restore(args) => restore::run(args, output, env).await,
        MetadataCommand::Rebuild(args) => Box::pin(rebuild::run(args, output, env)).await,
        MetadataCommand::AcceptRestore(args) => restore::accept(&args, output, env).await,
    }
}
