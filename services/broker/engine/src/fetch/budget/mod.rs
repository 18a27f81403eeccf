//! Spends the byte budget of a fetch over its partitions.
//!
//! Half of it in rotation, so that none starves. The rest goes to whatever lies in the oldest segments:
//! a segment holds many partitions, and partitions that are read side by side need each page once. Those
//! that catch up side by side already stay so: they have no turns, but go from segment to segment together.
//!
//! Who catches up far from the others keeps its turn for as long as it reads one segment: where segments are merged, its
//! records lie side by side there, and each page that it would leave half read would be fetched again. Then it is the turn of
//! who has got nothing for longest. Those at the tail want little: every other time they come first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use tidelog_cache::Pool;
use tidelog_format::location::Location;
use tidelog_metadata_api::Extent;
use tidelog_types::SegmentName;

use super::plan::{Plan, Planned};
use super::reads::answer_bytes;

/// Partitions catch up side by side when their segments are no farther apart: those of two windows that were merged. Who is
/// farther away has turns. Their order depends on what a reader had before, so several readers of one history part ways there.
const HERD_SEGMENTS: u64 = 32;

/// Bytes after which the turn of who catches up is over, however much it has in a segment.
const STINT_BYTES: u64 = 64 * 1024 * 1024;

/// Whose turn it is in a fetch.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// The partition that comes first in the rotation.
    pub(super) first: usize,
    /// Whether the oldest segments have the first half this time: of a small budget one of the two gets all.
    pub(super) oldest_first: bool,
    /// Whether in the rotation those at the tail come before those who catch up.
    pub(super) tail_first: bool,
    /// For how many fetches each partition has got nothing.
    pub(super) waits: Vec<u32>,
    /// Bytes that each partition has got in its turn, as long as it has it: in, and out.
    pub(super) stints: Vec<u64>,
    /// Who comes first of those that get nothing now and catch up: out.
    pub(super) next: Option<usize>,
}

/// What a partition has got so far.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    extents: usize,
    bytes: u64,
}

/// The plans and their shares.
struct Spending<'a> {
    plans: Vec<&'a mut Plan>,
    shares: Vec<Share>,
    stints: Vec<&'a mut u64>,
    waits: Vec<u32>,
    total: u64,
    bytes_max: u64,
    /// Where the one that is farthest behind begins, of those that catch up.
    oldest: Option<SegmentName>,
}

/// Whether who reads a segment catches up beside who reads an older one.
pub(super) fn are_beside(oldest: SegmentName, other: SegmentName) -> bool {
    other.incarnation == oldest.incarnation
        && other.sequence.get().saturating_sub(oldest.sequence.get()) <= HERD_SEGMENTS
}

/// Where an extent lies, and its first byte there. What lies in no segment needs no page, so it need not wait for others.
pub(super) fn place_of(extent: &Extent) -> Place {
    match extent.location {
        Location::Segment {
            segment, position, ..
        } => (segment, position),
        Location::Inline { .. } | Location::Marker(_) => (SegmentName::default(), 0),
    }
}

/// The first segment that some extents need.
pub(super) fn first_segment(extents: &[Extent]) -> Option<SegmentName> {
    let mut segments = extents.iter().filter_map(|extent| match extent.location {
        Location::Segment { segment, .. } => Some(segment),
        Location::Inline { .. } | Location::Marker(_) => None,
    });
    segments.next()
}

/// A segment and a byte of it.
pub(super) type Place = (SegmentName, u32);

/// Somebody who catches up far from the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) at: usize,
    /// Where it goes on.
    pub(super) place: Place,
    pub(super) has_turn: bool,
    /// For how many fetches it has got nothing.
    pub(super) waits: u32,
}

/// Who comes first: who has its turn, and then who has waited for longest. Those who go on in the same segment come one
/// after the other as they lie there, since a page has the end of one and the beginning of the next.
pub(super) fn in_order(mut waiting: Vec<Waiting>) -> Vec<usize> {
    let rank = |one: &Waiting| (Reverse(one.has_turn), one.place.1);
    waiting.sort_by_key(rank);
    // They wait together, as the first of them does: if the others counted, a segment of many would have its turn anew with
    // each of them, and who goes on elsewhere would wait for all.
    let mut first: HashMap<SegmentName, (bool, u32)> = HashMap::new();
    for one in &waiting {
        let segment = one.place.0;
        first.entry(segment).or_insert((one.has_turn, one.waits));
    }
    waiting.sort_by_key(|one| {
        let segment = one.place.0;
        (Reverse(first.get(&segment).copied()), segment, rank(one))
    });
    waiting.into_iter().map(|one| one.at).collect()
}

/// Cuts each plan down to its share of `bytes_max`; what it has no room for is for later. In the half that
/// rotates, the partition whose turn it is comes first, and each takes one extent. Returns the bytes planned
/// in all.
///
/// Whoever comes first gets at least one extent, so that a reader always gets on.
pub(super) fn spend(plans: &mut [Planned], bytes_max: u64, turns: &mut Turns) -> u64 {
    turns.stints.resize(plans.len(), 0);
    turns.waits.resize(plans.len(), 0);
    let waits = plans.iter().zip(&turns.waits);
    let waits = waits.filter(|(plan, _)| plan.is_ok());
    let waits = waits.map(|(_, waits)| *waits).collect();
    let both = plans.iter_mut().zip(&mut turns.stints);
    let (readable, stints): (Vec<&mut Plan>, Vec<&mut u64>) = both
        .filter_map(|(plan, stint)| Some((plan.as_mut().ok()?, stint)))
        .unzip();
    let shares = vec![Share::default(); readable.len()];
    let catch_up = readable.iter().filter(|plan| plan.pool == Pool::CatchUp);
    let oldest = catch_up.filter_map(|plan| first_segment(&plan.extents));
    let oldest = oldest.min();
    let mut spending = Spending {
        plans: readable,
        shares,
        stints,
        waits,
        total: 0,
        bytes_max,
        oldest,
    };
    let (first, tail_first) = (turns.first, turns.tail_first);
    let half = bytes_max.div_ceil(2);
    if turns.oldest_first {
        spending.oldest_first(half);
        spending.in_rotation(first, tail_first, bytes_max);
    } else {
        spending.in_rotation(first, tail_first, half);
    }
    spending.oldest_first(bytes_max);
    let total = spending.cut();
    turns.next = comes_next(plans, oldest, turns);
    total
}

/// Who goes on first of those that get nothing now and catch up: beside the others in the oldest segment, or by its turn.
fn comes_next(plans: &[Planned], oldest: Option<SegmentName>, turns: &Turns) -> Option<usize> {
    let oldest = oldest?;
    let known = plans.iter().enumerate();
    let known = known.filter_map(|(at, plan)| Some((at, plan.as_ref().ok()?)));
    let waiting = known.filter(|(_, plan)| plan.pool == Pool::CatchUp && plan.extents.is_empty());
    let waiting = waiting.filter_map(|(at, plan)| {
        let in_segment = |extent: &&Extent| matches!(extent.location, Location::Segment { .. });
        Some(Waiting {
            at,
            place: place_of(plan.later.iter().find(in_segment)?),
            has_turn: turns.stints.get(at).is_some_and(|stint| *stint > 0),
            waits: turns.waits.get(at).copied().unwrap_or_default(),
        })
    });
    let waiting: Vec<Waiting> = waiting.collect();
    let beside = waiting.iter().filter(|one| are_beside(oldest, one.place.0));
    let first = beside.min_by_key(|one| one.place).map(|one| one.at);
    first.or_else(|| in_order(waiting).first().copied())
}

impl Spending<'_> {
    fn next_segment(&self, at: usize) -> Option<SegmentName> {
        self.next_place(at).map(|(segment, _)| segment)
    }

    /// Where the next extent of a partition lies; `None` if it may have no more.
    fn next_place(&self, at: usize) -> Option<Place> {
        let share = self.shares[at];
        let plan = &self.plans[at];
        let next = plan.extents.get(share.extents);
        let extent = next.filter(|_| share.bytes < plan.bytes_max)?;
        Some(place_of(extent))
    }

    /// Whether the next extent of a partition has room as a whole, or comes first. Who has got a part of an extent asks the log
    /// where the rest is.
    fn has_room(&self, at: usize) -> bool {
        let share = self.shares[at];
        let next = self.plans[at].extents.get(share.extents);
        let left = self.bytes_max.saturating_sub(self.total);
        self.total == 0 || next.is_some_and(|extent| answer_bytes(extent) <= left)
    }

    /// Gives a partition its next extent, or what fits of it: batches of it are taken while they fit, but
    /// the first in any case. So the first extent counts as what it may bring, not as what the partition
    /// asked for.
    fn take(&mut self, at: usize) {
        let plan = &self.plans[at];
        let share = &mut self.shares[at];
        let Some(extent) = plan.extents.get(share.extents) else {
            return;
        };
        let cost = answer_bytes(extent).min(self.bytes_max - self.total);
        let bytes = cost.min(plan.bytes_max - share.bytes);
        self.total += if share.extents == 0 { cost } else { bytes };
        share.extents += 1;
        share.bytes += bytes;
    }

    /// Whether a partition catches up beside the one that is farthest behind.
    fn is_in_herd(&self, at: usize) -> bool {
        let plan = &self.plans[at];
        let left = plan.extents.get(self.shares[at].extents..);
        let both = self.oldest.zip(left.and_then(first_segment));
        plan.pool == Pool::CatchUp && both.is_some_and(|(oldest, next)| are_beside(oldest, next))
    }

    /// Spends up to so much in all on partitions outside of the herd.
    fn in_rotation(&mut self, first: usize, tail_first: bool, up_to: u64) {
        let count = self.plans.len();
        let (mut tails, mut catching_up) = (Vec::new(), Vec::new());
        for at in (0..count).map(|step| first.wrapping_add(step) % count) {
            if self.is_in_herd(at) {
                *self.stints[at] = 0;
            } else if self.plans[at].pool == Pool::CatchUp {
                catching_up.extend(self.waiting(at));
            } else {
                tails.push(at);
            }
        }
        let catching_up = in_order(catching_up);
        let order = if tail_first {
            [tails, catching_up]
        } else {
            [catching_up, tails]
        };
        let order = order.concat();
        for at in order.iter().copied() {
            if self.total >= up_to {
                return;
            }
            if self.next_segment(at).is_none() || !self.has_room(at) {
                continue;
            }
            if self.plans[at].pool == Pool::CatchUp {
                self.go_on(at, up_to, &order[..]);
            } else {
                self.take(at);
            }
        }
    }

    /// The segment in which a partition goes on, whatever it may have now. Where nobody knows, it is the one that it is in.
    fn goes_on_in(&self, at: usize) -> Option<SegmentName> {
        let plan = &self.plans[at];
        let next = plan.extents.get(self.shares[at].extents);
        let last = plan.extents.last();
        let last = last.filter(|last| last.offsets.next < plan.bounds.high_watermark);
        next.or(last).map(|extent| place_of(extent).0)
    }

    fn waiting(&self, at: usize) -> Option<Waiting> {
        Some(Waiting {
            at,
            place: self.next_place(at)?,
            has_turn: *self.stints[at] > 0,
            waits: self.waits[at],
        })
    }

    /// The turn of who catches up: it is over with the segment. If somebody else goes on in that one, it is its turn next.
    fn go_on(&mut self, at: usize, up_to: u64, others: &[usize]) {
        let begun = self.shares[at].bytes;
        let segment = self.next_segment(at);
        let is_there = |this: &Self| segment.is_some() && this.next_segment(at) == segment;
        while self.total < up_to && is_there(self) && self.has_room(at) {
            self.take(at);
        }
        let stint = *self.stints[at] + self.shares[at].bytes - begun;
        let has_left = self.goes_on_in(at) != segment;
        let is_over = has_left || stint >= STINT_BYTES;
        *self.stints[at] = if is_over { 0 } else { stint };
        if !has_left || stint >= STINT_BYTES {
            return;
        }
        let others = others.iter().copied();
        let others = others.filter(|at| self.plans[*at].pool == Pool::CatchUp);
        let there = others.filter(|at| segment.is_some() && self.next_segment(*at) == segment);
        if let Some(next) = there.min_by_key(|at| self.next_place(*at)) {
            *self.stints[next] = stint.max(1);
        }
    }

    fn oldest_first(&mut self, up_to: u64) {
        let nexts = (0..self.plans.len())
            .filter_map(|at| self.next_place(at).map(|place| Reverse((place, at))));
        let mut nexts: BinaryHeap<Reverse<(Place, usize)>> = nexts.collect();
        while self.total < up_to {
            let next = nexts.pop().filter(|Reverse((_, at))| self.has_room(*at));
            let Some(Reverse((_, at))) = next else {
                return;
            };
            self.take(at);
            nexts.extend(self.next_place(at).map(|place| Reverse((place, at))));
        }
    }

    fn cut(self) -> u64 {
        for (plan, share) in self.plans.into_iter().zip(self.shares) {
            plan.later = plan.extents.split_off(share.extents);
            plan.bytes_max = share.bytes;
        }
        self.total
    }
}

#[cfg(test)]
mod tests;
