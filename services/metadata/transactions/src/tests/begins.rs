//! How a producer begins, and what becomes of the one before.

use super::*;

#[test]
fn a_new_id_gets_a_new_producer_of_epoch_zero() {
    let mut world = World::new();
    assert_eq!(world.coordinator.stored(), None);
    let begun = world.init(None);
    assert_eq!(begun.answer, Ok(producer(100, 0)));
    assert!(begun.effects.store, "who it is must be durable first");
    assert_eq!(world.state(), TransactionState::Empty);
}

#[test]
fn a_producer_that_comes_back_has_the_next_epoch_and_the_one_before_is_fenced() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let two = world.init(None);
    assert_eq!(two.answer, Ok(producer(100, 1)));
    assert!(two.effects.store);
    assert_eq!(world.add(one, &[partition(0)]).answer, Err(Fenced));
    for version in [One, Two] {
        assert_eq!(world.end(one, Abort, version).answer, Err(Fenced));
    }
    assert_eq!(world.init(Some(one)).answer, Err(Fenced));
    assert_eq!(
        world.coordinator.verify(one, &set(&[partition(0)])),
        Err(Fenced)
    );
}

#[test]
fn an_open_transaction_is_aborted_before_another_producer_begins() {
    let (mut world, one) = open();
    let refused = world.init(None);
    assert_eq!(refused.answer, Err(Concurrent));
    assert!(refused.effects.store);
    let markers = refused.effects.markers.unwrap();
    assert_eq!(markers.decision, Abort);
    assert_eq!(
        markers.producer,
        producer(100, 1),
        "the epoch fences what is late"
    );
    assert_eq!(
        world.init(None),
        Outcome::of(Err(Concurrent)),
        "not everybody is told"
    );
    world.tell_all();
    assert_eq!(
        world.init(None).answer,
        Ok(producer(100, 2)),
        "the epoch between was given to nobody"
    );
    assert_eq!(world.add(one, &[partition(0)]).answer, Err(Fenced));
}

#[test]
fn who_was_fenced_by_another_producer_gets_nothing_by_asking_again() {
    for version in [One, Two] {
        for decision in [Abort, Commit] {
            let (mut world, one) = open();
            assert_eq!(world.init(None).answer, Err(Concurrent));
            assert_eq!(world.end(one, decision, version).answer, Err(Fenced));
            world.tell_all();
            assert_eq!(world.end(one, decision, version).answer, Err(Fenced));
            assert_eq!(world.init(Some(one)).answer, Err(Fenced));
        }
    }
}

#[test]
fn a_transaction_that_is_being_committed_stays_so_when_a_producer_begins() {
    let (mut world, one) = open();
    world.end(one, Commit, One).answer.unwrap();
    let before = world.stored();
    assert_eq!(world.init(None), Outcome::of(Err(Concurrent)));
    assert_eq!(world.stored(), before);
    world.tell_all();
    assert_eq!(world.state(), TransactionState::CompleteCommit);
    assert_eq!(world.init(None).answer, Ok(producer(100, 1)));
}

#[test]
fn a_producer_goes_on_after_an_error_with_the_next_epoch() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let next = world.init(Some(one));
    assert_eq!(next.answer, Ok(producer(100, 1)));
    assert!(next.effects.store);
}

#[test]
fn a_producer_whose_answer_was_lost_gets_it_again() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let lost = world.init(Some(one)).answer.unwrap();
    world.take_over();
    assert_eq!(world.init(Some(one)).answer, Ok(lost));
    assert_eq!(
        world.init(Some(one)).answer,
        Ok(lost),
        "as often as it asks"
    );
}

#[test]
fn the_answer_is_not_given_again_when_another_producer_has_come() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    world.init(Some(one)).answer.unwrap();
    world.init(None).answer.unwrap();
    assert_eq!(world.init(Some(one)).answer, Err(Fenced));
}

#[test]
fn a_producer_of_another_id_or_an_older_epoch_does_not_go_on() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let two = world.init(Some(one)).answer.unwrap();
    world.init(Some(two)).answer.unwrap();
    for stranger in [one, producer(99, 2), producer(100, 3), producer(-1, -1)] {
        assert_eq!(world.init(Some(stranger)).answer, Err(Fenced));
    }
}

#[test]
fn a_zombie_that_goes_on_does_not_abort_the_transaction_of_the_producer_after_it() {
    let mut world = World::new();
    let zombie = world.init(None).answer.unwrap();
    let two = world.init(None).answer.unwrap();
    world.add(two, &[partition(0)]).answer.unwrap();
    assert_eq!(world.init(Some(zombie)), Outcome::of(Err(Fenced)));
    assert_eq!(world.state(), TransactionState::Ongoing);
}

#[test]
fn a_producer_that_goes_on_with_a_transaction_open_has_it_aborted_and_is_not_fenced() {
    let (mut world, one) = open();
    assert_eq!(world.init(Some(one)).answer, Err(Concurrent));
    assert_eq!(world.state(), TransactionState::PrepareAbort);
    world.tell_all();
    let again = world.init(Some(one)).answer.unwrap();
    assert!(again > one);
    world.add(again, &[partition(0)]).answer.unwrap();
}

#[test]
fn an_answer_that_was_heard_is_not_given_again() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let two = world.init(Some(one)).answer.unwrap();
    world.add(two, &[partition(0)]).answer.unwrap();
    // A request that was on its way for long, of somebody who has gone on since.
    assert_eq!(world.init(Some(one)), Outcome::of(Err(Fenced)));
    assert_eq!(world.state(), TransactionState::Ongoing);
}

#[test]
fn a_producer_of_an_id_that_is_forgotten_goes_on_with_a_new_producer_id() {
    let mut world = World::new();
    let given = world.init(Some(producer(5, 9))).answer.unwrap();
    assert_eq!(given, producer(100, 0));
    assert_eq!(
        world.init(Some(producer(5, 9))).answer,
        Ok(given),
        "also if the answer was lost"
    );
}

#[test]
fn a_timeout_of_zero_or_longer_than_allowed_is_refused() {
    let mut world = World::new();
    let max = Limits::default().timeout_max;
    let mut init = |timeout| {
        let spare = Some(ProducerId::new(1));
        world
            .coordinator
            .init(&begins(timeout, None), spare, world.now)
    };
    for timeout in [Duration::ZERO, max + Duration::from_millis(1)] {
        let refused = init(timeout);
        assert_eq!(refused, Outcome::of(Err(TransactionError::InvalidTimeout)));
    }
    assert!(init(max).answer.is_ok());
}

#[test]
fn who_begins_says_how_long_its_transactions_may_be_open() {
    let mut world = World::new();
    world.init(None).answer.unwrap();
    let request = begins(TIMEOUT * 3, None);
    let one = world.coordinator.init(&request, None, world.now);
    let one = one.answer.unwrap();
    world.add(one, &[partition(0)]).answer.unwrap();
    assert_eq!(world.pass(TIMEOUT * 2), Effects::default());
    assert!(world.pass(TIMEOUT).store);
}
