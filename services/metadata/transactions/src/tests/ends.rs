//! How a producer ends its transaction, and asks again.

use super::*;

#[test]
fn the_decision_is_stored_before_the_answer_and_the_markers() {
    for (version, marked) in [(One, 0), (Two, 1)] {
        for decision in [Commit, Abort] {
            let (mut world, one) = open();
            world.add(one, &[group("g")]).answer.unwrap();
            assert_eq!(world.pass(MOMENT), Effects::default());
            let ended = world.end(one, decision, version);
            assert_eq!(world.stored().changed_at, world.now.wall);
            assert_eq!(ended.answer, Ok(producer(100, marked)));
            assert!(ended.effects.store);
            let markers = Markers {
                number: 1,
                producer: producer(100, marked),
                coordinator_epoch: COORDINATOR_EPOCH,
                decision,
                participants: set(&[partition(0), group("g")]),
            };
            assert_eq!(ended.effects.markers, Some(markers));
        }
    }
}

#[test]
fn the_first_protocol_keeps_the_epoch_and_the_second_has_one_for_each_transaction() {
    let (mut world, one) = open();
    assert_eq!(world.end(one, Commit, One).answer, Ok(one));
    world.tell_all();
    world.add(one, &[partition(0)]).answer.unwrap();
    let two = world.end(one, Commit, Two).answer.unwrap();
    assert_eq!(two, producer(100, 1));
    world.tell_all();
    assert_eq!(
        world.add(one, &[partition(0)]).answer,
        Err(Fenced),
        "what comes late is not of the next transaction"
    );
    assert_eq!(world.add(two, &[partition(0)]).answer, Ok(()));
}

#[test]
fn the_same_end_again_has_the_same_answer_and_the_other_one_has_none() {
    for version in [One, Two] {
        for (decision, other) in [(Commit, Abort), (Abort, Commit)] {
            let (mut world, one) = open();
            let answer = world.end(one, decision, version).answer;
            for _ in 0..2 {
                let again = world.end(one, decision, version);
                assert_eq!(again, Outcome::of(answer), "nothing is stored twice");
                let changed = world.end(one, other, version);
                assert_eq!(changed, Outcome::of(Err(InvalidState)));
                world.take_over();
                world.tell_all();
            }
        }
    }
}

#[test]
fn an_empty_transaction_cannot_be_committed() {
    for version in [One, Two] {
        let mut world = World::new();
        let one = world.init(None).answer.unwrap();
        let refused = Outcome::of(Err(InvalidState));
        assert_eq!(world.end(one, Commit, version), refused);
    }
    let (mut world, one) = open();
    let two = world.end(one, Commit, Two).answer.unwrap();
    world.tell_all();
    assert_eq!(
        world.end(two, Commit, Two).answer,
        Err(InvalidState),
        "the commit before was of another transaction"
    );
}

#[test]
fn an_empty_transaction_can_be_aborted_in_the_second_protocol_only() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.end(one, Abort, One).answer, Err(InvalidState));
    let aborted = world.end(one, Abort, Two);
    assert_eq!(aborted, Outcome::stored(Ok(producer(100, 1)), None));
    assert_eq!(world.state(), TransactionState::CompleteAbort);
    assert_eq!(
        world.end(one, Abort, Two),
        Outcome::of(aborted.answer),
        "the answer was lost"
    );
    let two = aborted.answer.unwrap();
    assert_eq!(world.end(two, Abort, Two).answer, Ok(producer(100, 2)));
}

#[test]
fn an_id_whose_empty_transaction_is_aborted_is_in_use() {
    let expiry = Limits::default().expiry;
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.pass_almost(expiry), Effects::default());
    assert!(world.end(one, Abort, Two).effects.store);
    assert_eq!(world.stored().started_at, world.now.wall);
    assert_eq!(world.pass_almost(expiry), Effects::default());
    assert!(world.pass(MOMENT).forget);
}

#[test]
fn an_empty_transaction_after_a_commit_is_aborted_with_an_epoch_of_its_own() {
    let (mut world, one) = open();
    let two = world.end(one, Commit, Two).answer.unwrap();
    assert_eq!(
        world.end(two, Abort, Two).answer,
        Err(Concurrent),
        "not before the one before has ended"
    );
    world.tell_all();
    assert_eq!(world.end(two, Abort, Two).answer, Ok(producer(100, 2)));
    assert_eq!(world.end(one, Commit, Two).answer, Err(Fenced));
}

#[test]
fn an_end_that_is_asked_for_late_does_not_end_the_next_transaction() {
    let (mut world, one) = open();
    let two = world.end(one, Commit, Two).answer.unwrap();
    world.tell_all();
    world.add(two, &[partition(1)]).answer.unwrap();
    assert_eq!(world.end(one, Commit, Two), Outcome::of(Err(Fenced)));
    assert_eq!(world.state(), TransactionState::Ongoing);
}

#[test]
fn only_the_producer_of_the_id_ends() {
    for version in [One, Two] {
        let mut world = World::new();
        let nobody = world.end(producer(100, 0), Abort, version);
        assert_eq!(nobody, Outcome::of(Err(UnknownProducer)));
        let (mut world, _) = open();
        let end = |world: &mut World, id, epoch| world.end(producer(id, epoch), Abort, version);
        assert_eq!(end(&mut world, 99, 0).answer, Err(UnknownProducer));
        for epoch in [1, 2, -1, i16::MAX] {
            assert_eq!(end(&mut world, 100, epoch).answer, Err(Fenced));
        }
        assert_eq!(world.state(), TransactionState::Ongoing);
    }
}

#[test]
fn a_producer_that_did_not_hear_of_its_end_goes_on_where_it_is() {
    let (mut world, one) = open();
    let two = world.end(one, Commit, Two).answer.unwrap();
    assert_eq!(world.begin(Some(one)), Ok(two));
}

#[test]
fn a_producer_that_has_gone_on_does_not_end_what_was_before() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    world.init(Some(one)).answer.unwrap();
    for decision in [Commit, Abort] {
        let late = world.end(one, decision, Two);
        assert_eq!(late, Outcome::of(Err(Fenced)));
    }
}
