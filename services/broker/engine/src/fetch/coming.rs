//! Which pages a reader will come to next, in the order in which it will read them.
//!
//! ```text
//!   side by side     [1: a a b] [2: c c ?]                 the oldest segments first, whoever has something there
//!   far apart        [50: d d d] then [70: e ?]            who has its turn, up to the end of its segment, then the next one
//! ```
//!
//! Beyond the first place of which nobody knows how much is read from there on, little is told: what lies behind it may come so
//! late that its pages would go before, and take the place of others until then. But whoever is served now is likely to go on.

use std::collections::{BTreeSet, HashSet};

use tidelog_cache::{PageKey, Pool};
use tidelog_metadata_api::Extent;
use tidelog_types::SegmentName;

use super::budget::{Turns, Waiting, are_beside, in_order, place_of};
use super::plan::{Plan, Planned};
use super::reads::pages_of;

/// A partition that catches up.
struct Coming<'a> {
    plan: &'a Plan,
    has_turn: bool,
    /// For how many fetches it has got nothing, with this one.
    waits: u32,
}

impl Coming<'_> {
    /// What is to be read of each segment, in order, and whether that is all that the partition has there.
    fn segments(&self) -> impl Iterator<Item = (SegmentName, &[Extent], bool)> {
        let later = &self.plan.later;
        let end = later.last().map(|extent| extent.offsets.next);
        let has_all = end.is_some_and(|end| end >= self.plan.bounds.high_watermark);
        let last = later.last().map(segment_of);
        let same = |one: &Extent, next: &Extent| segment_of(one) == segment_of(next);
        later.chunk_by(same).filter_map(move |extents| {
            let segment = segment_of(extents.first()?);
            Some((segment, extents, has_all || Some(segment) != last))
        })
    }

    fn next(&self) -> Option<SegmentName> {
        self.plan.later.first().map(segment_of)
    }

    fn waiting(&self, at: usize) -> Option<Waiting> {
        Some(Waiting {
            at,
            place: place_of(self.plan.later.first()?),
            has_turn: self.has_turn,
            waits: self.waits,
        })
    }
}

/// The pages that come first among those for which a fetch has no room now, so many at most. `now` are the pages that it
/// reads, `turns` those as it has left them.
pub(super) fn pages_ahead(
    plans: &[Planned],
    turns: &Turns,
    now: &HashSet<PageKey>,
    window: usize,
) -> Vec<(PageKey, Pool)> {
    let known = plans.iter().zip(turns.stints.iter().zip(&turns.waits));
    let known = known.filter_map(|(plan, turn)| Some((plan.as_ref().ok()?, turn)));
    let (catching_up, tails): (Vec<_>, Vec<_>) =
        known.partition(|(plan, _)| plan.pool == Pool::CatchUp);
    let mut at_tail = BTreeSet::new();
    for (plan, _) in tails {
        // Of who gets nothing now nothing is fetched: it would wait in the place of what is read before it.
        let later = plan.later.iter().filter(|_| !plan.extents.is_empty());
        at_tail.extend(later.flat_map(pages_of));
    }
    let coming = catching_up
        .into_iter()
        .map(|(plan, (stint, waits))| Coming {
            plan,
            has_turn: *stint > 0,
            waits: if plan.extents.is_empty() {
                *waits + 1
            } else {
                0
            },
        });
    let coming: Vec<Coming<'_>> = coming.collect();
    let oldest = coming.iter().filter_map(Coming::next).min();
    let is_beside = |one: &Coming<'_>| {
        let both = oldest.zip(one.next());
        both.is_some_and(|(oldest, next)| are_beside(oldest, next))
    };
    let (together, alone): (Vec<_>, Vec<_>) = coming.into_iter().partition(is_beside);
    let (near, less_sure) = side_by_side(&together);
    let near = with_pool(near, Pool::CatchUp, now);
    let far = with_pool(in_turn(&alone), Pool::CatchUp, now);
    let tails = with_pool(at_tail, Pool::Tail, now);
    let mut ahead = by_turns(&[tails, near, far], window);
    add(&mut ahead, less_sure, now, window.div_ceil(2));
    let is_new = |page: &PageKey| !now.contains(page);
    let coming = together.iter().chain(&alone);
    let served = coming.filter(|one| !one.plan.extents.is_empty());
    let next = served.filter_map(|one| one.plan.later.iter().flat_map(pages_of).find(is_new));
    add(&mut ahead, next, now, window);
    ahead
}

/// Adds pages of old data until there are so many.
fn add(
    ahead: &mut Vec<(PageKey, Pool)>,
    pages: impl IntoIterator<Item = PageKey>,
    now: &HashSet<PageKey>,
    most: usize,
) {
    for page in pages {
        if ahead.len() >= most {
            return;
        }
        let page = (page, Pool::CatchUp);
        if !now.contains(&page.0) && !ahead.contains(&page) {
            ahead.push(page);
        }
    }
}

/// Of those that catch up side by side: from the oldest segment on, up to where that is known, and what is known behind it.
fn side_by_side(together: &[Coming<'_>]) -> (Vec<PageKey>, Vec<PageKey>) {
    let mut pages = BTreeSet::new();
    // The last page of which it is known that nobody reads another one before it.
    let mut known: Option<PageKey> = None;
    for (_, extents, is_all) in together.iter().flat_map(Coming::segments) {
        pages.extend(extents.iter().flat_map(pages_of));
        let last = extents.iter().flat_map(pages_of).last();
        if let Some(last) = last.filter(|_| !is_all) {
            known = Some(known.map_or(last, |known| known.min(last)));
        }
    }
    let is_known = |page: &PageKey| known.is_none_or(|known| *page <= known);
    pages.into_iter().partition(is_known)
}

/// Of those that catch up each by itself: who has its turn, and then who has waited for longest, each up to the end of the
/// segment that it is in.
fn in_turn(alone: &[Coming<'_>]) -> Vec<PageKey> {
    let waiting = (0..).zip(alone).filter_map(|(at, one)| one.waiting(at));
    let order = in_order(waiting.collect());
    let mut coming = Vec::new();
    for one in order.into_iter().filter_map(|at| alone.get(at)) {
        let Some((_, extents, is_all)) = one.segments().next() else {
            continue;
        };
        coming.extend(extents.iter().flat_map(pages_of));
        if !is_all {
            break;
        }
    }
    coming
}

fn segment_of(extent: &Extent) -> SegmentName {
    place_of(extent).0
}

fn with_pool(
    pages: impl IntoIterator<Item = PageKey>,
    pool: Pool,
    now: &HashSet<PageKey>,
) -> Vec<(PageKey, Pool)> {
    let mut seen = HashSet::new();
    let new = pages.into_iter();
    let new = new.filter(|page| !now.contains(page) && seen.insert(*page));
    new.map(|page| (page, pool)).collect()
}

/// One of each in turn.
fn by_turns<T: Copy, const N: usize>(lists: &[Vec<T>; N], most: usize) -> Vec<T> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let all = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at)));
    all.take(most).copied().collect()
}

#[cfg(test)]
mod tests {
    use tidelog_format::location::Location;
    use tidelog_metadata_api::PartitionBounds;
    use tidelog_types::{
        BucketId, Incarnation, Offset, OffsetRange, PartitionIndex, SegmentSequence, Timestamp,
        TopicNumber, TopicPartition,
    };

    use super::*;
    use crate::fetch::{FetchPartition, Isolation};

    const PAGE: u32 = tidelog_cache::PAGE_BYTES;
    const END: u64 = 1_000;

    const fn segment(sequence: u64) -> SegmentName {
        SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence))
    }

    /// What is left for later: (segment, pages) one after the other, and whether the log ends there.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "plans are results where they are spent"
    )]
    fn plan(later: &[(u64, std::ops::Range<u32>)], ends: bool) -> Planned {
        let pages = later
            .iter()
            .flat_map(|(at, pages)| pages.clone().map(|page| (*at, page)));
        let mut later: Vec<Extent> = (0..)
            .zip(pages)
            .map(|(offset, (at, page))| Extent {
                offsets: OffsetRange {
                    base: Offset::new(offset),
                    next: Offset::new(offset + 1),
                },
                location: Location::Segment {
                    bucket: BucketId::default(),
                    segment: segment(at),
                    position: page * PAGE,
                    length: PAGE,
                },
                crc32c: None,
                max_timestamp: Timestamp::NONE,
            })
            .collect();
        if let Some(last) = later.last_mut().filter(|_| ends) {
            last.offsets.next = Offset::new(END);
        }
        let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0));
        Ok(Plan {
            wanted: FetchPartition {
                partition,
                offset: Offset::ZERO,
                bytes_max: 1,
            },
            bounds: PartitionBounds {
                high_watermark: Offset::new(END),
                ..PartitionBounds::default()
            },
            isolation: Isolation::Uncommitted,
            extents: Vec::new(),
            later,
            bytes_max: 1,
            pool: Pool::CatchUp,
        })
    }

    fn ahead(plans: &[Planned], stints: &[u64], waits: &[u32], window: usize) -> Vec<(u64, u32)> {
        let turns = Turns {
            stints: stints.to_vec(),
            waits: waits.to_vec(),
            ..Turns::default()
        };
        let pages = pages_ahead(plans, &turns, &HashSet::new(), window);
        let pages = pages.into_iter();
        let of = |(key, _): (PageKey, Pool)| (key.segment.sequence.get(), key.page);
        pages.map(of).collect()
    }

    #[test]
    fn side_by_side_segments_come_in_order_up_to_where_nobody_knows() {
        let plans = [
            plan(&[(3, 0..2), (4, 0..2)], false),
            plan(&[(1, 0..2), (3, 4..5)], false),
            plan(&[(2, 0..1)], true),
        ];
        let all = [(1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 4)];
        assert_eq!(ahead(&plans, &[0; 3], &[0; 3], 12), all);
        assert_eq!(ahead(&plans, &[0; 3], &[0; 3], 2), all[..2]);
        // What is less sure gets half of the window.
        let more = [&all[..], &[(4, 0), (4, 1)]].concat();
        assert_eq!(ahead(&plans, &[0; 3], &[0; 3], 14), more[..7]);
        // Of the second nobody knows how much of the first segment it has.
        let plans = [plan(&[(1, 8..9)], true), plan(&[(1, 0..2)], false)];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 4), [(1, 0), (1, 1)]);
    }

    #[test]
    fn whoever_is_served_now_is_likely_to_go_on() {
        let far = |at: u64| {
            let mut planned = plan(&[(at, 3..5)], false);
            if let Ok(plan) = &mut planned {
                plan.extents = plan.later.clone();
            }
            planned
        };
        let plans = [plan(&[(1, 0..1)], false), far(50), far(70), far(90)];
        let pages = ahead(&plans, &[0; 4], &[0, 1, 9, 3], 6);
        assert_eq!(pages, [(1, 0), (50, 3), (50, 4), (70, 3), (90, 3)]);
    }

    #[test]
    fn far_apart_whose_turn_it_is_comes_first_up_to_the_end_of_its_segment() {
        let far = |at: u64| [(at, 3..5), (at + 1, 0..9)];
        let plans = [
            plan(&[(1, 0..1)], false),
            plan(&far(50), false),
            plan(&far(70), false),
            plan(&far(90), false),
        ];
        let pages = ahead(&plans, &[0, 0, 7, 0], &[0, 4, 0, 9], 99);
        let turns = [(70, 3), (70, 4), (90, 3), (90, 4), (50, 3), (50, 4)];
        assert_eq!(pages, [&[(1, 0)][..], &turns].concat());
    }

    #[test]
    fn those_at_the_tail_get_theirs_if_they_get_anything() {
        let tail = |is_served: bool| {
            let mut planned = plan(&[(9, 0..1)], true);
            if let Ok(plan) = &mut planned {
                plan.pool = Pool::Tail;
                let first = plan.later.first().cloned();
                plan.extents.extend(first.filter(|_| is_served));
            }
            planned
        };
        let plans = [plan(&[(1, 0..3)], false), tail(false)];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 2), [(1, 0), (1, 1)]);
        let plans = [plan(&[(1, 0..3)], false), tail(true)];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 2), [(9, 0), (1, 0)]);
    }
}
