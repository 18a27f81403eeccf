//! What is to be read for a task, in as few reads as are worth it.

use tidelog_format::location::Location;
use tidelog_format::marker::MARKER_BATCH_BYTES;
use tidelog_metadata_api::{MergeRun, MergeTask};
use tidelog_types::{BucketId, SegmentName};

use super::failure::Failure;

/// One read brings no more than this, but for an extent that is larger: all of a segment as brokers write them.
const READ_BYTES_MAX: u64 = 16 << 20;
/// Bytes between two extents that are read with them rather than asked for twice.
const GAP_BYTES_MAX: u64 = 256 << 10;

/// An extent of a task: its run, and which one of the run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) run: usize,
    pub(super) extent: usize,
}

/// An extent in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) slot: Slot,
    pub(super) start: u64,
    pub(super) length: u32,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.length)
    }
}

/// Where a segment lies, and which it is.
type Place = (BucketId, SegmentName);

/// Bytes of one object, and the extents in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) bucket: BucketId,
    pub(super) segment: SegmentName,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Ascending, without overlap.
    pub(super) pieces: Vec<Piece>,
}

/// All that is to be read.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) reads: Vec<Read>,
    /// Bytes that are in memory at once: those of the reads, and those of markers.
    pub(super) bytes: u64,
}

/// Plans the reads of a task that has so much memory.
pub(super) fn plan(task: &MergeTask, memory: u64) -> Result<Plan, Failure> {
    let mut pieces = Vec::new();
    let mut needed = 0;
    for (at, run) in task.runs.iter().enumerate() {
        check_run(run)?;
        for (extent, known) in run.extents.iter().enumerate() {
            let slot = Slot { run: at, extent };
            needed += match known.location {
                Location::Marker(_) => u64::from(MARKER_BATCH_BYTES),
                Location::Segment {
                    bucket,
                    segment,
                    position,
                    length,
                } if length > 0 => {
                    let start = u64::from(position);
                    let piece = Piece {
                        slot,
                        start,
                        length,
                    };
                    pieces.push(((bucket, segment), piece));
                    u64::from(length)
                }
                Location::Segment { .. } | Location::Inline { .. } => {
                    return Err(Failure::Unsupported {
                        partition: run.partition,
                        offset: known.offsets.base,
                    });
                }
            };
        }
    }
    let Some(spare) = memory.checked_sub(needed) else {
        return Err(Failure::TooLarge { needed, memory });
    };
    pieces.sort_by_key(|(place, piece)| (*place, piece.start));
    let (reads, gaps) = reads(pieces, spare);
    let bytes = needed + gaps;
    Ok(Plan { reads, bytes })
}

fn check_run(run: &MergeRun) -> Result<(), Failure> {
    let malformed = |what| Failure::Malformed {
        reason: format!("the run of partition `{}` {what}", run.partition),
    };
    if run.extents.is_empty() {
        return Err(malformed("has no extents"));
    }
    let pairs = run.extents.windows(2);
    let is_whole = pairs.into_iter().all(|pair| match pair {
        [before, behind] => before.offsets.next == behind.offsets.base,
        _ => true,
    });
    if !is_whole || run.extents.iter().any(|extent| extent.offsets.count() == 0) {
        return Err(malformed("has gaps"));
    }
    Ok(())
}

/// Puts pieces that lie near each other into one read, as long as there is memory for what lies between them. Answers
/// how many bytes that are, too.
fn reads(pieces: Vec<(Place, Piece)>, mut spare: u64) -> (Vec<Read>, u64) {
    let (mut reads, mut gaps) = (Vec::<Read>::new(), 0);
    for ((bucket, segment), piece) in pieces {
        let is_of = |read: &&mut Read| (read.bucket, read.segment) == (bucket, segment);
        let last = reads.last_mut().filter(is_of);
        let joined = last.and_then(|read| {
            let gap = piece.start.checked_sub(read.end)?;
            let fits =
                gap <= GAP_BYTES_MAX.min(spare) && piece.end() - read.start <= READ_BYTES_MAX;
            fits.then_some((read, gap))
        });
        match joined {
            Some((read, gap)) => {
                spare -= gap;
                gaps += gap;
                read.end = piece.end();
                read.pieces.push(piece);
            }
            None => reads.push(Read {
                bucket,
                segment,
                start: piece.start,
                end: piece.end(),
                pieces: vec![piece],
            }),
        }
    }
    (reads, gaps)
}

#[cfg(test)]
mod tests {
    use tidelog_types::{Incarnation, SegmentSequence};

    use super::*;

    fn piece(sequence: u64, start: u64, length: u32) -> (Place, Piece) {
        let slot = Slot { run: 0, extent: 0 };
        let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence));
        let piece = Piece {
            slot,
            start,
            length,
        };
        ((BucketId::default(), segment), piece)
    }

    fn ranges(pieces: Vec<(Place, Piece)>, spare: u64) -> (Vec<(u64, u64, u64)>, u64) {
        let (reads, gaps) = reads(pieces, spare);
        let ranges = reads
            .iter()
            .map(|read| (read.segment.sequence.get(), read.start, read.end));
        (ranges.collect(), gaps)
    }

    #[test]
    fn what_lies_near_in_one_object_is_read_at_once() {
        let pieces = || {
            vec![
                piece(1, 40, 100),
                piece(1, 140, 60),
                piece(1, 300, 100),
                piece(1, 400 + GAP_BYTES_MAX + 1, 100),
                piece(2, 40, 10),
            ]
        };
        let far = 400 + GAP_BYTES_MAX + 1;
        let all = vec![(1, 40, 400), (1, far, far + 100), (2, 40, 50)];
        assert_eq!(ranges(pieces(), 100), (all, 100));
        // Without memory for what lies between, only what touches is read at once.
        let few = vec![
            (1, 40, 200),
            (1, 300, 400),
            (1, far, far + 100),
            (2, 40, 50),
        ];
        assert_eq!(ranges(pieces(), 99), (few, 0));
    }

    #[test]
    fn objects_of_two_buckets_are_two_objects() {
        let ((_, segment), other) = piece(1, 140, 60);
        let pieces = vec![piece(1, 40, 100), ((BucketId::new(1), segment), other)];
        let (reads, _) = reads(pieces, 100);
        let buckets: Vec<u16> = reads.iter().map(|read| read.bucket.get()).collect();
        assert_eq!(buckets, [0, 1]);
    }

    #[test]
    fn no_read_is_larger_than_it_may_be_and_nothing_is_read_twice_at_once() {
        let half = 9 << 20;
        let pieces = vec![
            piece(1, 0, half),
            piece(1, u64::from(half), half),
            piece(1, u64::from(half), 10),
        ];
        let (reads, _) = ranges(pieces, 1 << 30);
        let half = u64::from(half);
        assert_eq!(
            reads,
            [(1, 0, half), (1, half, 2 * half), (1, half, half + 10)]
        );
    }
}
