//! What is left to be merged of a run with something that lies in the store. An owner before may have swapped a part of a
//! window that it did not end, and then the run as a whole is in no page any more: it would never be swapped, and what
//! is left of it would stay in the store for good.
//!
//! ```text
//!   tail    [ a | b | c | d | e | f ]         a to f are planned
//!   pages   [       m       | e | f ]         a to d were merged before
//!   left                    [ e | f ]
//! ```

use std::collections::HashMap;

use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, OffsetRange, TopicPartition};

use super::super::error::SequencerError;
use super::plan::Planning;
use super::swapping::read_pages;
use crate::keyspace::PageRow;

/// Whether an extent lies in the store.
pub(super) const fn is_in_store(extent: &Extent) -> bool {
    match extent.location {
        Location::Segment { bucket, .. } => bucket.is_store(),
        Location::Inline { .. } | Location::Marker(_) => false,
    }
}

impl Planning {
    /// A run as pages have it, from the first to the last extent of it that is as it was; nothing if none is. Runs that have
    /// nothing in the store are not looked at.
    pub(super) async fn left(
        &self,
        partition: TopicPartition,
        extents: Vec<Extent>,
    ) -> Result<Vec<Extent>, SequencerError> {
        let ends = extents.first().zip(extents.last());
        let Some((first, last)) = ends.filter(|_| extents.iter().any(is_in_store)) else {
            return Ok(extents);
        };
        let offsets = OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        };
        let mut transaction = self.store.begin().await?;
        match read_pages(transaction.as_mut(), self.keys, partition, offsets).await {
            Ok(pages) => Ok(left_of(extents, &pages, offsets)),
            Err(SequencerError::Row(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, %partition, "it is not known what of a partition is merged");
                Ok(extents)
            }
            Err(error) => Err(error),
        }
    }
}

fn left_of(extents: Vec<Extent>, pages: &[(Offset, PageRow)], offsets: OffsetRange) -> Vec<Extent> {
    let planned: HashMap<Offset, Extent> = extents
        .into_iter()
        .map(|extent| (extent.offsets.base, extent))
        .collect();
    let mut at = offsets.base;
    let mut found: Vec<&Extent> = Vec::new();
    for extent in pages.iter().flat_map(|(_, page)| &page.extents) {
        // Pages may overlap, and then say the same.
        if extent.offsets.next > at && extent.offsets.base < offsets.next {
            at = extent.offsets.next;
            found.push(extent);
        }
    }
    let is_left = |extent: &&Extent| planned.get(&extent.offsets.base) == Some(*extent);
    let first = found.iter().position(&is_left);
    let last = found.iter().rposition(is_left);
    let left = first
        .zip(last)
        .and_then(|(first, last)| found.get(first..=last));
    let left = left.unwrap_or_default().iter();
    left.copied().cloned().collect()
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence, Timestamp};

    use super::*;

    fn extent(base: u64, next: u64, bucket: BucketId, sequence: u64) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: Offset::new(base),
                next: Offset::new(next),
            },
            location: Location::Segment {
                bucket,
                segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence)),
                position: 0,
                length: 10,
            },
            crc32c: None,
            max_timestamp: Timestamp::from_millis(0),
        }
    }

    fn small(base: u64) -> Extent {
        extent(base, base + 1, BucketId::STORE, base)
    }

    fn large(base: u64, next: u64) -> Extent {
        extent(base, next, BucketId::new(0), 99)
    }

    fn page(extents: &[Extent]) -> (Offset, PageRow) {
        let page = PageRow {
            max_before: Timestamp::NONE,
            bytes_before: 0,
            committed_at: Timestamp::from_millis(0),
            extents: extents.to_vec(),
        };
        (extents[0].offsets.base, page)
    }

    #[test]
    fn what_was_merged_at_either_end_is_left_out_and_what_lies_between_goes_along() {
        let planned: Vec<Extent> = (10..16).map(small).collect();
        let offsets = OffsetRange {
            base: Offset::new(10),
            next: Offset::new(16),
        };
        let left = |pages: &[(Offset, PageRow)]| left_of(planned.clone(), pages, offsets);
        let before = small(9);
        let all = [vec![before.clone()], planned.clone(), vec![small(16)]].concat();
        assert_eq!(left(&[page(&all)]), planned);
        let rest = [small(14), small(15)];
        let merged = [&[before, large(10, 14)][..], &rest].concat();
        // Pages that overlap say the same.
        assert_eq!(left(&[page(&merged), page(&rest)]), rest);
        let ends = [small(10), large(11, 13), small(13), large(14, 16)];
        assert_eq!(left(&[page(&ends)]), ends[..3]);
        assert_eq!(left(&[page(&[large(8, 16)])]), []);
        assert_eq!(left(&[]), []);
    }
}
