//! `tidelog segment inspect`: what a segment holds, and whether its bytes are right.

use std::path::Path;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_blob::object_store::ObjectStoreExt as _;
use tidelog_blob::object_store::path::Path as ObjectPath;
use tidelog_env::Env;
use tidelog_format::batch::BatchView;
use tidelog_format::segment::{AnySegment, FooterSlice, MergedSlice, MergedTopic, SegmentError};
use tidelog_runtime::Exit;

use super::metadata::place::Place;
use super::output::{Table, print};
use super::{CliError, Output, Result, SettingsArgs, times};
use crate::serve::storage;

#[derive(Debug, Subcommand)]
pub(crate) enum SegmentCommand {
    /// Show what a segment holds and check every byte of it.
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A file of this machine, or the object's name in the bucket, as `audit` says it.
    object: String,
    /// Also list the batches of each slice.
    #[arg(long)]
    batches: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// A segment as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    object: String,
    bytes: usize,
    cluster: String,
    incarnation: u64,
    sequence: u64,
    kind: String,
    nonce: String,
    slices: Vec<Slice>,
}

#[derive(Debug, Serialize)]
struct Slice {
    topic_id: String,
    /// What a merged segment says of the topic and of the offsets of the slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<Merged>,
    topic_number: u64,
    partition: u32,
    shard: u32,
    position: u32,
    length: u32,
    crc32c: String,
    batch_count: u32,
    records: u64,
    min_time: String,
    max_time: String,
    /// Why the slice cannot be read; its bytes are damaged then.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    batches: Vec<Batch>,
}

#[derive(Debug, Serialize)]
struct Merged {
    topic_name: String,
    partition_count: u32,
    base_offset: u64,
    next_offset: u64,
    extents: usize,
}

#[derive(Debug, Serialize)]
struct Batch {
    offset: i64,
    records: i32,
    bytes: u64,
    compression: String,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    max_time: String,
    crc_ok: bool,
}

pub(crate) async fn run(command: SegmentCommand, output: Output, env: Env) -> Result<Exit> {
    let SegmentCommand::Inspect(args) = command;
    let bytes = read(&args, env).await?;
    let segment = AnySegment::open(bytes.clone()).map_err(|error| {
        let message = format!("`{}` is not a whole segment", args.object);
        CliError::because(Exit::Error, message, error)
    })?;
    let shown = shown(&args, &segment, bytes.len());
    print(output, &shown, || table(&shown))?;
    let faults = shown
        .slices
        .iter()
        .filter(|slice| slice.fault.is_some())
        .count();
    if faults > 0 {
        let message = format!("{faults} slices of `{}` are damaged", args.object);
        return Err(CliError::other(Exit::Error, message));
    }
    Ok(Exit::Ok)
}

/// The object's bytes: of a file if there is one of this name, else of the bucket, or of the one that `seg@NUMBER` says.
async fn read(args: &InspectArgs, env: Env) -> Result<Bytes> {
    if Path::new(&args.object).is_file() {
        let what = format!("`{}` cannot be read", args.object);
        return std::fs::read(&args.object)
            .map(Bytes::from)
            .map_err(|source| CliError::io(what, source));
    }
    let objects = if args.object.contains("/seg@") {
        Place::find(&args.settings, env).await?.bucket().0
    } else {
        storage::open(&args.settings.load()?.settings)?.store
    };
    let missing = |error| {
        let message = format!("there is no file and no object `{}`", args.object);
        CliError::because(Exit::NotFound, message, error)
    };
    let answer = objects
        .get(&ObjectPath::from(args.object.as_str()))
        .await
        .map_err(missing)?;
    answer.bytes().await.map_err(missing)
}

fn shown(args: &InspectArgs, segment: &AnySegment, bytes: usize) -> Shown {
    let trailer = segment.trailer();
    Shown {
        object: args.object.clone(),
        bytes,
        cluster: trailer.cluster.to_string(),
        incarnation: trailer.name.incarnation.get(),
        sequence: trailer.name.sequence.get(),
        kind: format!("{:?}", trailer.kind).to_lowercase(),
        nonce: trailer.nonce.to_string(),
        slices: slices(args, segment),
    }
}

fn slices(args: &InspectArgs, segment: &AnySegment) -> Vec<Slice> {
    match segment {
        AnySegment::Written(reader) => (0..)
            .zip(reader.footer().slices())
            .map(|(index, slice)| written(slice).with_batches(args, reader.slice(index)))
            .collect(),
        AnySegment::Merged(reader) => {
            let footer = reader.footer();
            (0..)
                .zip(footer.slices())
                .map(|(index, (topic, slice))| {
                    let shown = merged(footer.shard.get(), topic, slice);
                    shown.with_batches(args, reader.slice(index))
                })
                .collect()
        }
    }
}

fn written(slice: &FooterSlice) -> Slice {
    Slice {
        topic_id: slice.topic_id.to_string(),
        merged: None,
        topic_number: slice.partition.topic.get(),
        partition: slice.partition.partition.get(),
        shard: slice.shard.get(),
        position: slice.position,
        length: slice.length,
        crc32c: format!("{:08x}", slice.crc32c),
        batch_count: slice.batch_count,
        records: slice.record_count,
        min_time: times::format(slice.min_timestamp.as_millis()),
        max_time: times::format(slice.max_timestamp.as_millis()),
        fault: None,
        batches: Vec::new(),
    }
}

fn merged(shard: u32, topic: &MergedTopic, slice: &MergedSlice) -> Slice {
    let offsets = slice.offsets();
    Slice {
        topic_id: topic.id.to_string(),
        merged: Some(Merged {
            topic_name: topic.name.to_string(),
            partition_count: topic.partition_count,
            base_offset: offsets.base.get(),
            next_offset: offsets.next.get(),
            extents: slice.extents.len(),
        }),
        topic_number: slice.partition.topic.get(),
        partition: slice.partition.partition.get(),
        shard,
        position: slice.position,
        length: slice.length,
        crc32c: format!("{:08x}", slice.crc32c),
        batch_count: slice.batch_count,
        // The footer does not say it: the batches do.
        records: 0,
        min_time: times::format(slice.min_timestamp.as_millis()),
        max_time: times::format(slice.max_timestamp().as_millis()),
        fault: None,
        batches: Vec::new(),
    }
}

impl Slice {
    /// Adds what the bytes say.
    fn with_batches(
        mut self,
        args: &InspectArgs,
        read: std::result::Result<Vec<BatchView>, SegmentError>,
    ) -> Self {
        let views = match read {
            Ok(views) => views,
            Err(error) => {
                self.fault = Some(error.to_string());
                return self;
            }
        };
        let damaged = views.iter().position(|view| view.check_crc().is_err());
        self.fault = damaged.map(|at| format!("the CRC of batch {at} is wrong"));
        if self.merged.is_some() {
            let counts = views.iter().map(|view| view.header().record_count);
            self.records = counts.filter_map(|count| u64::try_from(count).ok()).sum();
        }
        if args.batches {
            self.batches = views.iter().map(batch).collect();
        }
        self
    }
}

fn batch(view: &BatchView) -> Batch {
    let header = view.header();
    Batch {
        offset: header.base_offset,
        records: header.record_count,
        bytes: u64::from(header.batch_length).saturating_add(12),
        compression: header.attributes.compression().map_or_else(
            || "unknown".to_owned(),
            |codec| format!("{codec:?}").to_lowercase(),
        ),
        producer_id: header.producer_id.get(),
        producer_epoch: header.producer_epoch.get(),
        base_sequence: header.base_sequence,
        max_time: times::format(header.max_timestamp.as_millis()),
        crc_ok: view.check_crc().is_ok(),
    }
}

/// The topic, and of a merged segment its name and the offsets.
fn topic(slice: &Slice) -> String {
    let id = &slice.topic_id;
    slice.merged.as_ref().map_or_else(
        || id.clone(),
        |merged| {
            let (name, base, next) = (&merged.topic_name, merged.base_offset, merged.next_offset);
            format!("{id} {name} [{base}, {next})")
        },
    )
}

fn table(shown: &Shown) -> Table {
    let mut table = Table::new(&[
        "topic",
        ">partition",
        ">shard",
        ">position",
        ">bytes",
        ">batches",
        ">records",
        "newest",
        "state",
    ]);
    for slice in &shown.slices {
        table.row(vec![
            topic(slice),
            slice.partition.to_string(),
            slice.shard.to_string(),
            slice.position.to_string(),
            slice.length.to_string(),
            slice.batch_count.to_string(),
            slice.records.to_string(),
            slice.max_time.clone(),
            slice.fault.clone().unwrap_or_else(|| "ok".to_owned()),
        ]);
        for batch in &slice.batches {
            let producer = format!(
                "producer {}/{} from {}",
                batch.producer_id, batch.producer_epoch, batch.base_sequence
            );
            table.row(vec![
                format!("  batch, {}", batch.compression),
                String::new(),
                String::new(),
                String::new(),
                batch.bytes.to_string(),
                String::new(),
                batch.records.to_string(),
                batch.max_time.clone(),
                if batch.crc_ok {
                    producer
                } else {
                    "CRC is wrong".to_owned()
                },
            ]);
        }
    }
    let mut summary = |what: &str, value: String| {
        let mut cells = vec![format!("{what}: {value}")];
        cells.resize(9, String::new());
        table.row(cells);
    };
    summary(
        "segment",
        format!("{}/{}", shown.incarnation, shown.sequence),
    );
    summary("kind", shown.kind.clone());
    summary("cluster", shown.cluster.clone());
    summary("bytes", shown.bytes.to_string());
    table
}
