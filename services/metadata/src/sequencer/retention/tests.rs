//! The schedule and the search, without a store.

use tidelog_types::PartitionIndex;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const START: MonoTime = MonoTime::START;

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const fn partition(index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index))
}

const fn keeps(millis: Option<i64>, bytes: Option<u64>) -> Limits {
    Limits { millis, bytes }
}

/// Extents of ten records and a hundred bytes each, with these times of records and commits.
fn cut(limits: Limits, last_stable: u64, times: &[(i64, i64)]) -> (u64, Option<i64>) {
    cut_compacted(limits, last_stable, times, None)
}

/// Nobody knows how many bytes compaction has left: only those behind it count, and what it has made goes last.
#[test]
fn of_what_was_compacted_nothing_goes_before_there_is_as_much_behind_it_as_is_kept() {
    let five = [(0, 0); 5];
    let keeps = keeps(None, Some(200));
    let compacted = |behind| Some((Offset::new(30), behind));
    assert_eq!(cut_compacted(keeps, 50, &five, None).0, 30);
    assert_eq!(cut_compacted(keeps, 50, &five, compacted(199)).0, 3);
    assert_eq!(cut_compacted(keeps, 50, &five, compacted(200)).0, 30);
}

fn cut_compacted(
    limits: Limits,
    last_stable: u64,
    times: &[(i64, i64)],
    compacted: Option<(Offset, u64)>,
) -> (u64, Option<i64>) {
    let mut cut = Cut {
        limits,
        now: at(1_000),
        total: 100 * times.len() as u64,
        last_stable: Offset::new(last_stable),
        reached: Offset::new(3),
        due: None,
        compacted,
    };
    for (index, (record, commit)) in (0..).zip(times) {
        let extent = Aged {
            offsets: OffsetRange {
                base: Offset::new(index * 10),
                next: Offset::new(index * 10 + 10),
            },
            max_timestamp: at(*record),
            committed_at: at(*commit),
            bytes_so_far: (index + 1) * 100,
        };
        if !cut.passes(&extent) {
            break;
        }
    }
    (cut.reached.get(), cut.due.map(Timestamp::as_millis))
}

#[test]
fn what_is_older_than_its_time_goes_up_to_the_first_that_is_not() {
    let times = [(100, 100), (499, 600), (500, 600), (100, 100)];
    assert_eq!(cut(keeps(Some(500), None), 40, &times), (20, Some(1_001)));
    assert_eq!(cut(keeps(Some(499), None), 40, &times), (40, None));
    assert_eq!(cut(keeps(Some(900), None), 40, &times), (3, Some(1_001)));
    assert_eq!(cut(keeps(None, None), 40, &times), (3, None));
}

#[test]
fn records_of_the_future_or_of_no_time_are_as_old_as_their_commit() {
    let times = [(i64::MAX, 100), (-1, 200), (i64::MAX, 900)];
    assert_eq!(cut(keeps(Some(500), None), 30, &times), (20, Some(1_401)));
    let times = [(0, 100), (-1, 700), (0, 0)];
    assert_eq!(cut(keeps(Some(500), None), 30, &times), (10, Some(1_201)));
}

#[test]
fn as_many_bytes_stay_as_are_kept_and_not_one_extent_more_goes() {
    let times = [(0, 0); 5];
    for (kept, reached) in [(0, 50), (1, 40), (100, 40), (101, 30), (500, 3), (501, 3)] {
        assert_eq!(
            cut(keeps(None, Some(kept)), 50, &times).0,
            reached,
            "{kept}"
        );
    }
}

#[test]
fn what_is_not_stable_stays() {
    let (old, much) = (keeps(Some(0), None), keeps(None, Some(0)));
    assert_eq!(cut(old, 25, &[(0, 0); 5]), (20, Some(1)));
    assert_eq!(cut(much, 25, &[(0, 0); 5]), (20, None));
}

fn schedule() -> Retention {
    let mut retention = Retention::new(5 * MINUTE, 100, false, START);
    assert_eq!(retention.deadline(START, at(0)), Some(START));
    retention.passed([], None, START);
    retention
}

#[test]
fn a_partition_is_looked_at_when_it_is_due_and_not_more_often_than_once_in_an_interval() {
    let mut retention = schedule();
    assert_eq!(retention.deadline(START, at(0)), None);
    let minutes = |count: i64| at(count * 60_000);
    let limits = keeps(Some(1), None);
    for (index, due) in [(1, 7), (2, 8), (3, 20)] {
        retention.looked(partition(index), limits, Some(minutes(due)), false);
    }
    let deadline = retention.deadline(START, at(0));
    assert_eq!(deadline, Some(START + 7 * MINUTE));
    retention.begin_check(START + 6 * MINUTE, minutes(6));
    assert_eq!(retention.next_partitions(9).0, []);
    retention.begin_check(START + 7 * MINUTE, minutes(7));
    assert_eq!(retention.next_partitions(9), (vec![partition(1)], true));
    retention.looked(partition(1), limits, Some(minutes(8)), false);
    let now = START + 7 * MINUTE;
    assert_eq!(
        retention.deadline(now, minutes(7)),
        Some(START + 12 * MINUTE)
    );
    retention.begin_check(START + 11 * MINUTE, minutes(11));
    assert_eq!(retention.next_partitions(9), (vec![], false));
    let now = START + 12 * MINUTE;
    retention.begin_check(now, minutes(12));
    let both = vec![partition(1), partition(2)];
    assert_eq!(retention.next_partitions(9), (both, true));
    // The wall clock is looked at again before long.
    retention.forget(partition(1));
    retention.forget(partition(2));
    assert_eq!(retention.deadline(now, minutes(-99)), Some(now + SLEEP_MAX));
}

#[test]
fn what_a_checkpoint_has_written_is_looked_at_if_it_is_new_or_large() {
    let mut retention = schedule();
    retention.written(partition(1), 9);
    assert_eq!(retention.next_partitions(9), (vec![partition(1)], false));
    retention.looked(partition(1), keeps(None, Some(10)), None, false);
    retention.written(partition(1), 10);
    assert_eq!(retention.deadline(START, at(0)), None);
    retention.written(partition(1), 11);
    assert_eq!(retention.deadline(START, at(0)), Some(START + 5 * MINUTE));
    retention.begin_check(START + 5 * MINUTE, at(0));
    assert_eq!(retention.next_partitions(9), (vec![partition(1)], true));
    // Of an empty log nothing is due until it is written again.
    retention.looked(partition(1), keeps(Some(1), None), None, false);
    assert_eq!(retention.deadline(START, at(0)), None);
    retention.written(partition(1), 11);
    assert_eq!(retention.next_partitions(9), (vec![partition(1)], false));
    retention.looked(partition(1), Limits::default(), None, false);
    retention.written(partition(1), u64::MAX);
    assert_eq!(retention.deadline(START, at(0)), None);
}

#[test]
fn of_too_many_partitions_those_left_are_found_in_a_later_pass() {
    let mut retention = Retention::new(5 * MINUTE, 2, false, START);
    retention.passed([], None, START);
    for index in 0..3 {
        retention.looked(
            partition(index),
            keeps(Some(1), None),
            Some(at(i64::MAX)),
            false,
        );
    }
    assert_eq!((retention.known.len(), retention.due.len()), (2, 2));
    let later = START + PASS_INTERVAL;
    assert_eq!(retention.deadline(later, at(0)), Some(later));
    retention.begin_check(later, at(0));
    assert_eq!(retention.next_pass(), Some(TopicNumber::new(0)));
    // And those that are left then in the next one, which is as far off.
    retention.passed([], None, later);
    retention.looked(partition(2), keeps(Some(1), None), None, false);
    let deadline = retention.deadline(later, at(0));
    assert!(deadline > Some(later + MINUTE), "{deadline:?}");
    retention.begin_check(later + PASS_INTERVAL, at(0));
    assert_eq!(retention.next_pass(), Some(TopicNumber::new(0)));
}
