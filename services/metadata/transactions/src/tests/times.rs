//! What happens when nothing does.

use super::*;

#[test]
fn a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let (mut world, one) = open();
    assert_eq!(world.pass_almost(TIMEOUT), Effects::default());
    assert_eq!(world.coordinator.wake(), Some(world.now.mono + MOMENT));
    let aborted = world.pass(MOMENT);
    assert!(aborted.store);
    let markers = aborted.markers.unwrap();
    assert_eq!(
        (markers.decision, markers.producer),
        (Abort, producer(100, 1))
    );
    assert_eq!(world.add(one, &[partition(1)]).answer, Err(Fenced));
    assert_eq!(world.coordinator.wake(), None);
    assert_eq!(
        world.pass(TIMEOUT),
        Effects::default(),
        "it is aborted once"
    );
}

#[test]
fn the_time_counts_from_the_first_participant() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.pass(TIMEOUT * 2), Effects::default());
    world.add(one, &[partition(0)]).answer.unwrap();
    assert_eq!(world.pass(TIMEOUT / 2), Effects::default());
    world.add(one, &[partition(1)]).answer.unwrap();
    assert!(world.pass(TIMEOUT / 2).store);
}

#[test]
fn a_decision_is_not_undone_by_time() {
    let (mut world, one) = open();
    world.end(one, Commit, One).answer.unwrap();
    assert_eq!(world.pass(TIMEOUT * 100), Effects::default());
    assert_eq!(world.state(), TransactionState::PrepareCommit);
}

#[test]
fn who_was_too_slow_goes_on_after_it_aborts_in_the_second_protocol() {
    for told in [false, true] {
        let (mut world, one) = open();
        assert!(world.pass(TIMEOUT).store);
        if told {
            world.tell_all();
        }
        assert_eq!(
            world.end(one, Commit, Two).answer,
            Err(Fenced),
            "it is not told that it is committed, nor that it did wrong"
        );
        let next = world.end(one, Abort, Two).answer.unwrap();
        assert_eq!(next, producer(100, 1));
        world.tell_all();
        world.add(next, &[partition(0)]).answer.unwrap();
    }
}

#[test]
fn who_was_too_slow_begins_again_where_nobody_has_come_between() {
    let (mut world, one) = open();
    assert!(world.pass(TIMEOUT).store);
    for decision in [Commit, Abort] {
        assert_eq!(world.end(one, decision, One).answer, Err(Fenced));
    }
    world.take_over();
    assert_eq!(world.begin(Some(one)), Ok(producer(100, 1)));

    let (mut world, one) = open();
    assert!(world.pass(TIMEOUT).store);
    world.begin(None).unwrap();
    assert_eq!(world.init(Some(one)).answer, Err(Fenced));
    assert_eq!(world.end(one, Abort, Two).answer, Err(Fenced));
}

#[test]
fn a_new_owner_counts_on_from_where_the_one_before_was() {
    let (mut world, _) = open();
    assert_eq!(world.pass(TIMEOUT / 2), Effects::default());
    // Another process, whose clock began at another time.
    world.now.mono = MonoTime::START + Duration::from_hours(1);
    world.take_over();
    assert_eq!(world.pass_almost(TIMEOUT / 2), Effects::default());
    assert!(world.pass(MOMENT).store);
}

#[test]
fn a_wall_clock_that_jumps_neither_aborts_nor_lengthens_a_transaction() {
    for jump in [-1_000_000_000, 1_000_000_000] {
        let (mut world, _) = open();
        world.now.wall = Timestamp::from_millis(world.now.wall.as_millis() + jump);
        assert_eq!(world.pass_almost(TIMEOUT), Effects::default());
        assert!(world.pass(MOMENT).store);
    }
    let (mut world, _) = open();
    world.now.wall = Timestamp::from_millis(i64::MIN);
    world.take_over();
    assert_eq!(
        world.coordinator.wake(),
        Some(world.now.mono + TIMEOUT),
        "a new owner waits for the whole time at most"
    );
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_one_that_is_used_is_not() {
    let expiry = Limits::default().expiry;
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.pass_almost(expiry), Effects::default());
    world.add(one, &[partition(0)]).answer.unwrap();
    world.end(one, Commit, One).answer.unwrap();
    assert_eq!(
        world.pass(expiry * 2),
        Effects::default(),
        "not before all is told"
    );
    world.tell_all();
    assert_eq!(world.pass_almost(expiry), Effects::default());
    world.take_over();
    let forgotten = world.pass(MOMENT);
    assert!(forgotten.forget && !forgotten.store);
    assert_eq!(world.coordinator.wake(), None);
}

#[test]
fn nobody_is_answered_from_an_id_that_is_going() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert!(world.pass(Limits::default().expiry).forget);
    let (nothing, again) = (Outcome::of(Err(Concurrent)), set(&[partition(0)]));
    assert_eq!(world.init(None), nothing);
    assert_eq!(world.end(one, Abort, Two), nothing);
    assert_eq!(world.add(one, &[partition(0)]).answer, Err(Concurrent));
    assert_eq!(world.coordinator.verify(one, &again), Err(Concurrent));
    assert_eq!(world.pass(TIMEOUT), Effects::default());
}
