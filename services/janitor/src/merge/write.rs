//! Lays out a merged segment and stores it under a name that is known to be ours.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{self, GetOptions, GetRange, PutMode, PutOptions, PutPayload};
use tidelog_blob::{ErrorKind, classify};
use tidelog_format::location::Location;
use tidelog_format::segment::{
    MergedExtent, MergedWriter, NewSlice, Nonce, SealedMerged, SegmentIdentity, TRAILER_BYTES,
    Trailer,
};
use tidelog_metadata_api::{Extent, MergeRun, MergeTask, MergedRun};
use tidelog_types::{BucketId, OffsetRange, SegmentName, TopicPartition};

use super::failure::{Failure, Fault};
use super::names::Name;
use super::read::{Input, Inputs};
use super::worker::Worker;

/// Names that are tried: others than ours lie under none of them, as a rule.
const NAMES_MAX: u32 = 3;

/// What is to be stored, and what could not be read.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) writer: MergedWriter,
    runs: Vec<(TopicPartition, Vec<MergedExtent>)>,
    /// Runs that stay as they are: which one, which of its extents, and why.
    pub(super) left: Vec<(usize, usize, Fault)>,
}

impl Built {
    /// What the runs have become under a name.
    pub(super) fn merged(&self, bucket: BucketId, segment: SegmentName) -> Vec<MergedRun> {
        let runs = self.runs.iter().map(|(partition, extents)| {
            let extents = extents.iter().map(|extent| Extent {
                offsets: extent.offsets,
                location: Location::Segment {
                    bucket,
                    segment,
                    position: extent.position,
                    length: extent.length,
                },
                crc32c: Some(extent.crc32c),
                max_timestamp: extent.max_timestamp,
            });
            MergedRun {
                partition: *partition,
                extents: extents.collect(),
            }
        });
        runs.collect()
    }
}

/// Lays out what was read. Runs of which something is missing are left out.
pub(super) fn build(task: &MergeTask, mut inputs: Inputs) -> Result<Built, Failure> {
    let mut built = Built {
        writer: MergedWriter::new(task.id.shard, task.committed_at),
        runs: Vec::with_capacity(task.runs.len()),
        left: Vec::new(),
    };
    for (at, run) in task.runs.iter().enumerate() {
        let pieces = match pieces(run, inputs.take(at)) {
            Ok(pieces) => pieces,
            Err((extent, fault)) => {
                built.left.push((at, extent, fault));
                continue;
            }
        };
        let Some(offsets) = run.offsets() else {
            continue;
        };
        let extents = built.writer.push(slice(run, offsets), &pieces)?;
        let extents = extents.to_vec();
        built.runs.push((run.partition, extents));
    }
    Ok(built)
}

fn slice(run: &MergeRun, offsets: OffsetRange) -> NewSlice {
    NewSlice {
        topic_id: run.topic_id,
        topic_name: run.topic_name.clone(),
        partition_count: run.partition_count,
        partition: run.partition,
        offsets,
    }
}

/// The bytes of a run in order, markers made into the batches that readers get of them; or the first extent that has
/// none.
fn pieces(run: &MergeRun, inputs: Vec<Option<Input>>) -> Result<Vec<Bytes>, (usize, Fault)> {
    let mut pieces = Vec::with_capacity(run.extents.len());
    let mut markers = BytesMut::new();
    for (at, (extent, input)) in run.extents.iter().zip(inputs).enumerate() {
        if let Location::Marker(marker) = &extent.location {
            let batch = marker.to_batch(extent.offsets.base, extent.max_timestamp);
            markers.extend_from_slice(&batch);
            continue;
        }
        let unread = || Err(Fault::Damaged("it was not read".to_owned()));
        let bytes = input.unwrap_or_else(unread).map_err(|fault| (at, fault))?;
        if !markers.is_empty() {
            pieces.push(markers.split().freeze());
        }
        pieces.push(bytes);
    }
    if !markers.is_empty() {
        pieces.push(markers.freeze());
    }
    Ok(pieces)
}

impl Worker {
    /// Stores a segment; its name is in use until the answer is dropped.
    pub(crate) async fn store(
        &self,
        bucket: BucketId,
        writer: &MergedWriter,
    ) -> Result<Name, Failure> {
        let mut name = self.names.take();
        for _ in 1..NAMES_MAX {
            if self.store_as(bucket, writer, &name).await? {
                return Ok(name);
            }
            tracing::error!(
                object = %self.parts.layout.segment(bucket, name.segment),
                "an object lies under a name of this janitor that it has not written"
            );
            name = self.names.take();
        }
        if self.store_as(bucket, writer, &name).await? {
            return Ok(name);
        }
        Err(Failure::Foreign(name.segment))
    }

    /// Whether the segment is stored under this name; if not, something else is.
    async fn store_as(
        &self,
        bucket: BucketId,
        writer: &MergedWriter,
        name: &Name,
    ) -> Result<bool, Failure> {
        let name = name.segment;
        let identity = SegmentIdentity {
            cluster: self.parts.cluster,
            bucket,
            name,
            nonce: Nonce::new(self.parts.env.rng.bytes_16()),
        };
        let sealed = writer.seal(&identity).ok_or_else(|| Failure::Malformed {
            reason: "nothing is to be written".to_owned(),
        })?;
        self.pace.take(sealed.length).await;
        let payload: PutPayload = sealed.chunks.iter().cloned().collect();
        let path = self.parts.layout.segment(bucket, name);
        let options = PutOptions::from(PutMode::Create);
        let put = self.parts.objects.put_opts(&path, payload, options).await;
        let is_ours = match put {
            Ok(_) => true,
            Err(error) if classify(&error) == ErrorKind::AlreadyExists => {
                let settled = self.settle(&path, &sealed, error).await;
                settled.map_err(|error| Failure::Put(name, error))?
            }
            Err(error) => return Err(Failure::Put(name, error)),
        };
        if is_ours {
            self.parts.metrics.segments.inc();
            self.parts.metrics.written.inc_by(sealed.length);
        }
        Ok(is_ours)
    }

    /// An object has our name. If an earlier attempt of ours landed unseen, its trailer has our nonce.
    async fn settle(
        &self,
        path: &Path,
        sealed: &SealedMerged,
        error: object_store::Error,
    ) -> object_store::Result<bool> {
        let options = GetOptions {
            range: Some(GetRange::Suffix(u64::from(TRAILER_BYTES))),
            ..GetOptions::default()
        };
        let answer = self.parts.objects.get_opts(path, options).await?;
        match Trailer::decode(&answer.bytes().await?) {
            Ok(trailer) => Ok(trailer.nonce == sealed.nonce && trailer.name == sealed.name),
            Err(_) => Err(error),
        }
    }

    /// Lays out what was read, on a thread for that.
    pub(super) async fn built(
        &self,
        task: &Arc<MergeTask>,
        inputs: Inputs,
    ) -> Result<Built, Failure> {
        let task = Arc::clone(task);
        let supervisor = &self.parts.env.supervisor;
        let built = supervisor.run_blocking("lay out what is merged", move || build(&task, inputs));
        built.await.unwrap_or(Err(Failure::Panicked))
    }
}
