//! Reads the inputs of a task and proves them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use tidelog_blob::object_store::{self, GetOptions, GetRange};
use tidelog_blob::{ErrorKind, classify};
use tidelog_format::extent::{place, prove};
use tidelog_metadata_api::{Extent, MergeTask};

use super::failure::{Failure, Fault};
use super::plan::{Plan, Read, Slot, plan};
use super::worker::Worker;

/// The bytes of every extent of a task that lies in a segment, with their offsets in them, or why there are none.
#[derive(Debug)]
pub(super) struct Inputs {
    runs: Vec<Vec<Option<Input>>>,
}

pub(crate) type Input = Result<Bytes, Fault>;

impl Inputs {
    fn new(task: &MergeTask) -> Self {
        let runs = task.runs.iter();
        Self {
            runs: runs.map(|run| vec![None; run.extents.len()]).collect(),
        }
    }

    fn put(&mut self, slot: Slot, input: Input) {
        let extents = self.runs.get_mut(slot.run);
        if let Some(at) = extents.and_then(|extents| extents.get_mut(slot.extent)) {
            *at = Some(input);
        }
    }

    /// What was read of a run; one place for each extent.
    pub(super) fn take(&mut self, run: usize) -> Vec<Option<Input>> {
        self.runs
            .get_mut(run)
            .map(std::mem::take)
            .unwrap_or_default()
    }
}

/// What comes of a read.
type Proven = Vec<(Slot, Input)>;

impl Worker {
    /// The bytes of the extents of a task with one run, proven, with their offsets in them; none of markers.
    pub(crate) async fn read(&self, task: &Arc<MergeTask>) -> Result<Vec<Option<Input>>, Failure> {
        let plan = plan(task, self.parts.settings.memory_bytes)?;
        Ok(self.inputs(task, plan).await?.take(0))
    }

    /// Reads all inputs, some at a time. What is missing or damaged is told in its place; that the bucket does not answer
    /// ends it.
    pub(super) async fn inputs(
        &self,
        task: &Arc<MergeTask>,
        plan: Plan,
    ) -> Result<Inputs, Failure> {
        let mut inputs = Inputs::new(task);
        let reads = plan.reads.into_iter();
        let reads = reads.map(|read| self.proven(Arc::clone(task), Arc::new(read)));
        let reads_at_once = self.parts.settings.reads_at_once.max(1);
        let mut reads = stream::iter(reads).buffer_unordered(reads_at_once);
        while let Some(read) = reads.next().await {
            for (slot, input) in read? {
                inputs.put(slot, input);
            }
        }
        Ok(inputs)
    }

    /// The extents of one read. If one of them is not what it should be, all are read once more: damage on the way is
    /// no damage.
    async fn proven(&self, task: Arc<MergeTask>, read: Arc<Read>) -> Result<Proven, Failure> {
        let first = self.read_once(&task, &read).await?;
        if first.iter().all(|(_, input)| input.is_ok()) {
            return Ok(first);
        }
        drop(first);
        self.read_once(&task, &read).await
    }

    async fn read_once(&self, task: &Arc<MergeTask>, read: &Arc<Read>) -> Result<Proven, Failure> {
        let bytes = if read.bucket.is_store() {
            self.of_store(read).await?
        } else {
            self.of_bucket(read).await?
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(fault) => {
                let pieces = read.pieces.iter();
                let faults = pieces.map(|piece| (piece.slot, Err(fault.clone())));
                return Ok(faults.collect());
            }
        };
        self.parts.metrics.read.inc_by(bytes.len() as u64);
        let (task, read) = (Arc::clone(task), Arc::clone(read));
        let carved = move || carve(&task, &read, bytes);
        let supervisor = &self.parts.env.supervisor;
        let carved = supervisor.run_blocking("prove what is merged", carved);
        carved.await.ok_or(Failure::Panicked)
    }

    async fn of_bucket(&self, read: &Read) -> Result<Result<BytesMut, Fault>, Failure> {
        let error = match self.get(read).await {
            Ok(bytes) => return Ok(Ok(bytes)),
            Err(error) => error,
        };
        match classify(&error) {
            ErrorKind::NotFound => Ok(Err(Fault::Missing)),
            ErrorKind::Range => Ok(Err(Fault::Damaged("the object ends before it".to_owned()))),
            _ => Err(Failure::Read(read.segment, error)),
        }
    }

    /// The bytes of a read of a segment that was committed together with them; fewer if it ends before them.
    async fn of_store(&self, read: &Read) -> Result<Result<BytesMut, Fault>, Failure> {
        self.pace.take(read.end - read.start).await;
        let ask = || self.parts.merges.inline_segment(read.segment);
        let Some(segment) = self.patiently(ask).await.map_err(Failure::Owner)? else {
            return Ok(Err(Fault::Missing));
        };
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(segment.len());
        let bytes = &segment[place(read.start)..place(read.end)];
        Ok(Ok(BytesMut::from(bytes)))
    }

    /// The bytes of a read; fewer if the object ends before them.
    async fn get(&self, read: &Read) -> object_store::Result<BytesMut> {
        self.pace.take(read.end - read.start).await;
        let path = self.parts.layout.segment(read.bucket, read.segment);
        let options = GetOptions {
            range: Some(GetRange::Bounded(read.start..read.end)),
            ..GetOptions::default()
        };
        let answer = self.parts.objects.get_opts(&path, options).await?;
        let announced = answer.range.clone();
        let bytes = answer.bytes().await?;
        let is_whole = announced.start == read.start
            && announced.end <= read.end
            && announced.end - announced.start == bytes.len() as u64;
        if !is_whole {
            return Err(object_store::Error::Generic {
                store: "bucket",
                source: "it did not answer with the bytes that were asked for".into(),
            });
        }
        // Nobody else has them, as a rule; else they are copied.
        Ok(bytes
            .try_into_mut()
            .unwrap_or_else(|bytes| BytesMut::from(&bytes[..])))
    }
}

/// Takes the extents out of what was read, without a copy.
fn carve(task: &MergeTask, read: &Read, mut bytes: BytesMut) -> Proven {
    let mut at = read.start;
    let mut carved = Vec::with_capacity(read.pieces.len());
    for piece in &read.pieces {
        let skip = usize::try_from(piece.start - at).unwrap_or(usize::MAX);
        let length = piece.length as usize;
        let input = if skip.saturating_add(length) > bytes.len() {
            Err(Fault::Damaged(format!(
                "the object ends at byte `{}`",
                at + bytes.len() as u64
            )))
        } else {
            drop(bytes.split_to(skip));
            at = piece.end();
            let run = task.runs.get(piece.slot.run);
            let extent = run.and_then(|run| run.extents.get(piece.slot.extent));
            let part = bytes.split_to(length);
            extent.map_or_else(
                || Err(Fault::Damaged("nobody asked for it".to_owned())),
                |extent| proven(extent, part),
            )
        };
        carved.push((piece.slot, input));
    }
    carved
}

/// Proves the bytes of an extent and puts its offsets into them (invariant I6).
fn proven(extent: &Extent, mut bytes: BytesMut) -> Input {
    let damaged = |error: &dyn std::error::Error| Fault::Damaged(error.to_string());
    prove(extent.crc32c, &[&bytes[..]]).map_err(|error| damaged(&error))?;
    place(&mut bytes, extent.offsets).map_err(|error| damaged(&error))?;
    Ok(bytes.freeze())
}
