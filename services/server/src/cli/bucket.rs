//! `tidelog bucket`: what is done to a bucket before a cluster lives in it.

use clap::Subcommand;
use tidelog_blob_admin::{AdminError, BucketAdmin, Created};
use tidelog_runtime::Exit;

use super::output::print_text;
use super::{CliError, Result, SettingsArgs};
use crate::serve::storage;

/// Uploads in parts that were begun and never finished are removed after this many days.
const ABANDONED_UPLOAD_DAYS: u16 = 1;

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make the bucket, with a rule that removes abandoned uploads. Harmless if it is there.
    Create(SettingsArgs),
}

pub(crate) async fn run(command: BucketCommand) -> Result<Exit> {
    let BucketCommand::Create(args) = command;
    let settings = args.load()?.settings;
    let opened = storage::open(&settings)?;
    let Some(access) = &opened.s3 else {
        print_text(&format!(
            "`{}` is a folder and there: nothing else to do\n",
            opened.location
        ))?;
        return Ok(Exit::Ok);
    };
    let failed = |error| CliError::because(Exit::Bucket, "the bucket cannot be set up", error);
    let admin = BucketAdmin::connect(access).await.map_err(failed)?;
    let created = admin.create().await.map_err(failed)?;
    let rule = match admin
        .ensure_abandoned_uploads_rule(ABANDONED_UPLOAD_DAYS)
        .await
    {
        Ok(_) => "with a rule that removes abandoned uploads",
        // The bucket works without; what the owner can do about it is in the error.
        Err(error @ AdminError::RuleRefused { .. }) => {
            eprintln!("warning: {error}");
            "without a rule for abandoned uploads"
        }
        Err(error) => return Err(failed(error)),
    };
    let was = match created {
        Created::Now => "is made",
        Created::Before => "was there",
    };
    print_text(&format!("`{}` {was}, {rule}\n", opened.location))?;
    Ok(Exit::Ok)
}
