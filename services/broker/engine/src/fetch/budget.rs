//! Spends the byte budget of a fetch over its partitions.
//!
//! Half of it in rotation, so that none starves. The rest goes to whatever lies in the oldest segments:
//! a segment holds many partitions, and partitions that are read side by side need each page once. Those
//! that catch up side by side already stay so: they have no turns, but go from segment to segment together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidelog_cache::Pool;
use tidelog_format::location::Location;
use tidelog_types::SegmentName;

use super::plan::{Plan, Planned};
use super::reads::answer_bytes;

/// Partitions catch up side by side when their segments are no farther apart.
const HERD_SEGMENTS: u64 = 8;

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
    total: u64,
    bytes_max: u64,
}

/// Cuts each plan down to its share of `bytes_max`; what it has no room for is for later. In the half that
/// rotates, the partition whose turn it is comes first, and each takes one extent. Returns the bytes planned
/// in all.
///
/// Whoever comes first gets at least one extent, so that a reader always gets on.
pub(super) fn spend(plans: &mut [Planned], bytes_max: u64, turn: usize) -> u64 {
    let plans: Vec<&mut Plan> = plans.iter_mut().flatten().collect();
    let shares = vec![Share::default(); plans.len()];
    let mut spending = Spending {
        plans,
        shares,
        total: 0,
        bytes_max,
    };
    spending.in_rotation(turn);
    spending.oldest_first();
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

    fn in_rotation(&mut self, turn: usize) {
        let count = self.plans.len();
        let nexts = (0..count).filter_map(|at| self.next_segment(at));
        let oldest = nexts.min().unwrap_or_default();
        let in_herd: Vec<bool> = (0..count).map(|at| self.is_in_herd(at, oldest)).collect();
        for step in 0..count {
            if self.total >= self.bytes_max.div_ceil(2) {
                return;
            }
            let at = turn.wrapping_add(step) % count;
            if !in_herd[at] && self.next_segment(at).is_some() {
                self.take(at);
            }
        }
    }

    fn oldest_first(&mut self) {
        let nexts = (0..self.plans.len())
            .filter_map(|at| self.next_segment(at).map(|segment| Reverse((segment, at))));
        let mut nexts: BinaryHeap<Reverse<(SegmentName, usize)>> = nexts.collect();
        while self.total < self.bytes_max {
            let Some(Reverse((_, at))) = nexts.pop() else {
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
        assert_eq!(spend(&mut plans, 600, 0), 600);
        assert_eq!(shares(&plans), [(2, 200), (3, 300), (1, 100)]);
    }

    #[test]
    fn a_partition_far_behind_leaves_the_others_their_turn() {
        let mut served = [0; 3];
        for turn in 0..3 {
            let far = [(1, 100); 50];
            let mut plans = vec![plan(0, &far), plan(1, &[(9, 100)]), plan(2, &[(9, 100)])];
            spend(&mut plans, 200, turn);
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
            spend(&mut plans, 400, turn);
            assert_eq!(
                shares(&plans),
                [(2, 100 + 100), (0, 0), (1, 100), (1, 100)],
                "at turn {turn}"
            );
        }
    }

    #[test]
    fn the_turn_decides_who_comes_first_when_there_is_too_little() {
        for turn in 0..3 {
            let one = [(1, 100)];
            let mut plans = vec![plan(0, &one), plan(1, &one), plan(2, &one)];
            spend(&mut plans, 50, turn);
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
        assert_eq!(spend(&mut plans, 1_000, 0), 1_000);
        let read = shares(&plans)
            .iter()
            .filter(|(extents, _)| *extents > 0)
            .count();
        assert_eq!(read, 10);
    }

    #[test]
    fn a_partition_takes_no_more_than_its_own_limit() {
        let mut plans = vec![plan(0, &[(1, 600); 3])];
        assert_eq!(spend(&mut plans, 10_000, 0), 1_000);
        assert_eq!(shares(&plans), [(2, 1_000)]);
    }
}
