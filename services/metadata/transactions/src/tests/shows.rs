//! What is shown of transactions.

use tidelog_metadata_api::TransactionFilter;

use super::*;

#[test]
fn each_state_has_the_name_that_tools_know() {
    let (mut world, one) = open();
    let name = |world: &World| world.state().name();
    assert_eq!(name(&world), "Ongoing");
    world.end(one, Commit, One).answer.unwrap();
    assert_eq!(name(&world), "PrepareCommit");
    world.tell_all();
    assert_eq!(name(&world), "CompleteCommit");
    world.add(one, &[partition(0)]).answer.unwrap();
    world.end(one, Abort, One).answer.unwrap();
    assert_eq!(name(&world), "PrepareAbort");
    world.tell_all();
    assert_eq!(name(&world), "CompleteAbort");
    world.init(None).answer.unwrap();
    assert_eq!(name(&world), "Empty");
    assert_eq!(TransactionState::ALL.len(), 6);
}

#[test]
fn an_open_transaction_shows_when_it_began_and_what_takes_part() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.stored().started_at, Timestamp::NONE);
    let _ = world.pass(TIMEOUT);
    let began = world.now.wall;
    world.add(one, &[partition(0), group("g")]).answer.unwrap();
    let _ = world.pass(MINUTE / 2);
    world.add(one, &[partition(1)]).answer.unwrap();
    let stored = world.stored();
    assert_eq!((stored.started_at, stored.timeout), (began, TIMEOUT));
    assert_eq!(stored.participants().len(), 3);
    world.end(one, Commit, One).answer.unwrap();
    let _ = world.mark(1, &[partition(1), group("g")]);
    assert_eq!(*world.stored().participants(), set(&[partition(0)]));
    world.tell_all();
    assert!(world.stored().participants().is_empty());
    assert_eq!(world.stored().started_at, began);
    world.init(None).answer.unwrap();
    assert_eq!(world.stored().started_at, Timestamp::NONE);
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn while_it_is_ended_a_transaction_shows_the_producer_of_its_markers() {
    let (mut world, one) = World::at(i16::MAX - 1);
    world.add(one, &[partition(0)]).answer.unwrap();
    assert_eq!(world.stored().shown_producer(), one);
    let next = world.end(one, Commit, Two).answer.unwrap();
    assert_eq!(world.stored().shown_producer(), producer(100, i16::MAX));
    world.tell_all();
    assert_eq!(world.stored().shown_producer(), next);
}

#[test]
fn a_list_has_what_every_filter_lets_through() {
    let (mut world, _) = open();
    let _ = world.pass(MINUTE / 2);
    let stored = world.stored();
    let lists = |filter: &TransactionFilter| stored.is_listed(filter, world.now.wall);
    let all = TransactionFilter::default();
    assert!(lists(&all));
    for (states, listed) in [
        (
            vec![TransactionState::Ongoing, TransactionState::Empty],
            true,
        ),
        (vec![TransactionState::Empty], false),
    ] {
        let filter = TransactionFilter {
            states,
            ..all.clone()
        };
        assert_eq!(lists(&filter), listed);
    }
    for (id, listed) in [(100, true), (99, false)] {
        let filter = TransactionFilter {
            producers: vec![ProducerId::new(id)],
            ..all.clone()
        };
        assert_eq!(lists(&filter), listed);
    }
    for (than, listed) in [
        (MINUTE / 3, true),
        (MINUTE / 2, false),
        (Duration::MAX, false),
    ] {
        let filter = TransactionFilter {
            longer_than: Some(than),
            ..all.clone()
        };
        assert_eq!(lists(&filter), listed);
    }
}
