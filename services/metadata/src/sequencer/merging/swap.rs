//! Puts merged extents into the pages of a partition, in the place of those that they were made of. What is here
//! does no I/O.
//!
//! ```text
//!   offsets      reclaimed     |<------------ the run ------------->|
//!                    v
//!   before    [ page | small small small ] [ small small ] [ small | behind ] [ page ] ...
//!   after     [ page | large             large            large     | behind ] [ page ] ...
//! ```

use std::collections::BTreeMap;

use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, SegmentName, Timestamp};

use super::again::Timed;
use crate::keyspace::{PAGE_EXTENTS_MAX, PageRow};

/// A page with fewer extents than this is written again with those that follow, as checkpoints do.
const PAGE_OPEN_EXTENTS: usize = 32;

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swap {
    /// Where the pages begin that go.
    pub(crate) deleted: Vec<Offset>,
    /// Those that come.
    pub(crate) written: Vec<(Offset, PageRow)>,
    /// How much less of each old segment is named.
    pub(crate) lowered: BTreeMap<SegmentName, u64>,
    /// How much more of the merged one is.
    pub(crate) raised: u64,
}

impl Swap {
    /// What pages have once it is made, from what is not reclaimed up to an offset. `pages` are those that it was worked
    /// out from.
    pub(super) fn leaves<'a>(
        &'a self,
        pages: &'a [(Offset, PageRow)],
        reclaimed: Offset,
        next: Offset,
    ) -> Vec<Timed<'a>> {
        let first = self.written.first().map_or(next, |(base, _)| *base);
        let before = pages.iter().filter(|(base, _)| *base < first);
        let before = before.flat_map(|(_, page)| {
            let extents = page.extents.iter();
            let extents = extents.filter(move |extent| extent.offsets.next <= first);
            extents.map(|extent| Timed::new(extent, page.committed_at))
        });
        let written = self.written.iter().flat_map(|(_, page)| {
            let extents = page.extents.iter();
            extents.map(|extent| Timed::new(extent, page.committed_at))
        });
        let mut at = reclaimed;
        let each_once = before.chain(written).filter(|timed| {
            let offsets = timed.extent.offsets;
            let is_new = offsets.next > at && offsets.next <= next;
            at = at.max(offsets.next);
            is_new
        });
        each_once.collect()
    }
}

/// What a run comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    /// This is to be written.
    Now(Swap),
    /// It was written before.
    Before,
    /// Pages have something else than was merged, or nothing of it is needed any more.
    Changed,
}

/// An extent of a page, and the largest timestamp before it.
struct Paged<'a> {
    extent: &'a Extent,
    max_before: Timestamp,
    bytes_so_far: u64,
}

/// Works out what a swap changes. `pages` are all that have something of the run, in order, with the one before and the
/// one behind, if there are such; `old` are the extents that were merged, `new` what they have become. Extents that end at or below
/// `reclaimed` are off the books: they may be in pages or not, and mean nothing.
pub(crate) fn swap(
    reclaimed: Offset,
    pages: &[(Offset, PageRow)],
    old: &[Extent],
    new: &[Extent],
) -> Swapped {
    let is_live = |extent: &&Extent| extent.offsets.next > reclaimed;
    let old: Vec<&Extent> = old.iter().filter(is_live).collect();
    let new: Vec<&Extent> = new.iter().filter(is_live).collect();
    let (Some(first), Some(last)) = (new.first(), new.last()) else {
        return Swapped::Changed;
    };
    let (base, next) = (first.offsets.base, last.offsets.next);
    let all = each_once(pages);
    let inside = |paged: &&Paged<'_>| {
        let offsets = paged.extent.offsets;
        offsets.next > base.max(reclaimed) && offsets.base < next
    };
    let found: Vec<&Paged<'_>> = all.iter().filter(inside).collect();
    if is_same(&found, &new) {
        return Swapped::Before;
    }
    if !is_same(&found, &old) {
        return Swapped::Changed;
    }
    // What is off the books may lie across the beginning of the merged ones: it goes.
    let is_before = |paged: &&Paged<'_>| paged.extent.offsets.next <= base;
    let before: Vec<&Paged<'_>> = all.iter().filter(is_before).collect();
    let behind = all.iter().filter(|paged| paged.extent.offsets.base >= next);
    let rewritten = rewritten(pages, base, next);
    let from = rewritten.first().map_or(base, |(base, _)| *base).min(base);
    let kept = before
        .iter()
        .filter(|paged| paged.extent.offsets.base >= from && paged.extent.offsets.next > reclaimed);
    let extents = kept.map(|paged| paged.extent).chain(new.iter().copied());
    // The page behind has what begins there, and must not be written over: it may have more.
    let following = pages
        .iter()
        .map(|(base, _)| *base)
        .find(|base| *base >= next);
    let behind = behind.filter(|paged| following.is_none_or(|at| paged.extent.offsets.base < at));
    let extents: Vec<Extent> = extents
        .chain(behind.map(|paged| paged.extent))
        .cloned()
        .collect();
    let bytes = |extents: &[&Extent]| -> u64 {
        extents
            .iter()
            .map(|extent| u64::from(extent.byte_count()))
            .sum()
    };
    let mut swap = Swap {
        deleted: rewritten.iter().map(|(base, _)| *base).collect(),
        raised: bytes(&new),
        ..Swap::default()
    };
    for extent in &old {
        if let Location::Segment { segment, .. } = extent.location {
            *swap.lowered.entry(segment).or_default() += u64::from(extent.byte_count());
        }
    }
    let begins = Begins::of(
        &all,
        &before,
        &extents,
        rewritten.first().map(|(_, page)| page),
    );
    let committed_at = rewritten.iter().map(|(_, page)| page.committed_at);
    let committed_at = committed_at.max().unwrap_or(Timestamp::NONE);
    swap.written = pages_of(&extents, begins, committed_at);
    let stays = |base: &Offset| swap.written.iter().any(|(written, _)| written == base);
    swap.deleted.retain(|base| !stays(base));
    Swapped::Now(swap)
}

/// Every extent of pages once, in the order of offsets: pages may overlap, and then say the same.
fn each_once(pages: &[(Offset, PageRow)]) -> Vec<Paged<'_>> {
    let mut at = Offset::ZERO;
    let mut all = Vec::new();
    for (_, page) in pages {
        let mut max_before = page.max_before;
        for (extent, bytes_so_far) in page.sized() {
            if extent.offsets.next > at {
                at = extent.offsets.next;
                all.push(Paged {
                    extent,
                    max_before,
                    bytes_so_far,
                });
            }
            max_before = max_before.max(extent.max_timestamp);
        }
    }
    all
}

fn is_same(found: &[&Paged<'_>], wanted: &[&Extent]) -> bool {
    found.len() == wanted.len()
        && found
            .iter()
            .zip(wanted)
            .all(|(found, wanted)| found.extent == *wanted)
}

/// The pages that are written anew: those with something of the run, and the one before if it has room.
fn rewritten(pages: &[(Offset, PageRow)], base: Offset, next: Offset) -> Vec<&(Offset, PageRow)> {
    let touches = |page: &PageRow| {
        let offsets = page.offsets();
        offsets.is_some_and(|offsets| offsets.next > base && offsets.base < next)
    };
    let is_open = |page: &PageRow| {
        let ends_there = page.offsets().is_some_and(|offsets| offsets.next == base);
        ends_there && page.extents.len() < PAGE_OPEN_EXTENTS
    };
    let first = pages.iter().position(|(_, page)| touches(page));
    let all = pages.iter().enumerate();
    let taken =
        all.filter(|(at, (_, page))| touches(page) || (Some(at + 1) == first && is_open(page)));
    taken.map(|(_, page)| page).collect()
}

/// What is known of all extents before the first that is written.
#[derive(Clone, Copy)]
struct Begins {
    max_before: Timestamp,
    bytes_before: u64,
    is_counted: bool,
}

impl Begins {
    fn of(
        paged: &[Paged<'_>],
        before: &[&Paged<'_>],
        extents: &[Extent],
        page: Option<&PageRow>,
    ) -> Self {
        let base = extents
            .first()
            .map_or(Offset::ZERO, |extent| extent.offsets.base);
        let at = paged.iter().find(|paged| paged.extent.offsets.base >= base);
        let ended = before
            .iter()
            .rev()
            .find(|paged| paged.extent.offsets.next <= base);
        let first = page.map_or(0, |page| page.bytes_before);
        let own = |paged: &Paged<'_>| u64::from(paged.extent.byte_count());
        Self {
            max_before: at.map_or(Timestamp::NONE, |paged| paged.max_before),
            bytes_before: match (ended, at) {
                (Some(ended), _) => ended.bytes_so_far,
                (None, Some(at)) => at.bytes_so_far.saturating_sub(own(at)),
                (None, None) => first,
            },
            is_counted: page.is_none_or(PageRow::is_counted),
        }
    }
}

/// Extents as pages, each as full as it can be.
fn pages_of(extents: &[Extent], begins: Begins, committed_at: Timestamp) -> Vec<(Offset, PageRow)> {
    let mut begins = begins;
    let mut pages = Vec::new();
    for some in extents.chunks(PAGE_EXTENTS_MAX) {
        let Some(first) = some.first() else { continue };
        let page = PageRow {
            max_before: begins.max_before,
            bytes_before: begins.bytes_before,
            committed_at,
            extents: some.to_vec(),
        };
        for extent in some {
            begins.max_before = begins.max_before.max(extent.max_timestamp);
            if begins.is_counted {
                let bytes = u64::from(extent.byte_count());
                begins.bytes_before = begins.bytes_before.saturating_add(bytes);
            }
        }
        pages.push((first.offsets.base, page));
    }
    pages
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, OffsetRange, SegmentSequence};

    use super::*;

    const MERGED: u64 = 99;

    const fn name(sequence: u64) -> SegmentName {
        SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence))
    }

    /// Offsets from `base` to before `next`, as many bytes, in a segment.
    fn extent(base: u64, next: u64, sequence: u64) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: Offset::new(base),
                next: Offset::new(next),
            },
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment: name(sequence),
                position: 0,
                length: u32::try_from(next - base).expect("short"),
            },
            crc32c: None,
            max_timestamp: Timestamp::from_millis(next.cast_signed()),
        }
    }

    /// Small extents of ten offsets each, each in a segment of its own.
    fn small(base: u64, next: u64) -> Vec<Extent> {
        let each = (base..next).step_by(10);
        each.map(|at| extent(at, at + 10, at / 10)).collect()
    }

    fn large(bounds: &[u64]) -> Vec<Extent> {
        let each = bounds.windows(2);
        each.map(|at| extent(at[0], at[1], MERGED)).collect()
    }

    fn page_of(extents: Vec<Extent>) -> (Offset, PageRow) {
        let base = extents[0].offsets.base;
        let before = base.get();
        let page = PageRow {
            max_before: Timestamp::from_millis(before.cast_signed()),
            bytes_before: before,
            committed_at: Timestamp::from_millis(7),
            extents,
        };
        (base, page)
    }

    fn page(base: u64, next: u64) -> (Offset, PageRow) {
        page_of(small(base, next))
    }

    /// What is deleted, and what is written: where each page begins, and its extents.
    type Shown = (Vec<u64>, Vec<(u64, Vec<Extent>)>);

    fn swapped(
        reclaimed: u64,
        pages: &[(Offset, PageRow)],
        old: &[Extent],
        new: &[Extent],
    ) -> Option<Shown> {
        let reclaimed = Offset::new(reclaimed);
        let Swapped::Now(done) = swap(reclaimed, pages, old, new) else {
            return None;
        };
        for (base, page) in &done.written {
            // Bytes and times go on as they were, but for what lies across the place up to which all is reclaimed.
            assert!(
                page.bytes_before >= base.get()
                    && page.max_before.as_millis() >= base.get().cast_signed()
            );
            assert_eq!(page.committed_at, Timestamp::from_millis(7));
        }
        let live = new.iter().filter(|extent| extent.offsets.next > reclaimed);
        let raised: u64 = live.map(|extent| u64::from(extent.byte_count())).sum();
        assert_eq!(done.raised, raised);
        let live = old.iter().filter(|extent| extent.offsets.next > reclaimed);
        assert_eq!(done.lowered.len(), live.count());
        assert!(done.lowered.values().all(|bytes| *bytes == 10));
        let deleted = done.deleted.iter().map(|base| base.get()).collect();
        let written = done.written.into_iter();
        let written = written.map(|(base, page)| (base.get(), page.extents));
        Some((deleted, written.collect()))
    }

    #[test]
    fn a_run_is_replaced_and_what_shares_its_pages_stays() {
        let pages = [page(0, 500), page(500, 530), page(530, 600), page(600, 700)];
        let done = swapped(0, &pages, &small(510, 540), &large(&[510, 530, 540]));
        let all = [small(500, 510), large(&[510, 530, 540]), small(540, 600)].concat();
        assert_eq!(done, Some((vec![530], vec![(500, all)])));
    }

    #[test]
    fn a_small_page_before_a_run_takes_it_and_a_large_one_does_not() {
        let (few, many) = (page(0, 310), page(0, 320));
        let (new, rest) = (large(&[310, 330]), small(330, 340));
        let behind = page(310, 340);
        let done = swapped(0, &[few, behind], &small(310, 330), &new);
        let all = [small(0, 310), new, rest.clone()].concat();
        assert_eq!(done, Some((vec![310], vec![(0, all)])));
        let (new, behind) = (large(&[320, 330]), page(320, 340));
        let done = swapped(0, &[many, behind], &small(320, 330), &new);
        assert_eq!(done, Some((vec![], vec![(320, [new, rest].concat())])));
    }

    #[test]
    fn pages_that_are_written_are_cut_where_they_are_full() {
        let pages = [page(0, 2_560), page(2_560, 5_120)];
        let new = large(&[1_000, 2_560, 2_570]);
        let (deleted, written) = swapped(0, &pages, &small(1_000, 2_570), &new).expect("a swap");
        assert_eq!(deleted, vec![2_560]);
        let bases: Vec<(u64, usize)> = written.iter().map(|(at, all)| (*at, all.len())).collect();
        assert_eq!(bases, [(0, 256), (4_110, 101)]);
    }

    #[test]
    fn pages_that_overlap_are_all_written_anew_and_none_behind_is_written_over() {
        // An owner was replaced in the middle of a checkpoint: its pages are there beside those of the next.
        let pages = [page(0, 400), page(350, 410), page(380, 500)];
        let new = large(&[360, 380]);
        let done = swapped(0, &pages, &small(360, 380), &new);
        let all = [small(0, 360), new].concat();
        assert_eq!(done, Some((vec![350], vec![(0, all)])));
    }

    #[test]
    fn what_is_reclaimed_may_be_in_pages_or_not_and_what_lies_across_stays_whole() {
        let new = large(&[0, 30, 60, 90]);
        let left = large(&[30, 60, 90]);
        for pages in [
            vec![page(0, 90)],
            vec![page(40, 90)],
            vec![page(0, 40), page(40, 90)],
        ] {
            let last = pages.last().expect("one").0.get();
            let done = swapped(40, &pages, &small(0, 90), &new).expect("a swap");
            let deleted: Vec<u64> = pages.iter().map(|(base, _)| base.get()).collect();
            assert_eq!(done, (deleted, vec![(30, left.clone())]), "{last}");
        }
        assert_eq!(swapped(90, &[page(0, 90)], &small(0, 90), &new), None);
    }

    #[test]
    fn a_swap_that_was_made_is_known_and_one_of_other_extents_is_refused() {
        let new = large(&[10, 30]);
        let made = page_of([small(0, 10), new.clone(), small(30, 40)].concat());
        let asked = |pages: &[(Offset, PageRow)]| swap(Offset::ZERO, pages, &small(10, 30), &new);
        assert_eq!(asked(&[made]), Swapped::Before);
        let other = page_of([small(0, 10), vec![extent(10, 30, 5)]].concat());
        assert_eq!(asked(&[other]), Swapped::Changed);
        assert_eq!(asked(&[page(0, 20)]), Swapped::Changed);
        assert_eq!(asked(&[]), Swapped::Changed);
    }
}
