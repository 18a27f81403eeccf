//! Who gets what of a budget.

use tidelog_metadata_api::PartitionBounds;
use tidelog_types::{
    BucketId, Incarnation, Offset, OffsetRange, PartitionIndex, SegmentSequence, Timestamp,
    TopicNumber, TopicPartition,
};

use super::*;
use crate::fetch::{FetchPartition, Isolation, ReadError};

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

fn catches_up(index: u32, extents: &[(u64, u32)]) -> Planned {
    let mut plan = plan(index, extents);
    plan.as_mut().expect("planned").pool = Pool::CatchUp;
    plan
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
    let mut logs: Vec<Vec<(u64, u32)>> = vec![vec![(1, 100); 20]];
    logs.extend([100, 200, 300].map(|segment| {
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

#[test]
fn those_who_go_on_in_one_segment_come_one_after_the_other() {
    let one = |at, sequence: u64, position, has_turn, waits| Waiting {
        at,
        place: (
            SegmentName::new(Incarnation::new(1), SegmentSequence::new(sequence)),
            position,
        ),
        has_turn,
        waits,
    };
    let waiting = vec![
        one(0, 7, 90, false, 9),
        one(1, 8, 50, true, 0),
        one(2, 9, 0, false, 8),
        one(3, 7, 10, false, 1),
        one(4, 8, 10, false, 3),
    ];
    // The segment of three waits as the first of them does.
    assert_eq!(in_order(waiting), [1, 4, 2, 3, 0]);
}

#[test]
fn whose_turn_is_over_gives_it_to_who_goes_on_in_the_same_segment() {
    let mut plans = vec![
        catches_up(0, &[(1, 100); 9]),
        catches_up(1, &[(50, 100), (51, 100)]),
        catches_up(2, &[(70, 100); 2]),
        catches_up(3, &[(50, 100); 2]),
    ];
    let mut turns = Turns {
        stints: vec![0, 5, 0, 0],
        waits: vec![0, 0, 9, 1],
        ..Turns::default()
    };
    spend(&mut plans, 200, &mut turns);
    assert_eq!(shares(&plans), [(1, 100), (1, 100), (0, 0), (0, 0)]);
    assert_eq!(turns.stints[1], 0);
    assert!(
        turns.stints[3] > 0 && turns.stints[2] == 0,
        "{:?}",
        turns.stints
    );
}

/// Ten partitions go on in one segment of 300 MiB, and another one in the segment behind it.
#[test]
fn a_segment_of_many_has_no_turn_for_each_of_them() {
    const MIB: u32 = 1 << 20;
    for (budget, limit) in [(1, 1), (2, 2), (1, 8)] {
        let [budget, limit] = [budget, limit].map(|size| u64::from(MIB) * size);
        let mut got = [0_u32; 12];
        let mut turns = Turns::default();
        let mut others = 0;
        for fetch in 0..1_000_usize {
            let plans = (0..12).zip(&got).map(|(index, got)| {
                // One is far behind, and has half of each budget.
                let at = |number: u32| match index {
                    0 => (1, number),
                    11 => (70, number),
                    _ if number < 30 => (50, (index - 1) * 30 + number),
                    _ => (500 + u64::from(index), number),
                };
                let shown: Vec<(u64, u32)> = (*got..*got + 20).map(at).collect();
                let lengths: Vec<(u64, u32)> = shown.iter().map(|(at, _)| (*at, MIB)).collect();
                let mut planned = plan(index, &lengths);
                let inner = planned.as_mut().expect("planned");
                inner.pool = Pool::CatchUp;
                inner.bytes_max = limit;
                inner.bounds.high_watermark = Offset::new(u64::MAX);
                for (extent, (_, number)) in inner.extents.iter_mut().zip(shown) {
                    if let Location::Segment { position, .. } = &mut extent.location {
                        *position = number * MIB;
                    }
                }
                planned
            });
            let mut plans: Vec<Planned> = plans.collect();
            (turns.first, turns.oldest_first) = (fetch / 4, fetch % 2 == 1);
            turns.tail_first = fetch / 2 % 2 == 1;
            spend(&mut plans, budget, &mut turns);
            for (at, (extents, _)) in shares(&plans).into_iter().enumerate() {
                turns.waits[at] = if extents > 0 { 0 } else { turns.waits[at] + 1 };
                got[at] += u32::try_from(extents).expect("few");
            }
            others = got[1..11].iter().sum();
            if got[11] > 0 {
                break;
            }
        }
        assert!(got[11] > 0 && others <= 96, "{budget}: {got:?}");
    }
}

/// What a transaction has left in a log lies in no segment, and who reads it is far from nobody.
#[test]
fn markers_and_those_at_the_tail_do_not_part_those_who_catch_up_side_by_side() {
    let mut marked = catches_up(0, &[(51, 100), (51, 100)]);
    let extents = &mut marked.as_mut().expect("planned").extents;
    extents[0].location = Location::Inline { row: 0 };
    let tail = plan(2, &[(1, 100)]);
    let mut plans = vec![marked, catches_up(1, &[(50, 100); 4]), tail];
    let mut turns = Turns {
        stints: vec![7, 7, 0],
        ..Turns::default()
    };
    spend(&mut plans, 400, &mut turns);
    assert_eq!(turns.stints, [0; 3], "they have no turns");
}

#[test]
fn who_gets_nothing_and_goes_on_first_comes_next() {
    let far = |index: u32, segment: u64| catches_up(index, &[(segment, 100); 4]);
    let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0));
    let error = ReadError::Unsupported(Offset::ZERO).into();
    let mut plans = vec![Err((partition, error)), far(1, 9), far(2, 1), far(3, 5)];
    let mut turns = Turns::default();
    spend(&mut plans, 200, &mut turns);
    assert_eq!(shares(&plans), [(0, 0), (2, 200), (0, 0)]);
    assert_eq!(turns.next, Some(3));
    let mut plans = vec![far(0, 9), far(1, 1)];
    spend(&mut plans, 10_000, &mut turns);
    assert_eq!(turns.next, None, "all get something");
}

#[test]
fn far_from_the_others_who_has_waited_for_longest_comes_next() {
    let far = |index: u32, segment: u64| catches_up(index, &[(segment, 100); 9]);
    let mut plans = vec![far(0, 1), far(1, 50), far(2, 100), far(3, 150)];
    let mut turns = Turns {
        stints: vec![0, 5, 0, 0],
        waits: vec![0, 0, 2, 7],
        ..Turns::default()
    };
    spend(&mut plans, 400, &mut turns);
    assert_eq!(shares(&plans), [(2, 200), (2, 200), (0, 0), (0, 0)]);
    assert_eq!(turns.next, Some(3));
}
