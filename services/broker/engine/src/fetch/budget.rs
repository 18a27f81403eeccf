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
use std::collections::BinaryHeap;

use tidelog_cache::Pool;
use tidelog_format::location::Location;
use tidelog_types::SegmentName;

use super::plan::{Plan, Planned};
use super::reads::answer_bytes;

/// Partitions catch up side by side when their segments are no farther apart.
const HERD_SEGMENTS: u64 = 8;

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
    let (plans, stints): (Vec<&mut Plan>, Vec<&mut u64>) = both
        .filter_map(|(plan, stint)| Some((plan.as_mut().ok()?, stint)))
        .unzip();
    let shares = vec![Share::default(); plans.len()];
    let mut spending = Spending {
        plans,
        shares,
        stints,
        waits,
        total: 0,
        bytes_max,
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
    spending.cut()
}

impl Spending<'_> {
    /// Where the next extent of a partition lies; `None` if it may have no more.
    fn next_segment(&self, at: usize) -> Option<SegmentName> {
        let share = self.shares[at];
        let plan = &self.plans[at];
        let next = plan.extents.get(share.extents);
        let extent = next.filter(|_| share.bytes < plan.bytes_max)?;
        Some(match extent.location {
            Location::Segment { segment, .. } => segment,
            // What lies in no segment needs no page, so it need not wait for others.
            Location::Inline { .. } | Location::Marker(_) => SegmentName::default(),
        })
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
    fn is_in_herd(&self, at: usize, oldest: SegmentName) -> bool {
        let next = self.next_segment(at);
        self.plans[at].pool == Pool::CatchUp
            && next.is_some_and(|next| {
                next.incarnation == oldest.incarnation
                    && next.sequence.get() - oldest.sequence.get() <= HERD_SEGMENTS
            })
    }

    /// Spends up to so much in all on partitions outside of the herd.
    fn in_rotation(&mut self, first: usize, tail_first: bool, up_to: u64) {
        let count = self.plans.len();
        let nexts = (0..count).filter_map(|at| self.next_segment(at));
        let oldest = nexts.min().unwrap_or_default();
        let (mut tails, mut catching_up) = (Vec::new(), Vec::new());
        for at in (0..count).map(|step| first.wrapping_add(step) % count) {
            if self.is_in_herd(at, oldest) {
                *self.stints[at] = 0;
            } else if self.plans[at].pool == Pool::CatchUp {
                catching_up.push(at);
            } else {
                tails.push(at);
            }
        }
        // Who has its turn, and then who has waited for longest.
        catching_up.sort_by_key(|at| Reverse((*self.stints[*at] > 0, self.waits[*at])));
        let order = if tail_first {
            [tails, catching_up]
        } else {
            [catching_up, tails]
        };
        for at in order.concat() {
            if self.total >= up_to {
                return;
            }
            if self.next_segment(at).is_none() || !self.has_room(at) {
                continue;
            }
            if self.plans[at].pool == Pool::CatchUp {
                self.go_on(at, up_to);
            } else {
                self.take(at);
            }
        }
    }

    /// The turn of who catches up: it is over with the segment.
    fn go_on(&mut self, at: usize, up_to: u64) {
        let begun = self.shares[at].bytes;
        let segment = self.next_segment(at);
        let is_there = |this: &Self| segment.is_some() && this.next_segment(at) == segment;
        while self.total < up_to && is_there(self) && self.has_room(at) {
            self.take(at);
        }
        let stint = *self.stints[at] + self.shares[at].bytes - begun;
        let is_over = self.next_segment(at) != segment || stint >= STINT_BYTES;
        *self.stints[at] = if is_over { 0 } else { stint };
    }

    fn oldest_first(&mut self, up_to: u64) {
        let nexts = (0..self.plans.len())
            .filter_map(|at| self.next_segment(at).map(|segment| Reverse((segment, at))));
        let mut nexts: BinaryHeap<Reverse<(SegmentName, usize)>> = nexts.collect();
        while self.total < up_to {
            let next = nexts.pop().filter(|Reverse((_, at))| self.has_room(*at));
            let Some(Reverse((_, at))) = next else {
                return;
            };
            self.take(at);
            nexts.extend(self.next_segment(at).map(|segment| Reverse((segment, at))));
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
mod tests {
    use tidelog_metadata_api::{Extent, PartitionBounds};
    use tidelog_types::{
        BucketId, Incarnation, Offset, OffsetRange, PartitionIndex, SegmentSequence, Timestamp,
        TopicNumber, TopicPartition,
    };

    use super::*;
    use crate::fetch::{FetchPartition, Isolation};

    /// Extents by (sequence of their segment, length).
    #[expect(
        clippy::unnecessary_wraps,
        reason = "plans are results where they are spent"
    )]
    fn plan(index: u32, extents: &[(u64, u32)]) -> Planned {
        let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index));
        let extents = extents.iter().map(|(sequence, length)| Extent {
            offsets: OffsetRange::default(),
            location: Location::Segment {
                bucket: BucketId::default(),
                segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(*sequence)),
                position: 0,
                length: *length,
            },
            crc32c: None,
            max_timestamp: Timestamp::NONE,
        });
        let offset = Offset::ZERO;
        let bytes_max = 1_000;
        Ok(Plan {
            wanted: FetchPartition {
                partition,
                offset,
                bytes_max,
            },
            bounds: PartitionBounds::default(),
            isolation: Isolation::Uncommitted,
            extents: extents.collect(),
            later: Vec::new(),
            bytes_max,
            pool: Pool::Tail,
        })
    }

    fn at_turn(plans: &mut [Planned], bytes_max: u64, first: usize) -> u64 {
        let mut turns = Turns {
            first,
            ..Turns::default()
        };
        spend(plans, bytes_max, &mut turns)
    }

    fn shares(plans: &[Planned]) -> Vec<(usize, u64)> {
        let plans = plans.iter().flatten();
        plans
            .map(|plan| (plan.extents.len(), plan.bytes_max))
            .collect()
    }

    #[test]
    fn each_gets_an_extent_in_turn_and_the_rest_goes_to_the_oldest_segments() {
        let near = [(9, 100); 8];
        let far = [(1, 100), (1, 100), (2, 100), (9, 100)];
        let mut plans = vec![plan(0, &near), plan(1, &far), plan(2, &[(5, 100)])];
        assert_eq!(at_turn(&mut plans, 600, 0), 600);
        assert_eq!(shares(&plans), [(2, 200), (3, 300), (1, 100)]);
    }

    #[test]
    fn a_partition_far_behind_leaves_the_others_their_turn() {
        let mut served = [0; 3];
        for turn in 0..3 {
            let far = [(1, 100); 50];
            let mut plans = vec![plan(0, &far), plan(1, &[(9, 100)]), plan(2, &[(9, 100)])];
            at_turn(&mut plans, 200, turn);
            for (served, (extents, _)) in served.iter_mut().zip(shares(&plans)) {
                *served += extents;
            }
        }
        assert!(served[1] > 0 && served[2] > 0, "{served:?}");
    }

    #[test]
    fn partitions_that_catch_up_side_by_side_go_on_together_and_leave_the_others_their_turn() {
        let catches_up = |index, extents: &[(u64, u32)]| {
            let mut plan = plan(index, extents);
            plan.as_mut().unwrap().pool = Pool::CatchUp;
            plan
        };
        for turn in 0..4 {
            let slices = [(1, 100), (2, 100), (3, 100)];
            let far = [(50, 100); 3];
            let mut plans = vec![
                catches_up(0, &slices),
                catches_up(1, &slices[1..]),
                catches_up(2, &slices),
                catches_up(3, &far),
            ];
            at_turn(&mut plans, 400, turn);
            assert_eq!(
                shares(&plans),
                [(1, 100), (0, 0), (1, 100), (2, 200)],
                "at turn {turn}"
            );
        }
    }

    #[test]
    fn the_turn_decides_who_comes_first_when_there_is_too_little() {
        for turn in 0..3 {
            let one = [(1, 100)];
            let mut plans = vec![plan(0, &one), plan(1, &one), plan(2, &one)];
            at_turn(&mut plans, 50, turn);
            let got: Vec<usize> = shares(&plans).iter().map(|(extents, _)| *extents).collect();
            assert_eq!(got[turn], 1);
        }
    }

    #[test]
    fn a_first_extent_counts_whole_however_little_is_asked_of_its_partition() {
        let mut plans: Vec<Planned> = (0..100).map(|index| plan(index, &[(1, 100)])).collect();
        for plan in plans.iter_mut().flatten() {
            plan.bytes_max = 1;
        }
        assert_eq!(at_turn(&mut plans, 1_000, 0), 1_000);
        let read = shares(&plans)
            .iter()
            .filter(|(extents, _)| *extents > 0)
            .count();
        assert_eq!(read, 10);
    }

    #[test]
    fn a_partition_takes_no_more_than_its_own_limit() {
        let mut plans = vec![plan(0, &[(1, 600); 3])];
        assert_eq!(at_turn(&mut plans, 10_000, 0), 1_000);
        assert_eq!(shares(&plans), [(2, 1_000)]);
    }

    /// One of each fetch is far ahead of the others: which has got how many extents.
    #[test]
    fn who_catches_up_far_from_the_others_keeps_its_turn_while_it_is_in_one_segment() {
        let catches_up = |index, extents: &[(u64, u32)]| {
            let mut plan = plan(index, extents);
            plan.as_mut().unwrap().pool = Pool::CatchUp;
            plan
        };
        let mut logs: Vec<Vec<(u64, u32)>> = vec![vec![(1, 100); 20]];
        logs.extend([20, 40, 60].map(|segment| {
            let mut log = vec![(segment, 100); 4];
            log.extend([(segment + 1, 100); 4]);
            log
        }));
        let mut turns = Turns::default();
        let mut order = Vec::new();
        for fetch in 0..24 {
            let plans = (0..).zip(&logs).map(|(index, log)| catches_up(index, log));
            let mut plans: Vec<Planned> = plans.collect();
            turns.first = fetch;
            turns.oldest_first = fetch % 2 == 1;
            spend(&mut plans, 100, &mut turns);
            for (at, (extents, _)) in shares(&plans).into_iter().enumerate() {
                turns.waits[at] = if extents > 0 { 0 } else { turns.waits[at] + 1 };
                for (segment, _) in logs[at].drain(..extents) {
                    order.push(segment);
                }
            }
        }
        let far: Vec<u64> = order
            .iter()
            .copied()
            .filter(|segment| *segment > 1)
            .collect();
        assert_eq!(far.len(), 12, "half of them: {order:?}");
        let mut visits = far.clone();
        visits.dedup();
        assert_eq!(visits.len(), 3, "each segment at once: {far:?}");
        assert_eq!(order.len(), 24);
    }

    #[test]
    fn a_turn_is_over_some_time_and_leaves_those_at_the_tail_theirs() {
        let mut far = plan(0, &[(90, 16 << 20); 9]);
        far.as_mut().unwrap().pool = Pool::CatchUp;
        far.as_mut().unwrap().bytes_max = u64::MAX;
        let mut other = plan(1, &[(1, 100)]);
        other.as_mut().unwrap().pool = Pool::CatchUp;
        let mut plans = vec![far, other, plan(2, &[(99, 100); 3])];
        let mut turns = Turns::default();
        spend(&mut plans, 256 << 20, &mut turns);
        assert_eq!(turns.stints, [0, 0, 0], "it is over");
        assert_eq!(shares(&plans)[2].0, 3);
    }

    /// Whatever is asked for, and wherever partitions are: each gets on.
    #[test]
    fn nobody_starves_however_large_the_budget_is() {
        const MIB: u32 = 1 << 20;
        for (count, budget) in [(4, 1), (4, 4), (6, 1), (6, 4), (12, 2), (3, 16)] {
            let mut got = vec![0_usize; count];
            let mut turns = Turns::default();
            for fetch in 0..2_000_usize {
                let plans = got.iter().zip(0_u64..).map(|(got, index)| {
                    let is_tail = index + 1 == count as u64;
                    // Each in segments of its own, of 48 extents; the first two side by side.
                    let segment = |extent: usize| index.max(1) * 100_000 + extent as u64 / 48;
                    let extents = *got..got + 64;
                    let extents: Vec<_> = extents.map(|at| (segment(at), MIB)).collect();
                    let shown = if is_tail { 1 } else { extents.len() };
                    let index = u32::try_from(index).expect("few");
                    let mut plan = plan(index, &extents[..shown]);
                    let inner = plan.as_mut().unwrap();
                    inner.bytes_max = u64::from(MIB) * budget;
                    if !is_tail {
                        inner.pool = Pool::CatchUp;
                    }
                    plan
                });
                let mut plans: Vec<Planned> = plans.collect();
                (turns.first, turns.oldest_first) = (fetch, fetch % 2 == 1);
                turns.tail_first = fetch / 2 % 2 == 1;
                spend(&mut plans, u64::from(MIB) * budget, &mut turns);
                for (at, (extents, _)) in shares(&plans).into_iter().enumerate() {
                    turns.waits[at] = if extents > 0 { 0 } else { turns.waits[at] + 1 };
                    got[at] += extents;
                }
            }
            let least = got.iter().min().expect("some");
            assert!(*least >= 2_000 / 4 / count, "{count} {budget}: {got:?}");
        }
    }
}
