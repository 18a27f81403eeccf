//! When segments are written anew.

use tidelog_types::{Incarnation, SegmentSequence};

use super::*;

const AGE: Duration = Duration::from_secs(100);

fn settings() -> MergeSettings {
    MergeSettings {
        bytes: 1_000,
        rewrite: RewriteSettings {
            live_percent: 30,
            age: AGE,
            freed_min: 50,
        },
        ..MergeSettings::default()
    }
}

const fn name(sequence: u64) -> SegmentName {
    SegmentName::new(Incarnation::new(9), SegmentSequence::new(sequence))
}

fn at(seconds: u64) -> MonoTime {
    MonoTime::START + Duration::from_secs(seconds)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn note(sparse: &Sparse, sequence: u64, bytes: u64, committed: u64, seconds: u64) {
    let live = LiveBytesRow { bytes, committed };
    sparse.note(&settings().rewrite, name(sequence), &live, at(seconds));
}

#[test]
fn little_is_less_than_a_share_with_enough_to_go_and_not_nothing() {
    let are_for = |bytes, committed| {
        settings()
            .rewrite
            .are_for(&LiveBytesRow { bytes, committed })
    };
    assert!(are_for(299, 1_000));
    assert!(!are_for(300, 1_000));
    assert!(!are_for(0, 1_000), "it is dead");
    assert!(are_for(10, 60));
    assert!(!are_for(10, 59), "fifty bytes are to go at least");
    assert!(!are_for(1_000, 1_000));
    assert!(are_for(u64::MAX / 4, u64::MAX));
    let off = RewriteSettings {
        live_percent: 0,
        ..settings().rewrite
    };
    let live = LiveBytesRow {
        bytes: 1,
        committed: u64::MAX,
    };
    assert!(!off.are_for(&live));
}

#[test]
fn a_segment_waits_and_others_with_it_until_they_are_enough() {
    let (sparse, settings) = (Sparse::default(), settings());
    assert_eq!(sparse.due(&settings, at(0)), Due::Never);
    note(&sparse, 1, 200, 1_000, 10);
    note(&sparse, 1, 100, 1_000, 50);
    assert_eq!(sparse.due(&settings, at(60)), Due::In(secs(50)));
    assert_eq!(sparse.take(&settings, 1_000, at(109)), []);
    assert_eq!(sparse.due(&settings, at(110)), Due::In(secs(100)));
    assert_eq!(sparse.due(&settings, at(210)), Due::Now);
    note(&sparse, 2, 900, 9_000, 60);
    assert_eq!(sparse.due(&settings, at(110)), Due::In(secs(50)));
    assert_eq!(sparse.due(&settings, at(160)), Due::Now, "a whole one");
    // Those that have not waited stay.
    note(&sparse, 3, 100, 1_000, 61);
    assert_eq!(sparse.take(&settings, 16_000, at(160)), [name(1), name(2)]);
    assert_eq!(sparse.take(&settings, 16_000, at(160)), []);
    assert_eq!(sparse.due(&settings, at(160)), Due::In(secs(1)));
    assert_eq!(sparse.due(&settings, at(161)), Due::In(secs(100)));
}

#[test]
fn what_dies_meanwhile_or_is_not_so_little_is_forgotten() {
    let (sparse, settings) = (Sparse::default(), settings());
    note(&sparse, 1, 200, 1_000, 0);
    note(&sparse, 2, 200, 1_000, 0);
    note(&sparse, 1, 0, 1_000, 1);
    note(&sparse, 2, 200, 2_000, 1);
    note(&sparse, 2, 900, 2_000, 2);
    assert_eq!(sparse.due(&settings, at(500)), Due::Never);
    assert!(!sparse.take_missed());
}

#[test]
fn no_more_are_taken_than_are_looked_into_at_once_and_no_more_bytes() {
    let (sparse, settings) = (Sparse::default(), settings());
    for sequence in 0..100 {
        note(&sparse, sequence, 1, 1_000, 0);
    }
    assert_eq!(sparse.due(&settings, at(99)), Due::In(secs(1)));
    assert_eq!(sparse.due(&settings, at(100)), Due::Now, "there are many");
    let taken = sparse.take(&settings, 10, at(100));
    assert_eq!(taken, (0..10).map(name).collect::<Vec<_>>());
    let taken = sparse.take(&settings, 1_000, at(100));
    assert_eq!(taken.len(), LOOKED_INTO_MAX);
}

#[test]
fn one_that_rests_is_taken_beside_others_alone_and_those_that_rested_longest_come_first() {
    let (sparse, settings) = (Sparse::default(), settings());
    for sequence in 0..100 {
        sparse.rest(name(sequence), 10, at(200 - sequence));
    }
    assert_eq!(sparse.due(&settings, at(90_000)), Due::Never);
    assert_eq!(sparse.take(&settings, 16_000, at(90_000)), []);
    // Of one nothing is left, and another is not sparse any more.
    note(&sparse, 99, 0, 1_000, 90_000);
    note(&sparse, 98, 900, 1_000, 90_000);
    assert_eq!(sparse.due(&settings, at(99_000)), Due::Never);
    note(&sparse, 100, 200, 1_000, 100_000);
    assert_eq!(
        sparse.take(&settings, 16_000, at(100_050)),
        [],
        "it is not ripe"
    );
    let taken = sparse.take(&settings, 16_000, at(100_200));
    assert_eq!(taken.len(), LOOKED_INTO_MAX);
    assert_eq!(taken[..4], [name(100), name(97), name(96), name(95)]);
    // Nobody saw to it.
    sparse.put_off(name(97), 10, at(100_200));
    assert_eq!(sparse.due(&settings, at(900_000)), Due::Never);
    sparse.put_off(name(100), 10, at(100_200));
    assert_eq!(sparse.due(&settings, at(900_000)), Due::Now);
    note(&sparse, 100, 0, 1_000, 900_000);
    assert_eq!(sparse.due(&settings, at(900_000)), Due::Never);
    // One of which less is left may be worth it by itself.
    note(&sparse, 1, 5, 1_000, 100_300);
    assert_eq!(sparse.due(&settings, at(100_300)), Due::In(secs(100)));
    let taken = sparse.take(&settings, 35, at(100_600));
    assert_eq!(taken, [1, 34, 33, 32].map(name), "no more bytes than that");
}
