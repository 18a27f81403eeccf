//! `tidelog audit`: compares the bucket with the metadata.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidelog_blob::{ClusterLayout, MAIN, buckets};
use tidelog_env::Env;
use tidelog_metadata::audit::{
    Audit, AuditError, AuditOptions, Difference, MendError, Mended, OrphansOf, Part, Progress,
    Report, Verify, mend_orphans, mend_rows,
};
use tidelog_runtime::Exit;
use tidelog_runtime::settings::{ByteSize, Span};
use tidelog_store::RowSource;
use tidelog_store_embedded::EmbeddedReader;

use super::metadata::place::{Place, failed};
use super::output::{Table, counted, grouped, print, say};
use super::{CliError, Output, Result, SettingsArgs};
use crate::serve::metadata::StoreRows;

/// Segments between two signs of life on a terminal.
const SIGN_SEGMENTS: u64 = 100;
/// How long it waits before it looks again where the rows are those of now.
const PAUSE: Duration = Duration::from_secs(1);
/// What was put less long ago is no orphan, unless somebody says so: clocks differ, and rows may be seen late.
const GRACE_MIN: Duration = Duration::from_mins(1);
/// The same for what writers have put that no row knows.
const UNKNOWN_GRACE: Duration = Duration::from_hours(1);

/// Compares the bucket with the metadata, and reports every difference that it finds twice. Servers may run meanwhile.
///
/// All objects of the bucket are listed. Without differences the exit code is 0, else 1.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// How much of each segment is read.
    #[arg(long, value_enum, default_value_t = Depth::Indexes, value_name = "DEPTH")]
    verify: Depth,
    /// How fast segments are read, a second [default: as fast as the bucket allows].
    #[arg(long, value_name = "SIZE")]
    rate: Option<ByteSize>,
    /// Take what nothing names for an orphan only this long after it was put [default: janitor.grace, at least a minute,
    /// and an hour where no row knows who has put it].
    #[arg(long, value_name = "DURATION")]
    grace: Option<Span>,
    /// Mend what can be mended: delete orphans that no backup needs, and where processes share the store also write
    /// what is counted of segments anew.
    #[arg(long)]
    mend: bool,
    /// No server runs: an embedded store is opened for writing, so that all can be mended in it. It is taken from a
    /// server that has it.
    #[arg(long, requires = "mend")]
    offline: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Depth {
    /// Which segments there are, and how long they are.
    Lengths,
    /// Also what each says of itself: one or two small reads each.
    Indexes,
    /// Also every byte that metadata names.
    Bytes,
}

/// A difference as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    fault: String,
    /// What cannot be read because of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Lost>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct Lost {
    topic: String,
    partition: u32,
    base_offset: u64,
    next_offset: u64,
}

/// What was found, as programs see it.
#[derive(Debug, Serialize)]
struct Found {
    differences: Vec<Shown>,
    has_more: bool,
    objects: u64,
    bytes: u64,
    segments: u64,
    partitions: u64,
    extents: u64,
    in_flight: u64,
    unsettled: u64,
    kept_for_restore: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored_backup: Option<String>,
}

/// A line on a terminal that says how far it is.
struct Signs(bool);

impl Progress for Signs {
    fn segments(&self, done: u64) {
        if self.0 && done.is_multiple_of(SIGN_SEGMENTS) {
            // It is only for people who watch.
            let _ = write!(io::stderr(), "\r{} looked at ", counted(done, "segment"));
        }
    }
}

impl Signs {
    fn end(&self) {
        if self.0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

pub(crate) async fn run(args: AuditArgs, output: Output, env: Env) -> Result<Exit> {
    let place = Place::find(&args.settings, env).await?;
    let report = audit(&args, &place, output).await?;
    let mended = if args.mend {
        mend(&args, &place, &report, output).await?
    } else {
        BTreeSet::new()
    };
    let (_, layout, _) = place.bucket();
    let shown = shown(&report, &mended, &layout);
    print(output, &shown, || table(&shown))?;
    tell(output, &report);
    let remain = report.differences.iter();
    let remain = remain.filter(|found| !mended.contains(found) && !is_pinned(found));
    let remain = remain.count() as u64;
    if remain == 0 {
        return Ok(Exit::Ok);
    }
    let more = if report.has_more { "more than " } else { "" };
    let message = format!(
        "{more}{} between bucket and metadata",
        counted(remain, "difference")
    );
    Err(CliError::other(Exit::Error, message))
}

async fn audit(args: &AuditArgs, place: &Place, output: Output) -> Result<Report> {
    let (grace, unknown_grace) = if let Some(grace) = args.grace {
        (grace.get(), grace.get())
    } else {
        let grace = place.settings().janitor.grace.get().max(GRACE_MIN);
        (grace, grace.max(UNKNOWN_GRACE))
    };
    let options = AuditOptions {
        verify: match args.verify {
            Depth::Lengths => Verify::Lengths,
            Depth::Indexes => Verify::Indexes,
            Depth::Bytes => Verify::Bytes,
        },
        grace,
        unknown_grace,
        pause: if place.is_shared() {
            PAUSE
        } else {
            // What it sees comes late by so much at most.
            2 * EmbeddedReader::POLL_INTERVAL
        },
        bytes_per_second: args.rate.map(ByteSize::get),
        ..AuditOptions::default()
    };
    let signs = Signs(output == Output::Table && io::stderr().is_terminal());
    let rows = place.rows().await?;
    let report = match &rows {
        StoreRows::Embedded(reader) => of(reader.as_ref(), place, options, &signs).run().await,
        #[cfg(feature = "fdb")]
        StoreRows::Shared(store) => of(store.as_ref(), place, options, &signs).run().await,
    };
    signs.end();
    rows.close().await;
    let (objects, layout, _) = place.bucket();
    let newer = buckets::newer(objects.as_ref(), &layout).await;
    let newer = newer.map_err(|error| failed(Exit::Bucket)(error.into()))?;
    if let Some(number) = newer {
        let message = format!(
            "the cluster has got bucket number `{number}` meanwhile: add it to the settings and run the audit again"
        );
        return Err(CliError::other(Exit::Bucket, message));
    }
    report.map_err(|error: AuditError| failed(Exit::Bucket)(error.into()))
}

fn of<'a, R: ?Sized>(
    source: &'a R,
    place: &'a Place,
    options: AuditOptions,
    progress: &'a dyn Progress,
) -> Audit<'a, R> {
    let (objects, layout, cluster) = place.bucket();
    Audit {
        source,
        objects,
        layout,
        cluster,
        env: &place.env,
        options,
        progress,
    }
}

/// Mends what may be mended. Returns what is mended.
async fn mend(
    args: &AuditArgs,
    place: &Place,
    report: &Report,
    output: Output,
) -> Result<BTreeSet<Difference>> {
    let error = |error: MendError| failed(Exit::Error)(error.into());
    if report.has_more {
        let text =
            "there are too many differences to mend any: the store may not be that of this bucket";
        return Err(CliError::other(Exit::Error, text));
    }
    let rows = place.rows().await?;
    let written = match &rows {
        StoreRows::Embedded(reader) => orphans(reader.as_ref(), place, report).await,
        #[cfg(feature = "fdb")]
        StoreRows::Shared(store) => orphans(store.as_ref(), place, report).await,
    };
    rows.close().await;
    let mut mended = written.map_err(error)?.mended;
    let mut rows = report.differences.iter().filter(|found| is_of_rows(found));
    if rows.next().is_none() {
        return Ok(mended);
    }
    if !place.is_shared() && !args.offline {
        let text = "rows of an embedded store are mended with `--offline`, while no server runs";
        say(output, "note", text);
        return Ok(mended);
    }
    let store = place.store().await?;
    let written = mend_rows(store.as_ref(), &place.env, &report.differences).await;
    // What was committed is durable.
    let _ = store.close().await;
    mended.extend(written.map_err(error)?.mended);
    Ok(mended)
}

async fn orphans<R: RowSource + ?Sized>(
    source: &R,
    place: &Place,
    report: &Report,
) -> std::result::Result<Mended, MendError> {
    let (objects, layout, cluster) = place.bucket();
    let of = OrphansOf {
        source,
        objects,
        layout,
        cluster,
        env: &place.env,
    };
    mend_orphans(&of, &report.differences).await
}

const fn is_of_rows(found: &Difference) -> bool {
    matches!(
        found,
        Difference::LiveBytes { .. } | Difference::Forgotten { .. }
    )
}

/// It stays on purpose.
const fn is_pinned(found: &Difference) -> bool {
    matches!(found, Difference::Orphan { pinned: true, .. })
}

fn shown(report: &Report, mended: &BTreeSet<Difference>, layout: &ClusterLayout) -> Found {
    let lost = |part: &Part| Lost {
        topic: report
            .topics
            .get(&part.partition.topic)
            .map_or_else(|| part.partition.topic.to_string(), ToString::to_string),
        partition: part.partition.partition.get(),
        base_offset: part.offsets.base.get(),
        next_offset: part.offsets.next.get(),
    };
    let differences = report.differences.iter().map(|found| Shown {
        kind: found.kind(),
        object: match found {
            Difference::Unknown { path, .. } => Some(path.clone()),
            found => found.segment().map(|name| {
                let bucket = report.buckets.get(&name).copied().unwrap_or(MAIN);
                layout.segment(bucket, name).to_string()
            }),
        },
        fault: found.to_string(),
        lost: match found {
            Difference::Log { part, .. } => vec![lost(part)],
            found => found.lost().iter().map(lost).collect(),
        },
        state: if mended.contains(found) {
            "mended"
        } else if is_pinned(found) {
            "kept"
        } else {
            "remains"
        },
    });
    Found {
        differences: differences.collect(),
        has_more: report.has_more,
        objects: report.objects,
        bytes: report.bytes,
        segments: report.segments,
        partitions: report.partitions,
        extents: report.extents,
        in_flight: report.in_flight,
        unsettled: report.unsettled,
        kept_for_restore: report.kept,
        restored_backup: report.restored.clone(),
    }
}

fn table(found: &Found) -> Table {
    let mut table = Table::new(&["difference", "state", "where", "what"]);
    for shown in &found.differences {
        let mut lines = vec![shown.object.clone().unwrap_or_default()];
        lines.extend(shown.lost.iter().map(|lost| {
            format!(
                "  {} partition {}, offsets {} to {}",
                lost.topic,
                lost.partition,
                lost.base_offset,
                lost.next_offset.saturating_sub(1)
            )
        }));
        if lines.first().is_some_and(String::is_empty) && lines.len() > 1 {
            lines.remove(0);
        }
        for (at, line) in lines.into_iter().enumerate() {
            let only_first = |text: &str| {
                if at == 0 {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            table.row(vec![
                only_first(shown.kind),
                only_first(shown.state),
                line,
                only_first(&shown.fault),
            ]);
        }
    }
    let mut summary = |what: &str, value: String| {
        table.row(vec![what.to_owned(), String::new(), value, String::new()]);
    };
    summary(
        "bucket",
        format!(
            "{}, {} bytes",
            counted(found.objects, "segment"),
            grouped(found.bytes)
        ),
    );
    summary(
        "metadata",
        format!(
            "{}, {}, {}",
            counted(found.segments, "segment"),
            counted(found.partitions, "partition"),
            counted(found.extents, "extent")
        ),
    );
    summary("in flight", counted(found.in_flight, "segment"));
    table
}

/// What people should know beside.
fn tell(output: Output, report: &Report) {
    if let Some(backup) = &report.restored {
        let text = format!(
            "the restore of `{backup}` is not accepted yet: {} that nothing names are kept for it",
            counted(report.kept, "segment")
        );
        say(output, "note", &text);
    }
    if report.unsettled > 0 {
        let text = format!(
            "{} changed each time they were looked at; run the audit again",
            counted(report.unsettled, "segment")
        );
        say(output, "note", &text);
    }
}
