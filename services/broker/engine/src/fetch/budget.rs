//! Spends the byte budget of a fetch in rotation over its partitions, so that none starves.

use super::{Plan, Planned};

/// Cuts each plan down to its share of `bytes_max`: partition after partition takes one extent, round
/// after round, from the one whose turn it is. Returns the bytes planned in all.
///
/// Whoever comes first gets at least one extent, so that a reader always gets on.
pub(super) fn spend(plans: &mut [Planned], bytes_max: u64, turn: usize) -> u64 {
    let mut plans: Vec<&mut Plan> = plans.iter_mut().flatten().collect();
    if plans.is_empty() {
        return 0;
    }
    let count = plans.len();
    let mut taken = vec![(0_usize, 0_u64); count];
    let mut total = 0_u64;
    let mut round_took = true;
    while round_took && total < bytes_max {
        round_took = false;
        for step in 0..count {
            let at = (turn.wrapping_add(step)) % count;
            let (extents, bytes) = taken[at];
            let plan = &plans[at];
            let Some(extent) = plan.extents.get(extents).filter(|_| bytes < plan.bytes_max) else {
                continue;
            };
            if total >= bytes_max {
                break;
            }
            // The last one taken may not fit whole: batches of it are taken while they fit.
            let share = u64::from(extent.byte_count())
                .min(bytes_max - total)
                .min(plan.bytes_max - bytes);
            taken[at] = (extents + 1, bytes + share);
            total += share;
            round_took = true;
        }
    }
    for (plan, (extents, bytes)) in plans.iter_mut().zip(taken) {
        plan.extents.truncate(extents);
        plan.bytes_max = bytes;
    }
    total
}

#[cfg(test)]
mod tests {
    use tidelog_format::location::Location;
    use tidelog_metadata_api::{Extent, PartitionBounds};
    use tidelog_types::{
        BucketId, Offset, OffsetRange, PartitionIndex, SegmentName, Timestamp, TopicNumber,
        TopicPartition,
    };

    use super::*;
    use crate::fetch::FetchPartition;

    #[expect(
        clippy::unnecessary_wraps,
        reason = "plans are results where they are spent"
    )]
    fn plan(index: u32, lengths: &[u32]) -> Planned {
        let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index));
        let extents = lengths.iter().map(|length| Extent {
            offsets: OffsetRange::default(),
            location: Location::Segment {
                bucket: BucketId::default(),
                segment: SegmentName::default(),
                position: 0,
                length: *length,
            },
            crc32c: None,
            max_timestamp: Timestamp::NONE,
        });
        Ok(Plan {
            wanted: FetchPartition {
                partition,
                offset: Offset::ZERO,
                bytes_max: 1_000,
            },
            bounds: PartitionBounds::default(),
            extents: extents.collect(),
            bytes_max: 1_000,
        })
    }

    fn shares(plans: &[Planned]) -> Vec<(usize, u64)> {
        plans
            .iter()
            .flatten()
            .map(|plan| (plan.extents.len(), plan.bytes_max))
            .collect()
    }

    #[test]
    fn every_partition_gets_an_extent_before_one_gets_two() {
        let mut plans = vec![plan(0, &[100; 50]), plan(1, &[100; 50]), plan(2, &[100])];
        assert_eq!(spend(&mut plans, 500, 0), 500);
        assert_eq!(shares(&plans), [(2, 200), (2, 200), (1, 100)]);
    }

    #[test]
    fn the_turn_decides_who_comes_first_when_there_is_too_little() {
        for turn in 0..3 {
            let mut plans = vec![plan(0, &[100]), plan(1, &[100]), plan(2, &[100])];
            spend(&mut plans, 50, turn);
            let got: Vec<usize> = shares(&plans).iter().map(|(extents, _)| *extents).collect();
            let mut expected = vec![0; 3];
            expected[turn] = 1;
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_partition_takes_no_more_than_its_own_limit() {
        let mut plans = vec![plan(0, &[600, 600, 600])];
        assert_eq!(spend(&mut plans, 10_000, 0), 1_000);
        assert_eq!(shares(&plans), [(2, 1_000)]);
    }
}
