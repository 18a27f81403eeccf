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
use super::restore::{check, refused, refused_anew};
use crate::cli::output::{Table, counted, grouped, print, say};
use crate::cli::{CliError, Output, Result, SettingsArgs};
use crate::serve::metadata::shards_of;

/// How long metadata processes are looked for that share the store: several of their beats.
const WATCH: Duration = Duration::from_secs(3);
/// Segments that are read at once.
const READS_AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// The name of the backup [default: the newest one that is complete].
    #[arg(long, value_name = "NAME")]
    backup: Option<BackupName>,
    /// There is no backup: from merged segments alone. Configurations, groups, deletions and transactional ids are lost.
    #[arg(long, conflicts_with = "backup")]
    without_backup: bool,
    /// Delete everything that is in the metadata store first.
    #[arg(long)]
    wipe: bool,
    /// What becomes of a partition whose log goes on after a gap, since segments are lost.
    #[arg(long, value_enum, default_value_t = GapsArg::Refuse, value_name = "WHAT")]
    gaps: GapsArg,
    /// Append what was written and not merged, at new offsets, segment by segment in the order of their names.
    ///
    /// Of it nobody knows what was acknowledged. Records of transactions are left out, and what the log has already.
    #[arg(long)]
    append_newer: bool,
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
    /// Empty if there was none.
    backup: String,
    generation: u32,
    rows: u64,
    merged_segments: u64,
    new_topics: Vec<String>,
    /// Topics that were purged before the backup, or were to be: what was found of them stays away.
    purged_topics: Vec<String>,
    partitions: Vec<ShownPartition>,
    unmerged_segments: usize,
    unmerged_bytes: u64,
    unmerged_records: u64,
    /// What became of these, where they were to be appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    appended: Option<ShownAppended>,
    /// Transactional ids that go on with a higher epoch than the backup has.
    raised_epochs: u64,
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct ShownPartition {
    topic: String,
    partition: u32,
    backup_next_offset: u64,
    next_offset: u64,
    aborted_transactions: u64,
    appended_records: u64,
    /// Offsets that merged segments have and the log has not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct ShownAppended {
    records: u64,
    known_records: u64,
    transactional_records: u64,
    compacted_records: u64,
    nameless_records: u64,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    segment: String,
    fault: String,
}

pub(super) async fn run(args: RebuildArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(&args.settings, env).await?;
    let name = match &args.backup {
        Some(name) => Some(name.clone()),
        None if args.without_backup => None,
        None => Some(newest(&place).await?),
    };
    let name = name.as_ref();
    // First without taking the store from anybody: what is refused leaves a server alone that works on it.
    check(&place, name, args.wipe).await?;
    let (objects, layout, cluster) = place.bucket();
    let store = place.store().await?;
    let options = RebuildOptions {
        env: &place.env,
        store: std::sync::Arc::clone(&store),
        objects,
        layout,
        cluster,
        name,
        shards: shards_of(place.settings()),
        wipe: args.wipe,
        watch: WATCH,
        gaps: match args.gaps {
            GapsArg::Refuse => Gaps::Refuse,
            GapsArg::KeepOlder => Gaps::KeepOlder,
            GapsArg::KeepNewer => Gaps::KeepNewer,
        },
        append_newer: args.append_newer,
        reads_at_once: READS_AT_ONCE,
    };
    let rebuilt = place.backups().rebuild(&options).await;
    // Everything that was committed is durable; only tidying up is left to the next start.
    let _ = store.close().await;
    let rebuilt = rebuilt.map_err(|error| match error {
        RebuildError::Restore(error) => match name {
            Some(name) => refused(name, error),
            None => refused_anew(error),
        },
        error => failed(Exit::Error)(error.into()),
    })?;
    let shown = shown(name, &rebuilt, args.append_newer);
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
        let message = "there is no complete backup to begin with; `--without-backup` makes what can be made of merged \
                       segments alone";
        CliError::other(Exit::NotFound, message)
    })
}

fn shown(name: Option<&BackupName>, rebuilt: &Rebuilt, appends: bool) -> Shown {
    let partitions = rebuilt.partitions.iter().map(|told| ShownPartition {
        topic: told.topic.to_string(),
        partition: told.partition.partition.get(),
        backup_next_offset: told.next.base.get(),
        next_offset: told.next.next.get(),
        aborted_transactions: told.aborted,
        appended_records: told.appended,
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
        backup: name.map(ToString::to_string).unwrap_or_default(),
        generation: rebuilt.restored.generation.get(),
        rows: rebuilt.restored.rows,
        merged_segments: rebuilt.merged,
        new_topics: rebuilt.topics.iter().map(ToString::to_string).collect(),
        purged_topics: rebuilt.purged.iter().map(ToString::to_string).collect(),
        partitions: partitions.collect(),
        unmerged_segments: rebuilt.unmerged.segments.len(),
        unmerged_bytes: rebuilt.unmerged.bytes,
        unmerged_records: rebuilt.unmerged.records.values().sum(),
        appended: appends.then(|| {
            let appended = rebuilt.appended;
            ShownAppended {
                records: appended.records,
                known_records: appended.known,
                transactional_records: appended.transactional,
                compacted_records: appended.compacted,
                nameless_records: appended.nameless,
            }
        }),
        raised_epochs: rebuilt.raised_epochs,
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
        ">appended",
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
            grouped(told.appended_records),
            left.join(", "),
        ]);
    }
    table
}

/// What people should know beside.
fn tell(output: Output, shown: &Shown) {
    let segments = counted(shown.merged_segments, "newer merged segment");
    let from = if shown.backup.is_empty() {
        counted(shown.merged_segments, "merged segment")
    } else {
        format!("`{}` and {segments}", shown.backup)
    };
    let text = format!(
        "rebuilt from {from} as generation {}; nothing newer is deleted until `tidelog metadata accept-restore`",
        shown.generation
    );
    say(output, "note", &text);
    if shown.backup.is_empty() {
        let text = "configurations, groups and their offsets, deletions of topics, ACLs and transactional ids are lost";
        say(output, "warning", text);
    }
    if !shown.new_topics.is_empty() {
        let text = format!(
            "newer than the backup, with the default configuration: {}",
            shown.new_topics.join(", ")
        );
        say(output, "note", &text);
    }
    if !shown.purged_topics.is_empty() {
        let text = format!(
            "purged before the backup, and left alone: {}",
            shown.purged_topics.join(", ")
        );
        say(output, "note", &text);
    }
    tell_unmerged(output, shown);
    for unreadable in &shown.unreadable {
        let text = format!(
            "segment {} says nothing: {}",
            unreadable.segment, unreadable.fault
        );
        say(output, "warning", &text);
    }
}

fn tell_unmerged(output: Output, shown: &Shown) {
    if shown.unmerged_segments == 0 {
        return;
    }
    let what = format!(
        "{} with {} were not merged",
        counted(shown.unmerged_segments as u64, "newer segment"),
        counted(shown.unmerged_records, "record")
    );
    let text = match &shown.appended {
        None => format!(
            "{what}, and nobody knows their offsets; some of them may be in merged segments, too"
        ),
        Some(appended) => format!(
            "{what}: {} were appended; left out were {} that the logs had, {} of transactions, {} of compacted \
             partitions and {} of topics without a name",
            grouped(appended.records),
            grouped(appended.known_records),
            grouped(appended.transactional_records),
            grouped(appended.compacted_records),
            grouped(appended.nameless_records)
        ),
    };
    say(output, "note", &text);
}
