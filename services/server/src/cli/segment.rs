//! `tidelog segment inspect`: what a segment holds, and whether its bytes are right.

use std::path::Path;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_blob::object_store::ObjectStoreExt as _;
use tidelog_blob::object_store::path::Path as ObjectPath;
use tidelog_format::segment::{FooterSlice, SegmentReader};
use tidelog_runtime::Exit;

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
    /// A file of this machine, or the object's name in the bucket.
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
struct Batch {
    records: i32,
    bytes: u64,
    compression: String,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    max_time: String,
    crc_ok: bool,
}

pub(crate) async fn run(command: SegmentCommand, output: Output) -> Result<Exit> {
    let SegmentCommand::Inspect(args) = command;
    let bytes = read(&args).await?;
    let reader = SegmentReader::open(bytes.clone()).map_err(|error| {
        let message = format!("`{}` is not a whole segment", args.object);
        CliError::because(Exit::Error, message, error)
    })?;
    let shown = shown(&args, &reader, bytes.len());
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

/// The object's bytes: of a file if there is one of this name, else of the bucket.
async fn read(args: &InspectArgs) -> Result<Bytes> {
    if Path::new(&args.object).is_file() {
        let what = format!("`{}` cannot be read", args.object);
        return std::fs::read(&args.object)
            .map(Bytes::from)
            .map_err(|source| CliError::io(what, source));
    }
    let opened = storage::open(&args.settings.load()?.settings)?;
    let missing = |error| {
        let message = format!("there is no file and no object `{}`", args.object);
        CliError::because(Exit::NotFound, message, error)
    };
    let answer = opened
        .store
        .get(&ObjectPath::from(args.object.as_str()))
        .await
        .map_err(missing)?;
    answer.bytes().await.map_err(missing)
}

fn shown(args: &InspectArgs, reader: &SegmentReader, bytes: usize) -> Shown {
    let trailer = reader.trailer();
    let slices = (0..).zip(reader.footer().slices());
    Shown {
        object: args.object.clone(),
        bytes,
        cluster: trailer.cluster.to_string(),
        incarnation: trailer.name.incarnation.get(),
        sequence: trailer.name.sequence.get(),
        kind: format!("{:?}", trailer.kind).to_lowercase(),
        nonce: trailer.nonce.to_string(),
        slices: slices
            .map(|(index, slice)| shown_slice(args, reader, index, slice))
            .collect(),
    }
}

fn shown_slice(
    args: &InspectArgs,
    reader: &SegmentReader,
    index: u32,
    slice: &FooterSlice,
) -> Slice {
    let (batches, fault) = match reader.slice(index) {
        Ok(views) => (views, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let damaged = batches.iter().position(|view| view.check_crc().is_err());
    let fault = fault.or_else(|| damaged.map(|at| format!("the CRC of batch {at} is wrong")));
    let batches = if args.batches { batches } else { Vec::new() };
    Slice {
        topic_id: slice.topic_id.to_string(),
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
        fault,
        batches: batches
            .iter()
            .map(|view| {
                let header = view.header();
                Batch {
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
            })
            .collect(),
    }
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
            slice.topic_id.clone(),
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
    summary("cluster", shown.cluster.clone());
    summary("bytes", shown.bytes.to_string());
    table
}
