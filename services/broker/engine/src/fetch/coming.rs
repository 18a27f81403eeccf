//! Which pages a reader will come to next, in the order in which it will read them.
//!
//! ```text
//!   side by side     [1: a a b] [2: c c ?]                 the oldest segments first, whoever has something there
//!   far apart        [50: d d d] then [70: e ?]            who has its turn, up to the end of its segment, then the next one
//! ```
//!
//! Beyond the first place of which nobody knows how much is read from there on, little is told: what lies behind it may come so
//! late that its pages would go before, and take the place of others until then. But whoever is served now is likely to go on:
//! who is far from the others wherever that is, and who is beside them as long as it is in the same segment. Those of the next
//! one may lie far behind what the others have to read.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use tidelog_cache::{PageKey, Pool};
use tidelog_metadata_api::Extent;
use tidelog_types::SegmentName;

use super::budget::{Turns, Waiting, are_beside, first_segment, in_order, place_of};
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
    /// Whether what is there for later is all that is left of its log.
    fn has_all(&self) -> bool {
        let last = self.plan.later.last().or(self.plan.extents.last());
        last.is_some_and(|last| last.offsets.next >= self.plan.bounds.high_watermark)
    }

    /// What is to be read of the segment that it is in, and whether that is all that it has there.
    fn segment(&self) -> Option<(&[Extent], bool)> {
        let later = &self.plan.later;
        let same = |one: &Extent, next: &Extent| segment_of(one) == segment_of(next);
        let first = later.chunk_by(same).next()?;
        Some((first, first.len() < later.len() || self.has_all()))
    }

    /// Where it goes on, at the earliest; `None` for what lies in no segment, which needs no page.
    fn next(&self) -> Option<SegmentName> {
        let last = self.plan.extents.last().filter(|_| !self.has_all());
        let last = last.and_then(|last| first_segment(std::slice::from_ref(last)));
        first_segment(&self.plan.later).or(last)
    }

    /// The first page that is new of who is served now; or of the segment that it is in, where others are beside it.
    fn next_page(&self, is_new: &impl Fn(&PageKey) -> bool, in_segment: bool) -> Option<PageKey> {
        let now = segment_of(self.plan.extents.last()?);
        let later = self.plan.later.iter();
        let later = later.take_while(|extent| !in_segment || segment_of(extent) == now);
        later.flat_map(pages_of).find(is_new)
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
    // Of who gets nothing now nothing is fetched: it would wait in the place of what is read before it.
    let tails = tails.into_iter().map(|(plan, _)| plan);
    let tails = tails.filter(|plan| !plan.extents.is_empty());
    let at_tail = tails.flat_map(|plan| plan.later.iter().flat_map(pages_of));
    let at_tail: BTreeSet<PageKey> = at_tail.collect();
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
    let is_new = |page: &PageKey| !now.contains(page);
    // Each page once: those who take turns have as many pages each.
    let new = |pages: Vec<PageKey>, pool| -> Vec<(PageKey, Pool)> {
        let mut seen = HashSet::new();
        let pages = pages.into_iter();
        let pages = pages.filter(|page| is_new(page) && seen.insert(*page));
        pages.map(|page| (page, pool)).collect()
    };
    let next = together
        .iter()
        .filter_map(|one| one.next_page(&is_new, true));
    let next = next.chain(alone.iter().filter_map(|one| one.next_page(&is_new, false)));
    let next = new(next.collect(), Pool::CatchUp);
    let tails = new(at_tail.into_iter().collect(), Pool::Tail);
    let near = new(near, Pool::CatchUp);
    let far = new(in_turn(&alone), Pool::CatchUp);
    let mut ahead = Ahead::default();
    ahead.add(by_turns(&[tails, near, far]), window);
    ahead.add(new(less_sure, Pool::CatchUp), window / 2);
    ahead.add(next, window);
    ahead.pages
}

/// Pages in the order in which they are fetched, each once.
#[derive(Default)]
struct Ahead {
    seen: HashSet<PageKey>,
    pages: Vec<(PageKey, Pool)>,
}

impl Ahead {
    /// Adds pages until there are so many in all.
    fn add(&mut self, pages: Vec<(PageKey, Pool)>, most: usize) {
        for (page, pool) in pages {
            if self.pages.len() >= most {
                return;
            }
            if self.seen.insert(page) {
                self.pages.push((page, pool));
            }
        }
    }
}

/// Of those that catch up side by side: the oldest segments first, as they are spent on, up to where that is known, and what
/// is known behind it. Each goes through its own log in order, whatever the names of the segments are: those of several
/// writers say nothing of what is older.
fn side_by_side(together: &[Coming<'_>]) -> (Vec<PageKey>, Vec<PageKey>) {
    let (mut sure, mut less_sure) = (Vec::new(), Vec::new());
    let place = |at: usize, number: usize| {
        let extent = together.get(at)?.plan.later.get(number)?;
        Some(Reverse((place_of(extent), at, number)))
    };
    let heads = (0..together.len()).filter_map(|at| place(at, 0));
    let mut heads: BinaryHeap<_> = heads.collect();
    // Nobody knows what those go on with of which nothing is there for later, but that it comes behind what they have.
    let unknown = together.iter();
    let unknown = unknown.filter(|one| one.plan.later.is_empty() && !one.has_all());
    let end = unknown.filter_map(|one| one.plan.extents.last().map(place_of));
    let end = end.min();
    let mut is_known = true;
    while let Some(Reverse((next, at, number))) = heads.pop() {
        is_known &= end.is_none_or(|end| next <= end);
        let Some(one) = together.get(at) else {
            continue;
        };
        let extent = one.plan.later.get(number);
        let pages = extent.into_iter().flat_map(pages_of);
        if is_known {
            sure.extend(pages);
        } else {
            less_sure.extend(pages);
        }
        let next = place(at, number + 1);
        is_known &= next.is_some() || one.has_all();
        heads.extend(next);
    }
    (sure, less_sure)
}

/// Of those that catch up each by itself: who has its turn, and then who has waited for longest, each up to the end of the
/// segment that it is in.
fn in_turn(alone: &[Coming<'_>]) -> Vec<PageKey> {
    let waiting = (0..).zip(alone).filter_map(|(at, one)| one.waiting(at));
    let order = in_order(waiting.collect());
    let mut coming = Vec::new();
    for one in order.into_iter().filter_map(|at| alone.get(at)) {
        let Some((extents, is_all)) = one.segment() else {
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

/// One of each in turn.
fn by_turns<T: Copy, const N: usize>(lists: &[Vec<T>; N]) -> Vec<T> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let all = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at)));
    all.copied().collect()
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

    /// A partition goes through its log in order, also where its segments are of several writers.
    #[test]
    fn segments_of_several_writers_come_as_they_are_read() {
        let written_by = |writers: &[u64], sequence: u64| {
            let pages: Vec<_> = writers.iter().map(|_| (sequence, 0..1)).collect();
            let mut planned = plan(&pages, false);
            if let Ok(plan) = &mut planned {
                for (extent, writer) in plan.later.iter_mut().zip(writers) {
                    if let Location::Segment { segment, .. } = &mut extent.location {
                        segment.incarnation = Incarnation::new(*writer);
                    }
                }
            }
            planned
        };
        let plans = [written_by(&[1, 2, 3, 1, 2, 3], 7)];
        let turns = Turns {
            stints: vec![0],
            waits: vec![0],
            ..Turns::default()
        };
        let pages = pages_ahead(&plans, &turns, &HashSet::new(), 12);
        let writers = pages.iter().map(|(page, _)| page.segment.incarnation.get());
        // The second time each page is there already.
        assert_eq!(writers.collect::<Vec<_>>(), [1, 2, 3]);
        let plans = [written_by(&[3, 1, 2], 7)];
        let pages = pages_ahead(&plans, &turns, &HashSet::new(), 12);
        let writers = pages.iter().map(|(page, _)| page.segment.incarnation.get());
        assert_eq!(writers.collect::<Vec<_>>(), [3, 1, 2]);
    }

    /// Of the second nobody knows where its next segment is, but that it comes behind the last one.
    #[test]
    fn behind_one_of_which_nothing_is_known_little_is_told() {
        let mut unknown = plan(&[(1, 0..1)], false);
        if let Ok(plan) = &mut unknown {
            plan.extents = std::mem::take(&mut plan.later);
        }
        let mut plans = [plan(&[(2, 0..8)], true), unknown];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 4), [(2, 0), (2, 1)]);
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 1), []);
        // Nothing is left of it, so nobody waits for it, or is far from it.
        if let Ok(ended) = &mut plans[1] {
            ended.bounds.high_watermark = Offset::new(1);
        }
        let all = [(2, 0), (2, 1), (2, 2), (2, 3)];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 4), all);
        let before = plan(&[(1, 0..1), (1, 4..5), (2, 1..3)], true);
        let mut unknown = plan(&[(1, 4..5)], false);
        if let Ok(plan) = &mut unknown {
            plan.extents = std::mem::take(&mut plan.later);
        }
        let all = [(1, 0), (1, 4), (2, 1)];
        assert_eq!(ahead(&[before, unknown], &[0; 2], &[0; 2], 6), all);
    }

    /// It goes on when those beside it have come there as well.
    #[test]
    fn who_is_served_beside_others_and_comes_to_a_later_segment_waits_for_them() {
        let mut served = plan(&[(1, 3..4), (19, 0..1)], false);
        if let Ok(plan) = &mut served {
            plan.extents = plan.later.drain(..1).collect();
        }
        let plans = [served, plan(&[(2, 0..1)], false)];
        assert_eq!(ahead(&plans, &[0; 2], &[0; 2], 2), [(2, 0)]);
    }

    #[test]
    fn who_is_served_beside_others_is_likely_to_go_on_in_its_segment() {
        let in_segment = |page: u32| {
            let mut planned = plan(&[(1, page..page + 3), (7, 0..1)], false);
            if let Ok(plan) = &mut planned {
                plan.extents = plan.later.drain(..1).collect();
            }
            planned
        };
        let mut unknown = plan(&[(1, 0..1)], false);
        if let Ok(plan) = &mut unknown {
            plan.extents = std::mem::take(&mut plan.later);
        }
        let plans = [unknown, in_segment(10), in_segment(20), in_segment(30)];
        let pages = ahead(&plans, &[0; 4], &[0; 4], 4);
        assert_eq!(pages, [(1, 11), (1, 12), (1, 21), (1, 31)]);
    }

    #[test]
    fn who_is_served_far_from_the_others_is_likely_to_go_on() {
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

    /// Several extents of a page are one turn.
    #[test]
    fn those_who_take_turns_have_as_many_pages_each() {
        let thrice = |at: u64| {
            let pages: Vec<_> = (0..12)
                .map(|number| (at, number / 3..number / 3 + 1))
                .collect();
            plan(&pages, true)
        };
        let plans = [thrice(1), plan(&[(50, 0..9)], true)];
        let pages = ahead(&plans, &[0; 2], &[0; 2], 6);
        assert_eq!(pages, [(1, 0), (50, 0), (1, 1), (50, 1), (1, 2), (50, 2)]);
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
