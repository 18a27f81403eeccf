//! `tidelog metadata rebuild`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidelog_blob::BackupName;
use tidelog_env::Env;
use tidelog_metadata::backup::BackupState;
use tidelog_metadata::rebuild::{Gaps, RebuildError, RebuildOptions, Rebuilt};
use tidelog_runtime::Exit;

use super::place::{Place, failed};
use super::restore::{check, refused};
use crate::cli::output::{Table, counted, grouped, print, say};
use crate::cli::{CliError, Output, Result, SettingsArgs};

/// How long metadata processes are looked for that share the store: several of their beats.
const WATCH: Duration = Duration::from_secs(3);
/// Segments that are read at once.
const READS_AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// The name of the backup [default: the newest one that is complete].
    #[arg(long, value_name = "NAME")]
    backup: Option<BackupName>,
    /// Delete everything that is in the metadata store first.
    #[arg(long)]
    wipe: bool,
    /// What becomes of a partition whose log goes on after a gap, since segments are lost.
    #[arg(long, value_enum, default_value_t = GapsArg::Refuse, value_name = "WHAT")]
    gaps: GapsArg,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GapsArg {
    /// Stop, and say where the gap is.
    Refuse,
    /// The log ends before the gap.
    KeepOlder,
    /// The log begins after the gap.
    KeepNewer,
}

/// A rebuild as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    backup: String,
    generation: u32,
    rows: u64,
    merged_segments: u64,
    new_topics: Vec<String>,
    partitions: Vec<ShownPartition>,
    unmerged_segments: usize,
    unmerged_bytes: u64,
    unmerged_records: u64,
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct ShownPartition {
    topic: String,
    partition: u32,
    backup_next_offset: u64,
    next_offset: u64,
    aborted_transactions: u64,
    /// Offsets that merged segments have and the log has not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    segment: String,
    fault: String,
}

pub(super) async fn run(args: RebuildArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(&args.settings, env).await?;
    let name = match &args.backup {
        Some(name) => name.clone(),
        None => newest(&place).await?,
    };
    // First without taking the store from anybody: what is refused leaves a server alone that works on it.
    check(&place, &name, args.wipe).await?;
    let (objects, layout, cluster) = place.bucket();
    let store = place.store().await?;
    let options = RebuildOptions {
        env: &place.env,
        store: std::sync::Arc::clone(&store),
        objects,
        layout,
        cluster,
        name: &name,
        wipe: args.wipe,
        watch: WATCH,
        gaps: match args.gaps {
            GapsArg::Refuse => Gaps::Refuse,
            GapsArg::KeepOlder => Gaps::KeepOlder,
            GapsArg::KeepNewer => Gaps::KeepNewer,
        },
        reads_at_once: READS_AT_ONCE,
    };
    let rebuilt = place.backups().rebuild(&options).await;
    // Everything that was committed is durable; only tidying up is left to the next start.
    let _ = store.close().await;
    let rebuilt = rebuilt.map_err(|error| match error {
        RebuildError::Restore(error) => refused(&name, error),
        error => failed(Exit::Error)(error.into()),
    })?;
    let shown = shown(&name, &rebuilt);
    print(output, &shown, || table(&shown))?;
    tell(output, &shown);
    Ok(Exit::Ok)
}

/// The newest complete backup.
async fn newest(place: &Place) -> Result<BackupName> {
    let listed = place.backups().list().await;
    let listed = listed.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    let complete = listed.into_iter().filter_map(|entry| match entry.state {
        BackupState::Complete(summary) => Some((summary.generation, summary.begun_at, entry.name)),
        BackupState::Incomplete { .. } | BackupState::Damaged(_) => None,
    });
    let newest = complete.max().map(|(_, _, name)| name);
    newest.ok_or_else(|| {
        let message = "there is no complete backup to begin with: merged segments alone do not say which shards, \
                       writers and groups there were; `tidelog segment inspect` reads them";
        CliError::other(Exit::NotFound, message)
    })
}

fn shown(name: &BackupName, rebuilt: &Rebuilt) -> Shown {
    let partitions = rebuilt.partitions.iter().map(|told| ShownPartition {
        topic: told.topic.to_string(),
        partition: told.partition.partition.get(),
        backup_next_offset: told.next.base.get(),
        next_offset: told.next.next.get(),
        aborted_transactions: told.aborted,
        left: told
            .left
            .iter()
            .map(|offsets| (offsets.base.get(), offsets.next.get()))
            .collect(),
    });
    let unreadable = rebuilt
        .unreadable
        .iter()
        .map(|(segment, fault)| Unreadable {
            segment: segment.to_string(),
            fault: fault.clone(),
        });
    Shown {
        backup: name.to_string(),
        generation: rebuilt.restored.generation.get(),
        rows: rebuilt.restored.rows,
        merged_segments: rebuilt.merged,
        new_topics: rebuilt.topics.iter().map(ToString::to_string).collect(),
        partitions: partitions.collect(),
        unmerged_segments: rebuilt.unmerged.segments.len(),
        unmerged_bytes: rebuilt.unmerged.bytes,
        unmerged_records: rebuilt.unmerged.records.values().sum(),
        unreadable: unreadable.collect(),
    }
}

fn table(shown: &Shown) -> Table {
    let mut table = Table::new(&[
        "topic",
        ">partition",
        ">in the backup",
        ">now",
        ">aborted",
        "left",
    ]);
    for told in &shown.partitions {
        let left = told.left.iter();
        let left: Vec<String> = left
            .map(|(base, next)| format!("{base} to {}", next - 1))
            .collect();
        table.row(vec![
            told.topic.clone(),
            told.partition.to_string(),
            grouped(told.backup_next_offset),
            grouped(told.next_offset),
            grouped(told.aborted_transactions),
            left.join(", "),
        ]);
    }
    table
}

/// What people should know beside.
fn tell(output: Output, shown: &Shown) {
    let text = format!(
        "rebuilt from `{}` and {} as generation {}; nothing newer is deleted until `tidelog metadata accept-restore`",
        shown.backup,
        counted(shown.merged_segments, "newer merged segment"),
        shown.generation
    );
    say(output, "note", &text);
    if !shown.new_topics.is_empty() {
        let text = format!(
            "newer than the backup, with the default configuration: {}",
            shown.new_topics.join(", ")
        );
        say(output, "note", &text);
    }
    if shown.unmerged_segments > 0 {
        let text = format!(
            "{} with {} were not merged, and nobody knows their offsets; some of them may be in merged segments, too",
            counted(shown.unmerged_segments as u64, "newer segment"),
            counted(shown.unmerged_records, "record")
        );
        say(output, "note", &text);
    }
    for unreadable in &shown.unreadable {
        let text = format!(
            "segment {} says nothing: {}",
            unreadable.segment, unreadable.fault
        );
        say(output, "warning", &text);
    }
}
