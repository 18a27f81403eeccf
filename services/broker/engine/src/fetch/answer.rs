//! From a plan to the batches of an answer.

use tidelog_format::batch::{HEADER_BYTES, patched_head};
use tidelog_metadata_api::{Extent, LogError};
use tidelog_types::Offset;

use super::batches::{BatchesBuilder, Pinned};
use super::pieces::Pieces;
use super::plan::Plan;
use super::reads::{ReadError, batch_at};
use super::{FetchError, FetchedPartition, Fetcher, budget};
use crate::decoding::RecordsEstimate;

impl Fetcher {
    /// Reads what was planned. An object that is gone was replaced: the extents are asked for again,
    /// once.
    pub(super) async fn read(
        &self,
        plan: Plan,
        pinned: Pinned,
    ) -> Result<FetchedPartition, FetchError> {
        match self.read_extents(&plan, pinned.clone()).await {
            Err(ReadError::Missing { .. }) => {
                let partition = plan.wanted.partition;
                self.extents.forget(partition, &plan.extents);
                let again = self.plan_all(&[plan.wanted], plan.bytes_max).await.pop();
                let mut again = [again.unwrap_or(Err((partition, LogError::Behind.into())))];
                budget::spend(&mut again, plan.bytes_max, 0);
                let [again] = again;
                let again = again.map_err(|(_, error)| error)?;
                let found = self.read_extents(&again, pinned).await;
                if let Err(error @ ReadError::Missing { .. }) = &found {
                    tracing::error!(error = error as &dyn std::error::Error, "missing object");
                }
                Ok(found?)
            }
            found => Ok(found?),
        }
    }

    async fn read_extents(
        &self,
        plan: &Plan,
        pinned: Pinned,
    ) -> Result<FetchedPartition, ReadError> {
        let partition = plan.wanted.partition;
        let mut batches = BatchesBuilder::new(pinned);
        let mut next_offset = plan.wanted.offset;
        let mut estimate = RecordsEstimate::default();
        for extent in &plan.extents {
            let room = plan.bytes_max.saturating_sub(batches.len() as u64);
            if room == 0 && !batches.is_empty() {
                break;
            }
            let pieces = match self.reads.extent(partition, extent, plan.pool).await {
                Ok(pieces) => pieces,
                // What was read before is an answer; the reader hears of the rest when it comes there.
                Err(_) if !batches.is_empty() => break,
                Err(error) => return Err(error),
            };
            let bytes_max = plan.bytes_max;
            let out = (&mut batches, &mut estimate);
            next_offset = append_batches(&pieces, extent, next_offset, bytes_max, out);
            // Nothing is passed over: what does not fit is where the reader goes on.
            if next_offset < extent.offsets.next {
                break;
            }
        }
        Ok(FetchedPartition {
            partition,
            bounds: plan.bounds,
            batches: batches.finish(),
            next_offset,
            estimate,
        })
    }
}

/// Appends the batches of an extent that hold `from` or later, with their offsets, while they fit; the
/// first one in any case. Returns the offset to go on from.
fn append_batches(
    pieces: &Pieces,
    extent: &Extent,
    from: Offset,
    bytes_max: u64,
    (out, estimate): (&mut BatchesBuilder, &mut RecordsEstimate),
) -> Offset {
    let mut base = extent.offsets.base;
    let mut next_wanted = from;
    let mut position = 0;
    while let Some((header, end)) = batch_at(pieces, position) {
        let next = Offset::new(base.get() + u64::from(header.offset_count()));
        if next > from {
            let size = (end - position) as u64;
            if !out.is_empty() && out.len() as u64 + size > bytes_max {
                return next_wanted;
            }
            if out.is_empty() {
                let left = (pieces.len() - position) as u64;
                // What is planned, and not what a header claims, sizes the allocation.
                out.expect(usize::try_from(left.min(bytes_max).max(size)).unwrap_or_default());
            }
            estimate.add(&header);
            out.copy(&patched_head(&header, base));
            pieces.for_each(position + HEADER_BYTES, end, |page, part| {
                out.share(page, part);
            });
            next_wanted = next;
        }
        base = next;
        position = end;
    }
    next_wanted
}
