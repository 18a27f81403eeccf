//! Tells owners what the indexes of sparse segments say: which partitions may still have something there. What that is the
//! owner knows.

use std::ops::Range;

use bytes::Bytes;
use tidelog_blob::object_store::{self, GetOptions, GetRange};
use tidelog_blob::{ErrorKind, classify};
use tidelog_format::segment::{MergedFooter, SegmentError, SegmentKind, TRAILER_BYTES, Trailer};
use tidelog_metadata_api::{DESCRIBED_SLICES_MAX, IndexedSlice, MergeTask};
use tidelog_types::{BucketId, ClusterId, SegmentName};

use super::failure::{Failure, Fault};
use super::worker::Worker;

/// Bytes at the end of an object that nearly always have all of its index.
const TAIL_BYTES: u64 = 64 * 1024;
/// Bytes of an index at most: 65,536 slices of a merged segment, with their extents.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The end of an object.
#[derive(Debug)]
struct End {
    /// How long the object is.
    length: u64,
    bytes: Bytes,
}

impl Worker {
    /// Looks into the sparse segments of a task, one after the other. One without an index that can be read stays as it
    /// is, and so does one that no janitor has written.
    pub(super) async fn describe(&self, task: &MergeTask) -> Result<(), Failure> {
        for segment in &task.sparse {
            let slices = match self.index(*segment).await? {
                Ok(slices) => slices,
                // It was sparse when it was noted, and may have died since.
                Err(Fault::Missing) => {
                    tracing::info!(%segment, "a sparse segment is gone by now");
                    continue;
                }
                Err(fault) => {
                    let fault = fault.to_string();
                    tracing::error!(
                        %segment,
                        fault,
                        "the index of a merged segment cannot be read: what is left of it stays where it is"
                    );
                    continue;
                }
            };
            for some in slices.chunks(DESCRIBED_SLICES_MAX) {
                let merges = &self.parts.merges;
                let describe = || merges.describe(task.id, *segment, some.to_vec());
                self.patiently(describe).await.map_err(Failure::Owner)?;
            }
        }
        Ok(())
    }

    /// What the index of a segment says; nothing of one that is not merged.
    async fn index(
        &self,
        segment: SegmentName,
    ) -> Result<Result<Vec<IndexedSlice>, Fault>, Failure> {
        let (bucket, tail) = match self.tail(segment).await? {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        let cluster = self.parts.cluster;
        let trailer = match trailer(&tail, cluster, segment) {
            Ok(Some(trailer)) => trailer,
            Ok(None) => return Ok(Ok(Vec::new())),
            Err(error) => return Ok(Err(damaged(&error))),
        };
        let index = trailer.footer_position..tail.length - u64::from(TRAILER_BYTES);
        if index.end - index.start > INDEX_BYTES_MAX {
            return Ok(Err(Fault::Damaged(
                "its index is larger than any".to_owned(),
            )));
        }
        let _held = self.hold(index.end - index.start).await;
        let footer = match footer(&tail, &index) {
            Some(footer) => footer,
            None => match self.end(bucket, segment, index).await? {
                Ok(footer) => footer.bytes,
                Err(fault) => return Ok(Err(fault)),
            },
        };
        let read = move || slices(&footer, &trailer);
        let supervisor = &self.parts.env.supervisor;
        let read = supervisor.run_blocking("read the index of a merged segment", read);
        let slices = read.await.ok_or(Failure::Panicked)?;
        Ok(slices.map_err(|error| damaged(&error)))
    }

    /// The end of a segment, and the bucket that it lies in: it is known by its name alone.
    async fn tail(&self, segment: SegmentName) -> Result<Result<(BucketId, End), Fault>, Failure> {
        for bucket in self.parts.layout.buckets() {
            let range = GetRange::Suffix(TAIL_BYTES);
            match self.part(bucket, segment, range).await? {
                Ok(end) => return Ok(Ok((bucket, end))),
                Err(Fault::Missing) => {}
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Err(Fault::Missing))
    }

    async fn end(
        &self,
        bucket: BucketId,
        segment: SegmentName,
        index: Range<u64>,
    ) -> Result<Result<End, Fault>, Failure> {
        self.part(bucket, segment, GetRange::Bounded(index)).await
    }

    async fn part(
        &self,
        bucket: BucketId,
        segment: SegmentName,
        range: GetRange,
    ) -> Result<Result<End, Fault>, Failure> {
        let bytes = match &range {
            GetRange::Bounded(range) => range.end - range.start,
            GetRange::Suffix(_) | GetRange::Offset(_) => TAIL_BYTES,
        };
        self.pace.take(bytes).await;
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        match self.get_end(bucket, segment, options).await {
            Ok(end) => {
                self.parts.metrics.read.inc_by(end.bytes.len() as u64);
                Ok(Ok(end))
            }
            Err(error) => match classify(&error) {
                ErrorKind::NotFound => Ok(Err(Fault::Missing)),
                ErrorKind::Range => Ok(Err(Fault::Damaged("it is shorter than it was".to_owned()))),
                _ => Err(Failure::Read(segment, error)),
            },
        }
    }

    async fn get_end(
        &self,
        bucket: BucketId,
        segment: SegmentName,
        options: GetOptions,
    ) -> object_store::Result<End> {
        let path = self.parts.layout.segment(bucket, segment);
        let answer = self.parts.objects.get_opts(&path, options).await?;
        Ok(End {
            length: answer.meta.size,
            bytes: answer.bytes().await?,
        })
    }
}

/// The trailer of a segment that is whole; none of one that is not merged.
fn trailer(
    tail: &End,
    cluster: ClusterId,
    segment: SegmentName,
) -> Result<Option<Trailer>, SegmentError> {
    let trailer = Trailer::decode(&tail.bytes)?;
    trailer.check_identity(cluster, segment)?;
    trailer.check_length(tail.length)?;
    Ok(Some(trailer).filter(|trailer| trailer.kind == SegmentKind::Merged))
}

/// The index, if it is in the tail.
fn footer(tail: &End, index: &Range<u64>) -> Option<Bytes> {
    let skip = tail.length.checked_sub(tail.bytes.len() as u64)?;
    let from = usize::try_from(index.start.checked_sub(skip)?).ok()?;
    let to = usize::try_from(index.end.checked_sub(skip)?).ok()?;
    (from <= to && to <= tail.bytes.len()).then(|| tail.bytes.slice(from..to))
}

fn slices(footer: &[u8], trailer: &Trailer) -> Result<Vec<IndexedSlice>, SegmentError> {
    let footer = MergedFooter::decode(footer, trailer)?;
    let slices = footer.slices().map(|(_, slice)| IndexedSlice {
        partition: slice.partition,
        offsets: slice.offsets(),
    });
    Ok(slices.collect())
}

fn damaged(error: &SegmentError) -> Fault {
    Fault::Damaged(error.to_string())
}
