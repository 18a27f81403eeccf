//! Which extents make a partition's log, of those that a backup knows and those that merged segments tell of. Pure.
//!
//! ```text
//!   backup:   [ a ][ b ][ c ]                   next
//!   merged:        [    d    ][ e ][ f ]
//!   log:      [ a ][    d    ][ e ][ f ]        d has the bytes of b, c and more
//!
//!   backup:   [ a ][ b ]                        next
//!   merged:      [    d    ][ e ]
//!   log:      [ a ][ b ][ d][ e ]               what d has beyond b: it begins within an extent of the backup
//! ```
//!
//! A partition that is compacted by key has other bytes at the same offsets, from time to time. Then what was put last
//! counts at each offset, and nothing of before it: a key whose tombstone is gone must not come back.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, OffsetRange, SegmentName, Timestamp};

/// An extent that may be part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) extent: Extent,
    /// No record of it is younger.
    pub(super) committed_at: Timestamp,
    /// When its segment was put, of one that the backup does not know.
    pub(super) found: Option<Timestamp>,
    /// Which of its offsets the log has from it.
    pub(super) taken: OffsetRange,
}

impl Piece {
    /// One that is taken as a whole.
    pub(super) const fn whole(
        extent: Extent,
        committed_at: Timestamp,
        found: Option<Timestamp>,
    ) -> Self {
        let taken = extent.offsets;
        Self {
            extent,
            committed_at,
            found,
            taken,
        }
    }

    /// Whether it is of a merged segment that the backup does not know.
    pub(super) const fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// Whether a part of it is left out.
    pub(super) fn is_cut(&self) -> bool {
        self.taken != self.extent.offsets
    }

    /// Whether the backup has no such extent.
    pub(super) fn is_new(&self) -> bool {
        self.is_found() || self.is_cut()
    }

    /// These offsets of it, which it has.
    fn taking(&self, base: Offset, next: Offset) -> Self {
        Self {
            taken: OffsetRange { base, next },
            ..self.clone()
        }
    }

    const fn segment(&self) -> Option<SegmentName> {
        match self.extent.location {
            Location::Segment { segment, .. } => Some(segment),
            Location::Inline { .. } | Location::Marker(_) => None,
        }
    }
}

/// A log without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Each begins where the one before ends, by the offsets that are taken of them.
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
        (offsets.base, offsets.next, piece.is_found())
    });
    contradict(&sorted)?;
    let known = pieces.iter().filter(|piece| !piece.is_found());
    let known_next = known.map(|piece| piece.extent.offsets.next).max();
    let known_next = known_next.unwrap_or(start).max(start);
    let mut made = Chain {
        start,
        next: start,
        ..Chain::default()
    };
    loop {
        let (path, next) = longest(made.next, known_next, &sorted);
        made.pieces.extend(path);
        made.next = next;
        // One that lies across the end has what comes next.
        let across = sorted.iter().filter(|piece| {
            let OffsetRange { base, next } = piece.extent.offsets;
            piece.is_found() && base < made.next && next > made.next
        });
        let Some(across) = across.max_by_key(|piece| piece.extent.offsets.next) else {
            break;
        };
        let next = across.extent.offsets.next;
        made.pieces.push(across.taking(made.next, next));
        made.next = next;
    }
    let beyond = sorted.iter().map(|piece| piece.extent.offsets);
    made.beyond = beyond.filter(|offsets| offsets.next > made.next).collect();
    Ok(made)
}

/// The longest way from an offset on in which each piece begins where the one before ends, and where it ends. Of two of
/// the same length the one that replaces less of what is known up to `known_next`.
fn longest(start: Offset, known_next: Offset, sorted: &[&Piece]) -> (Vec<Piece>, Offset) {
    let from = sorted.partition_point(|piece| piece.extent.offsets.base < start);
    // For each offset that can be come to: how many offsets of the backup are replaced on the way, and by which piece.
    let mut reached: BTreeMap<Offset, (u64, Option<&Piece>)> = BTreeMap::from([(start, (0, None))]);
    for piece in sorted.get(from..).unwrap_or_default() {
        let OffsetRange { base, next } = piece.extent.offsets;
        let Some((cost, _)) = reached.get(&base) else {
            continue;
        };
        let replaced = known_next.min(next).get().saturating_sub(base.get());
        let cost = cost + if piece.is_found() { replaced } else { 0 };
        let is_better = reached.get(&next).is_none_or(|(known, _)| cost < *known);
        if is_better {
            reached.insert(next, (cost, Some(piece)));
        }
    }
    let next = reached.last_key_value().map_or(start, |(next, _)| *next);
    let mut path = Vec::new();
    let mut at = next;
    while let Some((_, Some(piece))) = reached.get(&at) {
        path.push((*piece).clone());
        at = piece.extent.offsets.base;
    }
    path.reverse();
    (path, next)
}

/// The log from `start` on of a partition that is compacted: at each offset what was put last.
pub(super) fn latest(start: Offset, pieces: &[Piece]) -> Chain {
    let mut order: Vec<&Piece> = pieces.iter().collect();
    order.sort_by_key(|piece| Reverse((piece.found, piece.segment())));
    // By where what is taken of them begins; none lies over another.
    let mut taken: BTreeMap<Offset, Piece> = BTreeMap::new();
    for piece in order {
        let OffsetRange { base, next } = piece.extent.offsets;
        let mut at = base.max(start);
        while at < next {
            let later = taken.range(..=at).next_back();
            if let Some((_, later)) = later.filter(|(_, later)| later.taken.next > at) {
                at = later.taken.next;
                continue;
            }
            let until = taken.range(at..).next();
            let until = until.map_or(next, |(until, _)| next.min(*until));
            taken.insert(at, piece.taking(at, until));
            at = until;
        }
    }
    let mut made = Chain {
        start,
        next: start,
        ..Chain::default()
    };
    for (base, piece) in taken {
        if base == made.next {
            made.next = piece.taken.next;
            made.pieces.push(piece);
        } else {
            made.beyond.push(piece.taken);
        }
    }
    made
}

/// Merged segments may have the same offsets twice: a merge whose swap was lost is made again. Then they have the same
/// bytes.
fn contradict(sorted: &[&Piece]) -> Result<(), Conflict> {
    let found: Vec<&&Piece> = sorted.iter().filter(|piece| piece.is_found()).collect();
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
    use tidelog_types::{BucketId, Incarnation, SegmentSequence};

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
        let extent = Extent {
            offsets,
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment,
                position: 40,
                length: 100,
            },
            crc32c: Some(7),
            max_timestamp: Timestamp::from_millis(0),
        };
        let at = Timestamp::from_millis(0);
        Piece::whole(extent, at, is_found.then_some(at))
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
        let path = path.map(|piece| (piece.taken.base.get(), piece.is_found()));
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
        // What it has beyond the end.
        let beyond = [as_it_was, vec![(30, true)]].concat();
        assert_eq!(chained(0, &known, &[(15, 35)]), (beyond, 35, 0));
    }

    #[test]
    fn a_merged_extent_that_begins_within_what_is_known_is_cut_and_no_gap() {
        let known = [(0, 10), (10, 20), (20, 30)];
        let cut = |base, next| (base, next);
        for (found, expected) in [
            // Retention took what was before 15, and its segment went.
            (vec![(15, 45), (45, 50)], vec![cut(30, 45), cut(45, 50)]),
            // Of two the longer one, and the next one from within that.
            (
                vec![(15, 45), (25, 40), (44, 60)],
                vec![cut(30, 45), cut(45, 60)],
            ),
            // What is whole is taken as a whole.
            (vec![(30, 40), (15, 45)], vec![cut(30, 40), cut(40, 45)]),
        ] {
            let pieces = found.iter().map(|(base, next)| piece(*base, *next, true));
            let known = known.iter().map(|(base, next)| piece(*base, *next, false));
            let chain = chain(Offset::ZERO, &pieces.chain(known).collect::<Vec<_>>());
            let chain = chain.expect("no conflict");
            let new = chain.pieces.iter().filter(|piece| piece.is_found());
            let new = new.map(|piece| (piece.taken.base.get(), piece.taken.next.get()));
            assert_eq!(new.collect::<Vec<_>>(), expected);
            assert!(chain.beyond.is_empty());
        }
        // Nothing is left of the backup's log, and this is not of before it.
        assert_eq!(chained(30, &[], &[(15, 45)]), (vec![(30, true)], 45, 0));
    }

    #[test]
    fn of_a_compacted_log_each_offset_is_as_it_was_put_last() {
        let put = |base, next, at: Option<i64>| {
            let mut piece = piece(base, next, true);
            piece.found = at.map(Timestamp::from_millis);
            piece
        };
        let (at, taken) = (
            |piece: &Piece| piece.found.map(Timestamp::as_millis),
            |piece: &Piece| (piece.taken.base.get(), piece.taken.next.get()),
        );
        let pieces = [
            put(0, 10, None),
            put(10, 30, None),
            put(20, 60, Some(5)),
            put(0, 20, Some(7)),
            put(50, 55, Some(9)),
            put(70, 80, Some(9)),
        ];
        let chain = latest(Offset::ZERO, &pieces);
        let found: Vec<_> = chain.pieces.iter().map(|it| (taken(it), at(it))).collect();
        let expected = [
            ((0, 20), Some(7)),
            ((20, 50), Some(5)),
            ((50, 55), Some(9)),
            ((55, 60), Some(5)),
        ];
        assert_eq!(found, expected);
        assert_eq!((chain.next, chain.beyond.len()), (Offset::new(60), 1));
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
