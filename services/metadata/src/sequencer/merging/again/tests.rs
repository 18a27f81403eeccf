use tidelog_types::{BucketId, Incarnation, Offset, SegmentName, SegmentSequence, TopicNumber};

use super::*;

const KIB: u64 = 1_024;
const FULL: u64 = MERGED_EXTENT_BYTES as u64;

const RULE: Rule = Rule {
    growth: 8,
    span: None,
};

fn extent(base: u64, bytes: u64, time: i64) -> Extent {
    Extent {
        offsets: OffsetRange {
            base: Offset::new(base),
            next: Offset::new(base + 1),
        },
        location: Location::Segment {
            bucket: BucketId::new(0),
            segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(base)),
            position: 0,
            length: u32::try_from(bytes).expect("small"),
        },
        crc32c: None,
        max_timestamp: Timestamp::from_millis(time),
    }
}

fn extents(sizes: &[u64]) -> Vec<Extent> {
    let each = (0..).zip(sizes);
    each.map(|(base, bytes)| extent(base, *bytes, 0)).collect()
}

fn at_end(rule: Rule, extents: &[Extent]) -> Option<usize> {
    let committed_at = Timestamp::from_millis(i64::MAX);
    let timed = extents.iter();
    let timed: Vec<_> = timed
        .map(|extent| Timed::new(extent, committed_at))
        .collect();
    rule.at_end(&timed)
}

fn of_sizes(sizes: &[u64]) -> Option<usize> {
    at_end(RULE, &extents(sizes))
}

#[test]
fn extents_are_worth_it_when_the_result_is_so_many_times_as_large_as_each_of_them() {
    assert_eq!(of_sizes(&[10; 7]), None);
    assert_eq!(of_sizes(&[10; 8]), Some(8));
    assert_eq!(of_sizes(&[10; 30]), Some(30));
    // A larger one before them waits for more like it.
    assert_eq!(of_sizes(&[100, 10, 10, 10, 10, 10, 10, 10, 10]), Some(8));
    assert_eq!(
        of_sizes(&[80, 80, 80, 80, 80, 80, 80, 10, 10, 10, 10, 10, 10, 10, 10]),
        Some(15)
    );
    // One behind them keeps them from it, until there are more like it.
    assert_eq!(of_sizes(&[10, 10, 10, 10, 10, 10, 10, 10, 100]), None);
    // Large ones stay as they are.
    assert_eq!(of_sizes(&[FULL / 8; 8]), Some(8));
    assert_eq!(of_sizes(&[FULL / 8 + 1; 100]), None);
    assert_eq!(of_sizes(&[FULL, 10, 10, 10, 10, 10, 10, 10, 10]), Some(8));
    assert_eq!(of_sizes(&[]), None);
    let off = Rule { growth: 0, ..RULE };
    assert_eq!(at_end(off, &extents(&[10; 30])), None);
}

#[test]
fn a_run_ends_where_other_things_come_and_where_records_go_much_earlier() {
    let mut all = extents(&[10; 20]);
    all.remove(5);
    assert_eq!(at_end(RULE, &all), Some(14));
    let mut all = extents(&[10; 20]);
    if let Location::Segment { bucket, .. } = &mut all[9].location {
        *bucket = BucketId::new(3);
    }
    assert_eq!(at_end(RULE, &all), Some(10));
    let minutes = (0..30).map(|base| extent(base, 10, base.cast_signed() * 60_000));
    let minutes: Vec<_> = minutes.collect();
    let span = |minutes: i64| Rule {
        span: Some(minutes * 60_000),
        ..RULE
    };
    assert_eq!(at_end(span(10), &minutes), Some(10));
    assert_eq!(at_end(span(6), &minutes), None);
    // Parts of the time stay where they are, however often what is in them is joined.
    assert_eq!(at_end(span(10), &minutes[..29]), Some(9));
    assert_eq!(at_end(span(10), &minutes[..25]), None);
    assert_eq!(at_end(span(100), &minutes), Some(30));
}

/// The page of what is merged says the time of its last commit, which is all that retention has of such records.
#[test]
fn records_without_a_time_or_of_the_future_are_not_merged_again_where_they_go_by_time() {
    let committed_at = Timestamp::from_millis(600_000);
    let span = Rule {
        span: Some(60_000),
        ..RULE
    };
    for (time, is_worth_it) in [
        (600_000, true),
        (660_000, true),
        (660_001, false),
        (i64::MAX, false),
        (-1, false),
    ] {
        let all: Vec<_> = (0..20).map(|base| extent(base, 10, time)).collect();
        let timed: Vec<_> = all
            .iter()
            .map(|extent| Timed::new(extent, committed_at))
            .collect();
        let found = span.at_end(&timed);
        assert_eq!(found, is_worth_it.then_some(20), "{time}");
        assert_eq!(RULE.at_end(&timed), Some(20), "kept for ever: {time}");
    }
}

/// Windows come for a long time; what is worth it becomes extents as a janitor cuts them. Answers how often a byte was
/// copied on average, in hundredths, and at most, and how many extents there were at most beyond those of a sixteenth of a MiB each.
fn history(windows: u64, bytes: impl Fn(u64) -> u64) -> (u64, u32, usize) {
    let mut log: Vec<(Extent, u32)> = Vec::new();
    let (mut copied, mut total, mut most, mut extra) = (0, 0, 0, 0);
    for window in 0..windows {
        let bytes = bytes(window);
        total += bytes;
        log.push((extent(window, bytes, 0), 0));
        // As much as pages show of it.
        let shown = log.iter().skip(log.len().saturating_sub(300));
        let shown: Vec<Extent> = shown.map(|(extent, _)| extent.clone()).collect();
        let Some(count) = at_end(RULE, &shown) else {
            let full = usize::try_from(total * 2 * RULE.growth / FULL).expect("few");
            extra = extra.max(log.len().saturating_sub(full));
            continue;
        };
        let run = log.split_off(log.len() - count);
        let mut open: Option<(Extent, u32)> = None;
        for (extent, copies) in run {
            copied += merged_bytes(&extent);
            most = most.max(copies + 1);
            let joined = open.take().map(|(mut before, of_before)| {
                if merged_bytes(&before) + merged_bytes(&extent) > FULL {
                    log.push((before, of_before));
                    return (extent.clone(), copies + 1);
                }
                before.offsets.next = extent.offsets.next;
                if let Location::Segment { length, .. } = &mut before.location {
                    *length += u32::try_from(merged_bytes(&extent)).expect("small");
                }
                (before, of_before.max(copies + 1))
            });
            open = Some(joined.unwrap_or((extent, copies + 1)));
        }
        log.extend(open);
    }
    (copied * 100 / total, most, extra)
}

#[test]
fn a_byte_is_copied_a_few_times_however_long_the_history_is() {
    for (name, first) in [
        ("100 bytes", 100),
        ("1 KiB", KIB),
        ("20 KiB", 20 * KIB),
        ("100 KiB", 100 * KIB),
    ] {
        let levels = (1..20)
            .find(|level| first * 8_u64.pow(*level) >= FULL)
            .expect("few");
        for uneven in [false, true] {
            let bytes = |window: u64| {
                let part = if uneven { 1 + window * 7 % 13 } else { 7 };
                (first * part / 7).max(1)
            };
            let (copied, most, extra) = history(5_000, bytes);
            println!(
                "{name} uneven {uneven}: copied {copied} hundredths of a time, at most {most}, {extra} extents more than sixteenths of a MiB"
            );
            assert!(copied <= 100 * u64::from(levels), "{name}: {copied}");
            assert!(most <= levels + 2, "{name}: {most}");
            assert!(extra <= 8 * (levels as usize + 2), "{name}: {extra}");
        }
    }
}

const fn at(index: u32) -> TopicPartition {
    TopicPartition::new(
        TopicNumber::new(1),
        tidelog_types::PartitionIndex::new(index),
    )
}

fn noted(bytes: u64) -> Noted {
    Noted {
        offsets: OffsetRange {
            base: Offset::new(0),
            next: Offset::new(8),
        },
        bytes,
        extents: 8,
        within: Duration::MAX,
    }
}

#[test]
fn it_is_due_when_there_is_enough_or_the_first_is_old_and_never_without_one() {
    let again = Again::default();
    let settings = MergeSettings {
        bytes: 100,
        again_age: Duration::from_hours(1),
        ..MergeSettings::default()
    };
    let start = MonoTime::START;
    let due = |minutes| again.due(&settings, start + Duration::from_mins(minutes));
    assert_eq!(due(0), Due::Never);
    again.note(at(1), noted(60), start);
    assert_eq!(due(20), Due::In(Duration::from_mins(40)));
    assert_eq!(due(60), Due::Now);
    // Another swap has seen more of the same.
    again.note(at(1), noted(99), start + Duration::from_mins(10));
    assert_eq!(due(20), Due::In(Duration::from_mins(40)));
    again.note(at(2), noted(1), start + Duration::from_mins(10));
    assert_eq!(due(20), Due::Now);
    let taken = again.take(1, 100, start + Duration::from_mins(10));
    assert_eq!(taken, [(at(1), noted(99))]);
    assert_eq!(due(20), Due::In(Duration::from_mins(50)));
    // One whose records go soon waits no longer than its run may span.
    let soon = Noted {
        within: Duration::from_mins(15),
        ..noted(0)
    };
    again.note(at(3), soon, start + Duration::from_mins(10));
    assert_eq!(due(20), Due::In(Duration::from_mins(5)));
}

#[test]
fn what_is_noted_of_an_older_part_of_the_time_is_not_forgotten_when_a_newer_one_is() {
    let again = Again::default();
    let start = MonoTime::START;
    let run = |(base, next), bytes| Noted {
        offsets: OffsetRange {
            base: Offset::new(base),
            next: Offset::new(next),
        },
        ..noted(bytes)
    };
    let take = || again.take(1_000, 1_000, start);
    again.note(at(1), run((10, 20), 5), start);
    again.note(at(1), run((20, 30), 6), start);
    again.note(at(2), run((20, 30), 7), start);
    // As more of it came.
    again.note(at(1), run((20, 40), 8), start);
    assert_eq!(
        take(),
        [(at(1), run((10, 20), 5)), (at(2), run((20, 30), 7))]
    );
    assert_eq!(take(), [(at(1), run((20, 40), 8))]);
    assert_eq!(take(), []);
    for (base, next) in [(10, 20), (20, 30), (30, 40), (15, 35)] {
        again.note(at(1), run((base, next), 5), start);
    }
    assert_eq!(take(), [(at(1), run((15, 35), 5))]);
    assert_eq!(take(), []);
    assert_eq!(again.due(&MergeSettings::default(), start), Due::Never);
}

#[test]
fn partitions_are_taken_in_turn() {
    let again = Again::default();
    let start = MonoTime::START;
    for index in 0..5 {
        again.note(at(index), noted(10), start);
    }
    let take = |extents, bytes| {
        let taken = again.take(extents, bytes, start);
        let taken = taken.iter().map(|(at, _)| at.partition.get());
        taken.collect::<Vec<_>>()
    };
    assert_eq!(take(16, 1_000), [0, 1]);
    again.note(at(0), noted(10), start);
    assert_eq!(take(1_000, 30), [2, 3, 4]);
    assert_eq!(take(1_000, 30), [0]);
    assert_eq!(take(1_000, 30), [0; 0]);
    assert_eq!(again.due(&MergeSettings::default(), start), Due::Never);
}
