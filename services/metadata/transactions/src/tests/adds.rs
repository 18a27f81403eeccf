//! What takes part in a transaction.

use super::*;

#[test]
fn the_first_participant_opens_the_transaction_and_must_be_durable() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let added = world.add(one, &[partition(0), group("g")]);
    assert_eq!(added, Outcome::stored(Ok(()), None));
    assert_eq!(world.state(), TransactionState::Ongoing);
    assert_eq!(
        *world.stored().participants(),
        set(&[partition(0), group("g")])
    );
}

#[test]
fn what_takes_part_already_is_not_stored_again() {
    let (mut world, one) = open();
    assert_eq!(world.add(one, &[partition(0)]), Outcome::of(Ok(())));
    assert_eq!(
        world.add(one, &[partition(0), partition(1)]),
        Outcome::stored(Ok(()), None)
    );
    assert_eq!(world.stored().participants().len(), 2);
}

#[test]
fn nothing_opens_no_transaction() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    assert_eq!(world.add(one, &[]), Outcome::of(Ok(())));
    assert_eq!(world.state(), TransactionState::Empty);
}

#[test]
fn only_the_producer_of_the_id_adds() {
    let mut world = World::new();
    let ask = [partition(0)];
    assert_eq!(
        world.add(producer(100, 0), &ask).answer,
        Err(UnknownProducer)
    );
    let one = world.init(None).answer.unwrap();
    assert_eq!(
        world.add(producer(99, 0), &ask).answer,
        Err(UnknownProducer)
    );
    assert_eq!(world.add(producer(100, 1), &ask).answer, Err(Fenced));
    assert_eq!(world.add(producer(100, -1), &ask).answer, Err(Fenced));
    assert_eq!(world.add(one, &ask).answer, Ok(()));
}

#[test]
fn nothing_is_added_while_the_transaction_before_is_being_ended() {
    for version in [One, Two] {
        let (mut world, one) = open();
        let next = world.end(one, Commit, version).answer.unwrap();
        let refused = Outcome::of(Err(Concurrent));
        assert_eq!(world.add(next, &[partition(1)]), refused);
        world.tell_all();
        assert_eq!(world.add(next, &[partition(1)]).answer, Ok(()));
        assert_eq!(*world.stored().participants(), set(&[partition(1)]));
    }
}

#[test]
fn a_transaction_has_at_most_so_many_partitions_and_groups() {
    let mut world = World::new();
    let one = world.init(None).answer.unwrap();
    let limits = Limits::default();
    let most = u32::try_from(limits.partitions_max).unwrap();
    let too_many: Vec<Participant> = (0..=most).map(partition).collect();
    let refused = Outcome::of(Err(TransactionError::TooLarge));
    assert_eq!(world.add(one, &too_many), refused);
    assert_eq!(world.state(), TransactionState::Empty);
    let (last, all) = too_many.split_last().unwrap();
    world.add(one, all).answer.unwrap();
    assert_eq!(world.add(one, &[last.clone(), partition(0)]), refused);
    assert_eq!(*world.stored().participants(), set(all), "all or none");

    let groups: Vec<Participant> = (0..limits.groups_max)
        .map(|n| group(&n.to_string()))
        .collect();
    world.add(one, &groups).answer.unwrap();
    assert_eq!(world.add(one, &[group("more")]), refused);
    assert!(
        world.end(one, Commit, Two).answer.is_ok(),
        "what is in it can be committed"
    );
}

#[test]
fn verifying_tells_what_does_not_take_part_and_adds_nothing() {
    let (world, one) = open();
    let asked = set(&[partition(0), partition(1), group("g")]);
    assert_eq!(
        world.coordinator.verify(one, &asked),
        Ok(set(&[partition(1), group("g")]))
    );
    assert_eq!(*world.stored().participants(), set(&[partition(0)]));
}

#[test]
fn nothing_is_verified_without_an_open_transaction_or_for_another_producer() {
    let asked = set(&[partition(0)]);
    let mut world = World::new();
    let verify = |world: &World, producer| world.coordinator.verify(producer, &asked);
    assert_eq!(verify(&world, producer(100, 0)), Err(UnknownProducer));
    let one = world.init(None).answer.unwrap();
    assert_eq!(verify(&world, one), Ok(asked.clone()));
    world.add(one, &[partition(0)]).answer.unwrap();
    assert_eq!(verify(&world, one), Ok(set(&[])));
    assert_eq!(verify(&world, producer(99, 0)), Err(UnknownProducer));
    assert_eq!(verify(&world, producer(100, 1)), Err(Fenced));
    world.end(one, Commit, One).answer.unwrap();
    assert_eq!(verify(&world, one), Err(Concurrent));
    world.tell_all();
    assert_eq!(verify(&world, one), Ok(asked.clone()));
}

#[test]
fn each_transaction_has_a_number_of_its_own() {
    let (mut world, one) = open();
    assert_eq!(world.stored().number, 1);
    world.add(one, &[partition(1)]).answer.unwrap();
    world.end(one, Commit, One).answer.unwrap();
    world.tell_all();
    assert_eq!(world.stored().number, 1);
    world.add(one, &[partition(1)]).answer.unwrap();
    assert_eq!(world.stored().number, 2);
    let two = world.begin(None).unwrap();
    world.take_over();
    world.add(two, &[partition(1)]).answer.unwrap();
    assert_eq!(world.stored().number, 3);
}
