//! From a plan to the batches of an answer.

use tidelog_format::batch::{HEADER_BYTES, patched_head};
use tidelog_metadata_api::{Extent, LogError};
use tidelog_types::{Offset, OffsetRange};

use super::batches::{BatchesBuilder, Pinned};
use super::budget::{self, Turns};
use super::pieces::Pieces;
use super::plan::Plan;
use super::reads::{ReadError, batch_at};
use super::{FetchError, FetchedPartition, Fetcher};
use crate::decoding::RecordsEstimate;

impl Fetcher {
    /// Reads what was planned. An object that is gone was replaced: the extents are asked for again,
    /// once.
    pub(super) async fn read(
        &self,
        plan: Plan,
        pinned: Pinned,
    ) -> Result<FetchedPartition, FetchError> {
        let (from, isolation) = (plan.wanted.offset, plan.isolation);
        let found = self.read_planned(plan, pinned).await?;
        Ok(self.aborted.name(found, from, isolation).await?)
    }

    async fn read_planned(
        &self,
        plan: Plan,
        pinned: Pinned,
    ) -> Result<FetchedPartition, FetchError> {
        match self.read_extents(&plan, pinned.clone()).await {
            Err(ReadError::Missing { .. }) => {
                let partition = plan.wanted.partition;
                self.extents.forget(partition, &plan.extents);
                let wanted = [plan.wanted];
                let again = self.plan_all(&wanted, plan.bytes_max, plan.isolation, None);
                let again = again.await.pop();
                let mut again = [again.unwrap_or(Err((partition, LogError::Behind.into())))];
                budget::spend(&mut again, plan.bytes_max, &mut Turns::default());
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
        let mut out = Out {
            batches: BatchesBuilder::new(pinned),
            estimate: RecordsEstimate::default(),
            is_transactional: false,
        };
        let mut next_offset = plan.wanted.offset;
        let end = plan.isolation.end(&plan.bounds);
        for extent in &plan.extents {
            let room = plan.bytes_max.saturating_sub(out.batches.len() as u64);
            if room == 0 && !out.batches.is_empty() {
                break;
            }
            let pieces = match self.reads.extent(partition, extent, plan.pool).await {
                Ok(pieces) => pieces,
                // What was read before is an answer; the reader hears of the rest when it comes there.
                Err(_) if !out.batches.is_empty() => break,
                Err(error) => return Err(error),
            };
            let wanted = OffsetRange {
                base: next_offset,
                next: end,
            };
            next_offset = out.append(&pieces, extent, wanted, plan.bytes_max);
            // Nothing is passed over: what does not fit is where the reader goes on.
            if next_offset < extent.offsets.next {
                break;
            }
        }
        Ok(FetchedPartition {
            partition,
            bounds: plan.bounds,
            batches: out.batches.finish(),
            next_offset,
            aborted: [].into(),
            estimate: out.estimate,
            is_transactional: out.is_transactional,
        })
    }
}

/// What is put together of one partition.
struct Out {
    batches: BatchesBuilder,
    estimate: RecordsEstimate,
    is_transactional: bool,
}

impl Out {
    /// Appends the batches of an extent that hold offsets that are wanted, with their offsets, while they fit; the
    /// first one in any case. Returns the offset to go on from.
    ///
    /// What is wanted ends where a batch begins, so none is cut.
    fn append(
        &mut self,
        pieces: &Pieces,
        extent: &Extent,
        wanted: OffsetRange,
        bytes_max: u64,
    ) -> Offset {
        let out = &mut self.batches;
        let mut base = extent.offsets.base;
        let mut next_wanted = wanted.base;
        let mut position = 0;
        while let Some((header, end)) = batch_at(pieces, position) {
            if base >= wanted.next {
                break;
            }
            let next = Offset::new(base.get() + u64::from(header.offset_count()));
            if next > wanted.base {
                let size = (end - position) as u64;
                if !out.is_empty() && out.len() as u64 + size > bytes_max {
                    break;
                }
                if out.is_empty() {
                    let left = (pieces.len() - position) as u64;
                    // What is planned, and not what a header claims, sizes the allocation.
                    out.expect(usize::try_from(left.min(bytes_max).max(size)).unwrap_or_default());
                }
                self.estimate.add(&header);
                self.is_transactional |= header.attributes.is_transactional();
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
}
