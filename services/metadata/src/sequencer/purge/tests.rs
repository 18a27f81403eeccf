use tidelog_metadata_api::{TopicConfig, TopicState};
use tidelog_types::{TopicId, TopicName};

use super::*;

const fn number(number: u64) -> TopicNumber {
    TopicNumber::new(number)
}

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn purged(topic: u64, stage: Stage) -> Purged {
    let (deleted, purge_after) = (at(1), at(2));
    Purged {
        topic: Arc::new(TopicInfo {
            id: TopicId::from_bytes([7; 16]),
            number: number(topic),
            name: TopicName::new("gone").unwrap(),
            partitions: Vec::new(),
            counts: Vec::new(),
            config: TopicConfig::default(),
            state: TopicState::Purging {
                at: deleted,
                purge_after,
            },
            created_at: at(0),
        }),
        stage,
        since: MonoTime::START,
        bytes: 0,
        left: 0,
    }
}

/// The next job; every other question is for somebody else.
fn next(purge: &mut Purge, now: MonoTime, wall: Timestamp) -> Option<Job> {
    let job = purge.next(now, wall);
    job.or_else(|| purge.next(now, wall))
}

#[test]
fn nothing_is_due_where_no_topic_is_deleted_and_a_topic_when_its_time_is_over() {
    let now = MonoTime::START + Duration::from_mins(5);
    let mut purge = Purge::new(now);
    assert_eq!(purge.deadline(now, at(0)), None);
    purge.note(number(1), at(60_000));
    purge.note(number(2), at(30_000));
    assert_eq!(
        purge.deadline(now, at(0)),
        Some(now + Duration::from_secs(30))
    );
    assert!(next(&mut purge, now, at(29_999)).is_none());
    let job = next(&mut purge, now, at(30_000));
    assert!(matches!(job, Some(Job::Begin(topic)) if topic == number(2)));
    // It was brought back.
    purge.forget(number(1));
    assert_eq!(purge.deadline(now, at(99_999)), None);
    purge.note(number(3), at(i64::MAX));
    assert_eq!(purge.deadline(now, at(0)), Some(now + SLEEP_MAX));
    assert_eq!(purge.count(), 1);
}

#[test]
fn every_other_turn_is_for_somebody_else() {
    let now = MonoTime::START;
    let mut purge = Purge::new(now);
    purge.go_on(purged(1, Stage::Rows));
    purge.go_on(purged(2, Stage::Rows));
    assert!(purge.next(now, at(0)).is_some());
    assert!(purge.next(now, at(0)).is_none());
    assert!(purge.next(now, at(0)).is_some());
}

#[test]
fn a_topic_that_rests_is_gone_on_with_when_it_is_heard_of_or_after_a_while() {
    let now = MonoTime::START;
    let mut purge = Purge::new(now);
    assert!(purge.rest(purged(1, Stage::Look(0)), now, at(0)));
    assert_eq!(purge.deadline(now, at(0)), Some(now + REST));
    assert!(next(&mut purge, now, at(0)).is_none());
    let job = next(&mut purge, now + REST, at(0));
    let Some(Job::Work(one)) = job else {
        panic!("{job:?}");
    };
    assert!(purge.rest(one, now, at(0)));
    purge.wake();
    let job = next(&mut purge, now, at(0));
    let Some(Job::Work(one)) = job else {
        panic!("{job:?}");
    };
    // Nothing goes on with it: it is let be, and begun anew later.
    let later = now + SET_ASIDE;
    assert!(!purge.rest(one, later, at(0)));
    assert_eq!(purge.deadline(later, at(0)), Some(later + SET_ASIDE));
    // One that waits for other shards leaves its place to the next, too, until it is heard of.
    assert!(!purge.rest(purged(2, Stage::Others), later, at(0)));
    purge.note(number(2), at(0));
    assert_eq!(purge.deadline(later, at(0)), Some(later));
}

#[test]
fn as_many_are_purged_at_once_as_may_be_and_what_is_done_is_not_begun_again() {
    let now = MonoTime::START;
    let mut purge = Purge::new(now);
    for topic in 0..TOPICS_AT_ONCE as u64 {
        purge.rest(purged(topic, Stage::Look(0)), now, at(0));
    }
    purge.note(number(1_000), at(0));
    purge.note(number(1), at(0));
    assert_eq!(
        purge.count(),
        TOPICS_AT_ONCE + 1,
        "one of them is under way"
    );
    assert!(next(&mut purge, now, at(5)).is_none());
    purge.wake();
    assert!(matches!(next(&mut purge, now, at(5)), Some(Job::Work(_))));
    let begun = next(&mut purge, now, at(5));
    assert!(matches!(begun, Some(Job::Begin(topic)) if topic == number(1_000)));
    purge.done(number(1_000));
    purge.note(number(1_000), at(0));
    assert!(matches!(next(&mut purge, now, at(5)), Some(Job::Work(_))));
}

#[test]
fn of_very_many_those_that_are_due_first_are_known_and_the_others_are_found_again() {
    let now = MonoTime::START;
    let mut purge = Purge::new(now);
    for topic in 0..=TOPICS_KNOWN {
        let topic = i64::try_from(topic).unwrap();
        purge.note(number(topic.unsigned_abs()), at(topic));
    }
    assert_eq!(purge.count(), TOPICS_KNOWN);
    assert!(!purge.take_missed());
    for topic in 0..TOPICS_KNOWN as u64 {
        purge.forget(number(topic));
    }
    assert_eq!(purge.count(), 0);
    assert!(purge.take_missed());
    assert!(!purge.take_missed());
}

#[test]
fn a_look_through_offsets_is_for_those_who_wait_for_it_when_it_begins() {
    let now = MonoTime::START;
    let mut purge = Purge::new(now);
    purge.go_on(purged(1, Stage::Offsets));
    purge.go_on(purged(2, Stage::Look(0)));
    assert_eq!(purge.all_at(Stage::Offsets), [number(1)]);
    purge.look_through(OffsetsPass {
        topics: [number(1)].into(),
        rest: KeyRange::all(),
    });
    let job = next(&mut purge, now, at(0));
    assert!(matches!(job, Some(Job::Offsets(_))), "{job:?}");
    purge.rest(purged(3, Stage::Offsets), now, at(0));
    purge.looked_through(&[number(1)].into());
    let stages = purge.working.iter().map(|one| one.stage);
    let expected = [Stage::Emptied, Stage::Look(0), Stage::Offsets];
    assert_eq!(stages.collect::<Vec<_>>(), expected);
}
