//! Which extents make a partition's log, of those that a backup knows and those that merged segments tell of. Pure.
//!
//! ```text
//!   backup:   [ a ][ b ][ c ]                   next
//!   merged:        [    d    ][ e ][ f ]
//!   log:      [ a ][    d    ][ e ][ f ]        d has the bytes of b, c and more
//! ```

use std::collections::BTreeMap;

use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, OffsetRange, Timestamp};

/// An extent that may be part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) extent: Extent,
    /// No record of it is younger.
    pub(super) committed_at: Timestamp,
    /// Whether it is of a merged segment that the backup does not know.
    pub(super) is_found: bool,
}

/// A log without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Each begins where the one before ends.
    pub(super) pieces: Vec<Piece>,
    pub(super) start: Offset,
    pub(super) next: Offset,
    /// What begins after the end, with a gap in between.
    pub(super) beyond: Vec<OffsetRange>,
}

/// Two merged segments have other bytes at the same offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) offsets: OffsetRange,
    pub(super) extents: Box<(Extent, Extent)>,
}

/// The longest log from `start` on. What the backup has stays as it is, but where that cannot be gone on from.
pub(super) fn chain(start: Offset, pieces: &[Piece]) -> Result<Chain, Conflict> {
    let mut sorted: Vec<&Piece> = pieces.iter().collect();
    sorted.sort_by_key(|piece| {
        let Extent { offsets, .. } = &piece.extent;
        (offsets.base, offsets.next, piece.is_found)
    });
    contradict(&sorted)?;
    let known = pieces.iter().filter(|piece| !piece.is_found);
    let known_next = known.map(|piece| piece.extent.offsets.next).max();
    let known_next = known_next.unwrap_or(start).max(start);
    // For each offset that can be come to: how many offsets of the backup are replaced on the way, and by which piece.
    let mut reached: BTreeMap<Offset, (u64, Option<&Piece>)> = BTreeMap::from([(start, (0, None))]);
    for piece in &sorted {
        let OffsetRange { base, next } = piece.extent.offsets;
        let Some((cost, _)) = reached.get(&base) else {
            continue;
        };
        let replaced = known_next.min(next).get().saturating_sub(base.get());
        let cost = cost + if piece.is_found { replaced } else { 0 };
        let is_better = reached.get(&next).is_none_or(|(known, _)| cost < *known);
        if is_better {
            reached.insert(next, (cost, Some(piece)));
        }
    }
    let (next, _) = reached
        .last_key_value()
        .map_or((start, 0), |(next, (cost, _))| (*next, *cost));
    let mut path = Vec::new();
    let mut at = next;
    while let Some((_, Some(piece))) = reached.get(&at) {
        path.push((*piece).clone());
        at = piece.extent.offsets.base;
    }
    path.reverse();
    let beyond = sorted.iter().map(|piece| piece.extent.offsets);
    Ok(Chain {
        pieces: path,
        start,
        next,
        beyond: beyond.filter(|offsets| offsets.next > next).collect(),
    })
}

/// Merged segments may have the same offsets twice: a merge whose swap was lost is made again. Then they have the same
/// bytes.
fn contradict(sorted: &[&Piece]) -> Result<(), Conflict> {
    let found: Vec<&&Piece> = sorted.iter().filter(|piece| piece.is_found).collect();
    for pair in found.windows(2) {
        let [first, second] = pair else { continue };
        let (first, second) = (&first.extent, &second.extent);
        let is_same = first.crc32c == second.crc32c && first.byte_count() == second.byte_count();
        if first.offsets == second.offsets && !is_same {
            return Err(Conflict {
                offsets: first.offsets,
                extents: Box::new((first.clone(), second.clone())),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelog_format::location::Location;
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    fn piece(base: u64, next: u64, is_found: bool) -> Piece {
        let segment = SegmentName::new(
            Incarnation::new(u64::from(is_found)),
            SegmentSequence::new(base),
        );
        let offsets = OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        };
        Piece {
            extent: Extent {
                offsets,
                location: Location::Segment {
                    bucket: BucketId::new(0),
                    segment,
                    position: 40,
                    length: 100,
                },
                crc32c: Some(7),
                max_timestamp: Timestamp::from_millis(0),
            },
            committed_at: Timestamp::from_millis(0),
            is_found,
        }
    }

    /// The path as (base, found), where it ends, and what lies beyond.
    fn chained(
        start: u64,
        known: &[(u64, u64)],
        found: &[(u64, u64)],
    ) -> (Vec<(u64, bool)>, u64, usize) {
        let of = |ranges: &[(u64, u64)], is_found| {
            let ranges = ranges.iter();
            ranges
                .map(|(base, next)| piece(*base, *next, is_found))
                .collect::<Vec<_>>()
        };
        let pieces = [of(found, true), of(known, false)].concat();
        let chain = chain(Offset::new(start), &pieces).expect("no conflict");
        let path = chain.pieces.iter();
        let path = path.map(|piece| (piece.extent.offsets.base.get(), piece.is_found));
        (path.collect(), chain.next.get(), chain.beyond.len())
    }

    #[test]
    fn merged_extents_go_on_where_the_backup_ends() {
        let known = [(5, 10), (10, 20)];
        assert_eq!(
            chained(5, &known, &[]),
            (vec![(5, false), (10, false)], 20, 0)
        );
        let went_on = vec![(5, false), (10, false), (20, true), (30, true)];
        assert_eq!(chained(5, &known, &[(30, 31), (20, 30)]), (went_on, 31, 0));
        assert_eq!(chained(0, &[], &[(0, 4)]), (vec![(0, true)], 4, 0));
    }

    #[test]
    fn what_the_backup_has_stays_unless_that_is_the_only_way_on() {
        let known = [(0, 10), (10, 20), (20, 30)];
        // The merge of it was never swapped, or after the backup.
        let same = [(0, 30)];
        let as_it_was = vec![(0, false), (10, false), (20, false)];
        assert_eq!(chained(0, &known, &same), (as_it_was.clone(), 30, 0));
        // A merged extent lies across the end.
        let across = vec![(0, false), (10, true)];
        assert_eq!(chained(0, &known, &[(10, 35)]), (across, 35, 0));
        // Of two ways the one that replaces less.
        let less = vec![(0, false), (10, false), (20, true)];
        assert_eq!(
            chained(0, &known, &[(0, 20), (20, 40), (10, 40)]),
            (less, 40, 0)
        );
        // It goes on nowhere.
        assert_eq!(chained(0, &known, &[(15, 35)]), (as_it_was, 30, 1));
    }

    #[test]
    fn a_gap_is_not_passed_over() {
        let known = [(0, 10)];
        assert_eq!(
            chained(0, &known, &[(11, 20), (20, 25)]),
            (vec![(0, false)], 10, 2)
        );
    }

    #[test]
    fn the_same_offsets_twice_are_one_extent_if_their_bytes_are_the_same() {
        let twice = [piece(0, 5, true), piece(0, 5, true), piece(5, 6, true)];
        let once = chain(Offset::ZERO, &twice).expect("the same bytes");
        assert_eq!((once.pieces.len(), once.next), (2, Offset::new(6)));
        let mut other = twice;
        other[1].extent.crc32c = Some(8);
        assert!(chain(Offset::ZERO, &other).is_err());
    }
}
