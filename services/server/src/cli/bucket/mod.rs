//! `tidelog bucket`: what is done to a bucket before a cluster lives in it, and to those beside the main one.

mod numbered;

use clap::{Args, Subcommand};
use tidelog_blob::OpenedStore;
use tidelog_blob_admin::{AdminError, BucketAdmin, Created};
use tidelog_env::Env;
use tidelog_runtime::Exit;

use super::output::{print_done, print_text};
use super::{CliError, Output, Result, SettingsArgs};
use crate::serve::{beside, storage};

/// Uploads in parts that were begun and never finished are removed after this many days.
const ABANDONED_UPLOAD_DAYS: u16 = 1;

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make the bucket, and those of `storage.buckets`, with a rule that removes abandoned uploads. Harmless if they are there.
    Create(SettingsArgs),
    /// Say that a bucket of `storage.buckets` is from now on where settings say, and belongs to the main bucket that they name:
    /// after all that is in it, or in the main one, was copied there. No process of the cluster may run meanwhile.
    Adopt(NamedArgs),
    /// Let go of a bucket of `storage.buckets` in which no segment is left. Its name and its place may then be used for
    /// another one. No process that has it in its settings may run.
    Forget(NamedArgs),
}

/// One of the buckets beside the main one.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// What `storage.buckets` calls it.
    name: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) async fn run(command: BucketCommand, output: Output, env: Env) -> Result<Exit> {
    match command {
        BucketCommand::Create(args) => {
            let settings = args.load()?.settings;
            create(&storage::open(&settings)?).await?;
            for name in settings.storage.buckets.keys() {
                let (opened, _) = beside::open(&settings, name)?;
                create(&opened).await?;
            }
        }
        BucketCommand::Adopt(args) => {
            let settings = args.settings.load()?.settings;
            let location = numbered::adopt(&settings, &args.name, &env).await?;
            let done = serde_json::json!({ "adopted": args.name, "location": location });
            let sentence = format!("bucket `{}` is `{location}`", args.name);
            print_done(output, &done, &sentence)?;
        }
        BucketCommand::Forget(args) => {
            let settings = args.settings.load()?.settings;
            numbered::forget(&settings, &args.name, &env).await?;
            let done = serde_json::json!({ "forgotten": args.name });
            let sentence = format!("bucket `{}` is forgotten", args.name);
            print_done(output, &done, &sentence)?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(opened: &OpenedStore) -> Result<()> {
    let Some(access) = &opened.s3 else {
        let text = format!(
            "`{}` is a folder and there: nothing else to do\n",
            opened.location
        );
        return print_text(&text);
    };
    if access.is_directory() {
        // It is made with a zone, and abandoned uploads go from it on their own.
        let text = format!(
            "`{}` is a directory bucket: make it with the tools of AWS, in the zone that its name says\n",
            opened.location
        );
        return print_text(&text);
    }
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
    print_text(&format!("`{}` {was}, {rule}\n", opened.location))
}
