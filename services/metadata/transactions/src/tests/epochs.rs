//! What happens when a producer id has no epochs left.

use super::*;

const LAST: i16 = i16::MAX - 1;

#[test]
fn after_the_last_epoch_a_producer_begins_with_a_new_id() {
    for again in [false, true] {
        let (mut world, one) = World::at(LAST);
        let expected = again.then_some(one);
        assert_eq!(world.init(expected).answer, Ok(producer(101, 0)));
    }
    let (mut world, one) = World::at(LAST - 1);
    assert_eq!(world.init(Some(one)).answer, Ok(producer(100, LAST)));
}

#[test]
fn a_new_id_whose_answer_was_lost_is_given_again() {
    let (mut world, one) = World::at(LAST);
    let lost = world.init(Some(one)).answer.unwrap();
    world.take_over();
    assert_eq!(world.init(Some(one)).answer, Ok(lost));
    world.init(None).answer.unwrap();
    assert_eq!(
        world.init(Some(one)).answer,
        Err(Fenced),
        "another one came"
    );
}

#[test]
fn the_epoch_above_the_last_fences_and_is_given_to_nobody() {
    let (mut world, one) = World::at(LAST);
    world.add(one, &[partition(0)]).answer.unwrap();
    let markers = world.init(None).effects.markers.unwrap();
    assert_eq!(markers.producer, producer(100, i16::MAX));
    world.tell_all();
    let spent = producer(100, i16::MAX);
    assert_eq!(world.add(spent, &[partition(0)]).answer, Err(Fenced));
    assert_eq!(world.init(None).answer, Ok(producer(101, 0)));
}

#[test]
fn the_end_of_the_last_epoch_gives_a_new_id() {
    let (mut world, one) = World::at(LAST);
    world.add(one, &[partition(0)]).answer.unwrap();
    let ended = world.end(one, Commit, Two);
    assert_eq!(ended.answer, Ok(producer(101, 0)));
    let markers = ended.effects.markers.unwrap();
    assert_eq!(markers.producer, producer(100, i16::MAX));
    let two = ended.answer.unwrap();
    assert_eq!(
        world.add(two, &[partition(0)]).answer,
        Err(Concurrent),
        "it is not taken for a stranger"
    );
    world.take_over();
    assert_eq!(world.end(one, Commit, Two).answer, Ok(two), "asked again");
    world.tell_all();
    assert_eq!(world.end(one, Commit, Two).answer, Ok(two), "and again");
    assert_eq!(world.end(one, Abort, Two).answer, Err(InvalidState));
    world.add(two, &[partition(0)]).answer.unwrap();
    assert_eq!(world.end(one, Commit, Two).answer, Err(UnknownProducer));
}

#[test]
fn the_first_protocol_may_stay_in_the_last_epoch() {
    let (mut world, one) = World::at(LAST);
    for _ in 0..2 {
        world.add(one, &[partition(0)]).answer.unwrap();
        assert_eq!(world.end(one, Commit, One).answer, Ok(one));
        world.tell_all();
    }
}

#[test]
fn who_is_too_slow_in_the_last_epoch_goes_on_with_a_new_id() {
    for by_init in [true, false] {
        let (mut world, one) = World::at(LAST);
        world.add(one, &[partition(0)]).answer.unwrap();
        let markers = world.pass(TIMEOUT).markers.unwrap();
        assert_eq!(markers.producer, producer(100, i16::MAX));
        world.tell_all();
        let again = |world: &mut World| {
            if by_init {
                world.init(Some(one)).answer
            } else {
                world.end(one, Abort, Two).answer
            }
        };
        assert_eq!(again(&mut world), Ok(producer(101, 0)));
        assert_eq!(world.stored().producer, producer(101, 0));
        world.take_over();
        assert_eq!(again(&mut world), Ok(producer(101, 0)), "asked again");
    }
}

#[test]
fn without_an_id_to_spare_nothing_happens() {
    let needed = Outcome::of(Err(TransactionError::ProducerIdNeeded));
    let mut init = begins(TIMEOUT, None);
    let mut world = World::new();
    assert!(world.coordinator.may_need_producer_id());
    assert_eq!(world.coordinator.init(&init, None, world.now), needed);
    assert_eq!(world.coordinator.stored(), None);

    let (mut world, one) = World::at(LAST);
    assert!(world.coordinator.may_need_producer_id());
    let before = world.stored();
    for expected in [None, Some(one)] {
        init.expected = expected;
        assert_eq!(world.coordinator.init(&init, None, world.now), needed);
        assert_eq!(world.stored(), before);
    }
    world.add(one, &[partition(0)]).answer.unwrap();
    let before = world.stored();
    let end = ends(one, Commit, Two);
    assert_eq!(world.coordinator.end(&end, None, world.now), needed);
    assert_eq!(world.stored(), before);

    let (world, _) = World::at(LAST - 1);
    assert!(!world.coordinator.may_need_producer_id());
}
