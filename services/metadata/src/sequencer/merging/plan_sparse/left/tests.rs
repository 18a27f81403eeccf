use tidelog_types::{
    BucketId, Incarnation, OffsetRange, PartitionIndex, SegmentSequence, TopicNumber,
};

use super::*;

const fn name(sequence: u64) -> SegmentName {
    SegmentName::new(Incarnation::new(9), SegmentSequence::new(sequence))
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
}

/// As many bytes as offsets, of records of one time that are kept for 800 ms.
fn alive(sequence: u64, (base, next): (u64, u64), time: i64) -> Alive {
    Alive {
        extent: Extent {
            offsets: OffsetRange {
                base: Offset::new(base),
                next: Offset::new(next),
            },
            location: Location::Segment {
                bucket: BucketId::new(0),
                segment: name(sequence),
                position: 40,
                length: u32::try_from(next - base).expect("short"),
            },
            crc32c: None,
            max_timestamp: Timestamp::from_millis(time),
        },
        kept_for: Some(800),
        class: Class::of_bucket(0),
        committed_at: Timestamp::from_millis(1_000_000),
    }
}

fn left(all: &[(u32, Alive)]) -> Left {
    let mut left = Left::default();
    for (index, alive) in all {
        let base = alive.extent.offsets.base;
        let extents = BTreeMap::from([(base, alive.clone())]);
        left.take(Left {
            partitions: BTreeMap::from([(partition(*index), extents)]),
            extents: 1,
        });
    }
    left
}

/// The offsets that the extents of each round begin at.
fn rounds(left: &Left, is_wanted: impl Fn(SegmentName) -> bool) -> Vec<Vec<(u32, Vec<u64>)>> {
    let bases = |run: &Vec<Extent>| -> Vec<u64> {
        run.iter().map(|extent| extent.offsets.base.get()).collect()
    };
    let wanted = left.all().map(|(segment, _)| segment);
    let wanted = wanted.filter(|segment| is_wanted(*segment)).collect();
    let rounds = left.rounds(&wanted).into_iter();
    let runs = rounds.map(|runs| {
        let runs = runs.iter();
        runs.map(|(at, run)| (at.partition.get(), bases(run)))
            .collect()
    });
    runs.collect()
}

#[test]
fn what_follows_is_one_run_whatever_it_lies_in_and_what_does_not_comes_in_a_later_round() {
    let left = left(&[
        (0, alive(1, (10, 20), 0)),
        (0, alive(2, (20, 30), 0)),
        (0, alive(4, (50, 60), 0)),
        (0, alive(4, (60, 65), 0)),
        (1, alive(2, (7, 8), 0)),
        (1, alive(2, (7, 8), 0)),
        (2, alive(3, (0, 9), 0)),
    ]);
    assert_eq!(left.extents, 6, "what is told twice is there once");
    let first = vec![(0, vec![10, 20]), (1, vec![7])];
    let rounds = rounds(&left, |segment| segment != name(3));
    assert_eq!(rounds, [first, vec![(0, vec![50, 60])]]);
}

#[test]
fn a_run_has_one_eighth_of_the_time_that_its_records_are_kept_however_often_it_is_written_anew() {
    let all = [
        (0, alive(1, (10, 20), 100)),
        (0, alive(2, (20, 30), 199)),
        (0, alive(3, (30, 40), 200)),
        (0, alive(4, (40, 50), 299)),
        (0, alive(5, (50, 60), -1)),
    ];
    let some = rounds(&left(&all), |_| true);
    let wanted = [[(0, vec![10, 20])], [(0, vec![30, 40])], [(0, vec![50])]];
    assert_eq!(some, wanted);
    // Joined, each is as old as its youngest, and is not joined with the next.
    let joined = [
        (0, alive(6, (10, 30), 199)),
        (0, alive(7, (30, 50), 299)),
        (0, alive(8, (50, 60), -1)),
    ];
    assert_eq!(rounds(&left(&joined), |_| true).len(), 3);
    let kept = all.map(|(index, alive)| {
        let kept_for = None;
        (index, Alive { kept_for, ..alive })
    });
    let one = rounds(&left(&kept), |_| true);
    assert_eq!(one, [[(0, vec![10, 20, 30, 40, 50])]]);
}

#[test]
fn segments_of_which_most_goes_by_itself_are_let_be_and_those_of_which_it_should_have_gone_are_not()
{
    let left = left(&[
        (0, alive(1, (0, 10), 5)),
        (1, alive(1, (0, 10), 6)),
        (0, alive(2, (10, 20), 5)),
        (1, alive(2, (10, 19), 6)),
    ]);
    let dying =
        |now, before| left.dying(Timestamp::from_millis(now), Timestamp::from_millis(before));
    assert_eq!(dying(0, 804), BTreeMap::new());
    assert_eq!(dying(804, 805), BTreeMap::from([(name(2), 19)]));
    assert_eq!(
        dying(0, 806),
        BTreeMap::from([(name(1), 20), (name(2), 19)])
    );
    assert_eq!(
        dying(805, 806),
        BTreeMap::new(),
        "half of one, and less of the other"
    );
    assert_eq!(dying(806, 9_000), BTreeMap::new());
}

#[test]
fn a_segment_with_records_whose_time_is_that_of_their_commit_stays() {
    let timeless = |alive: Alive| Alive {
        extent: Extent {
            max_timestamp: Timestamp::NONE,
            ..alive.extent
        },
        ..alive
    };
    let mut all = [
        (0, alive(1, (0, 10), 5)),
        (1, timeless(alive(1, (0, 10), 5))),
        (0, alive(2, (10, 20), 5)),
        (1, alive(3, (10, 20), 1_000_101)),
    ];
    assert_eq!(left(&all).staying(), BTreeSet::from([name(1), name(3)]));
    for (_, alive) in &mut all {
        alive.kept_for = None;
    }
    assert_eq!(left(&all).staying(), BTreeSet::new());
}

#[test]
fn of_the_partition_with_more_runs_than_there_are_segments_those_rest_that_it_is_cut_into() {
    let mut all = vec![
        (0, alive(1, (0, 10), 100)),
        (0, alive(2, (10, 20), 100)),
        (1, alive(1, (0, 10), 100)),
        (1, alive(3, (10, 20), 100)),
    ];
    let wanted = || BTreeSet::from([name(1), name(2), name(3)]);
    let fit = |all: &[(u32, Alive)]| {
        let mut wanted = wanted();
        let resting = left(all).fit(&mut wanted);
        (wanted, resting)
    };
    assert_eq!(fit(&all), (wanted(), BTreeMap::new()));
    // A hole in a slice: not more of them than segments yet.
    all.extend([
        (2, alive(1, (0, 5), 100)),
        (2, alive(2, (6, 7), 100)),
        (2, alive(2, (8, 9), 100)),
    ]);
    assert_eq!(fit(&all), (wanted(), BTreeMap::new()));
    all.push((2, alive(2, (10, 14), 100)));
    let (left, resting) = (BTreeSet::from([name(1), name(3)]), [(name(2), 10 + 2 + 4)]);
    assert_eq!(fit(&all), (left, BTreeMap::from(resting)));
    // Each of three has records of three parts of the time.
    let mut cut = Vec::new();
    for (sequence, base) in [(1, 0), (2, 30), (3, 60)] {
        for part in 0..3_u64 {
            let base = base + 10 * part;
            let time = 100 * part.cast_signed();
            cut.push((0, alive(sequence, (base, base + 10), time)));
        }
    }
    assert_eq!(fit(&cut).0, BTreeSet::new());
}

#[test]
fn segments_of_another_class_are_not_counted() {
    let holed = |index, sequence, class| {
        [(0, 5), (6, 9)].map(|offsets| {
            let mut alive = alive(sequence, offsets, 100);
            alive.class = Class::of_bucket(class);
            (index, alive)
        })
    };
    let fit = |all: &[[(u32, Alive); 2]]| {
        let mut wanted = (1..=3).map(name).collect();
        left(&all.concat()).fit(&mut wanted);
        wanted.len()
    };
    let same = [holed(0, 1, 7), holed(1, 2, 7)];
    assert_eq!(fit(&same), 3, "two segments become two");
    let others = [holed(0, 1, 7), holed(1, 2, 8)];
    assert_eq!(fit(&others), 1, "each would become two");
}
