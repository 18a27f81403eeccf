//! From a manifest and its outcomes to extents.

use tidelog_format::location::Location;
use tidelog_format::manifest::{Manifest, Outcome, SliceEntry};
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, OffsetRange, Timestamp, TopicPartition};

/// The extents that a committed manifest adds, in its order. Batches that follow each other in bytes and
/// in offsets share one.
pub(crate) fn extents_of(
    manifest: &Manifest,
    outcomes: &[Outcome],
) -> Vec<(TopicPartition, Extent)> {
    let mut extents = Vec::new();
    let mut outcomes = outcomes.iter();
    for slice in &manifest.slices {
        let mut position = slice.position;
        let mut run: Option<Extent> = None;
        for batch in &slice.batches {
            let accepted = match outcomes.next() {
                Some(Outcome::Accepted { base_offset }) => Some(*base_offset),
                _ => None,
            };
            if let Some(base) = accepted {
                let count = u64::from(batch.record_count);
                let next = Offset::new(base.get() + count);
                run = Some(match run.take() {
                    Some(open) if open.offsets.next == base => {
                        lengthened(open, next, batch.length, batch.max_timestamp)
                    }
                    other => {
                        extents.extend(other.map(|done| (slice.partition, done)));
                        let offsets = OffsetRange { base, next };
                        let max_timestamp = batch.max_timestamp;
                        begun(manifest, offsets, position, batch.length, max_timestamp)
                    }
                });
            } else {
                extents.extend(run.take().map(|done| (slice.partition, done)));
            }
            position = position.saturating_add(batch.length);
        }
        extents.extend(run.map(|done| (slice.partition, with_slice_crc(done, slice))));
    }
    extents
}

fn begun(
    manifest: &Manifest,
    offsets: OffsetRange,
    position: u32,
    length: u32,
    max_timestamp: Timestamp,
) -> Extent {
    let location = Location::Segment {
        bucket: manifest.bucket,
        segment: manifest.segment,
        position,
        length,
    };
    Extent {
        offsets,
        location,
        crc32c: None,
        max_timestamp,
    }
}

fn lengthened(mut open: Extent, next: Offset, bytes: u32, max_timestamp: Timestamp) -> Extent {
    open.offsets.next = next;
    open.max_timestamp = open.max_timestamp.max(max_timestamp);
    if let Location::Segment { length, .. } = &mut open.location {
        *length = length.saturating_add(bytes);
    }
    open
}

/// The slice's checksum serves an extent that is the whole slice.
fn with_slice_crc(mut extent: Extent, slice: &SliceEntry) -> Extent {
    if let Location::Segment {
        position, length, ..
    } = &extent.location
        && *position == slice.position
        && *length == slice.length
    {
        extent.crc32c = Some(slice.crc32c);
    }
    extent
}
