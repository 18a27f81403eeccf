//! One case at a time.

use super::*;

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    let beaten = world.beat(&mut one).unwrap();
    assert_eq!(beaten.assignment, Some(of(1, 0..6)));
    assert!(beaten.store);
    let again = world.beat(&mut one).unwrap();
    assert_eq!(again.assignment, None, "nothing has changed");
    assert!(
        !again.store,
        "a heartbeat that changes nothing is not stored"
    );
}

#[test]
fn a_partition_that_moves_is_let_go_of_before_it_is_taken() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.beat(&mut one).unwrap();
    one.obey();
    let joined = world.beat(&mut two).unwrap();
    assert_eq!(
        joined.assignment,
        Some(Partitions::new()),
        "nothing is free yet"
    );
    assert_eq!(world.group.state(), ConsumerState::Reconciling);

    let told = world.beat(&mut one).unwrap().assignment.unwrap();
    assert_eq!(told.len(), 3);
    let epoch = one.epoch;
    assert_eq!(
        world.beat(&mut two).unwrap().assignment,
        None,
        "it is not let go of yet"
    );
    world.beat(&mut one).unwrap();
    assert_eq!(one.epoch, epoch, "who has not let go stays in its epoch");

    one.obey();
    world.beat(&mut one).unwrap();
    assert_eq!(one.epoch, world.group.epoch());
    let taken = world.beat(&mut two).unwrap().assignment.unwrap();
    assert_eq!(taken.len(), 3);
    assert!(taken.is_disjoint(&told));
    assert_eq!(world.group.state(), ConsumerState::Stable);
}

#[test]
fn what_a_member_may_be_about_to_take_is_not_given_away() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.beat(&mut one).unwrap();
    world.beat(&mut two).unwrap();
    // It was told to take all, and has not said yet that it has: it may take them at any moment.
    world.beat_in_vain(&mut one).unwrap();
    assert_eq!(world.beat(&mut two).unwrap().assignment, None);
    // Now it has heard that it is to let go.
    world.beat(&mut one).unwrap();
    assert_eq!(world.beat(&mut two).unwrap().assignment.unwrap().len(), 3);
}

#[test]
fn who_does_not_let_go_in_time_is_out() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.beat(&mut one).unwrap();
    one.obey();
    world.beat(&mut two).unwrap();
    for _ in 0..REBALANCE.as_secs() {
        world.beat(&mut one).unwrap();
        world.beat(&mut two).unwrap();
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.beat(&mut one), Err(GroupError::UnknownMember));
    assert_eq!(world.beat(&mut two).unwrap().assignment, Some(of(1, 0..6)));
}

#[test]
fn who_is_silent_is_out_and_what_it_had_is_free() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.settle(&mut [&mut one, &mut two]);
    world.pass(world.group.settings.session / 2);
    world.beat(&mut two).unwrap();
    world.pass(world.group.settings.session / 2);
    assert_eq!(world.beat(&mut two).unwrap().assignment, Some(of(1, 0..6)));
    assert_eq!(world.beat(&mut one), Err(GroupError::UnknownMember));
}

#[test]
fn who_leaves_is_gone_and_a_group_without_members_is_empty() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    world.settle(&mut [&mut one]);
    one.epoch = -1;
    assert_eq!(world.beat(&mut one).unwrap().epoch, -1);
    assert_eq!(world.group.state(), ConsumerState::Empty);
    assert_eq!(world.group.wake(), None);
    assert_eq!(world.beat(&mut one), Err(GroupError::UnknownMember));
}

#[test]
fn an_answer_that_was_lost_is_forgiven_and_a_stranger_epoch_is_not() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    world.settle(&mut [&mut one]);
    world.topics.set("a", 1, 8);
    let before = one.epoch;
    let lost = world.beat_in_vain(&mut one).unwrap();
    assert!(lost.epoch > before);
    // It speaks of the epoch before, with nothing that it should not have.
    assert_eq!(world.beat(&mut one).unwrap().epoch, lost.epoch);

    let mut ahead = one.clone();
    ahead.epoch += 1;
    assert_eq!(world.beat(&mut ahead), Err(GroupError::FencedEpoch));
    let mut greedy = one.clone();
    greedy.epoch = before;
    greedy.owned = of(1, 0..99);
    assert_eq!(world.beat(&mut greedy), Err(GroupError::FencedEpoch));
}

#[test]
fn more_partitions_are_given_out_when_the_topic_grows_or_appears() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a", "later"]);
    world.settle(&mut [&mut one]);
    world.topics.set("a", 1, 7);
    world.settle(&mut [&mut one]);
    assert_eq!(one.owned, of(1, 0..7));
    world.topics.set("later", 2, 2);
    world.settle(&mut [&mut one]);
    assert!(one.owned.is_superset(&of(2, 0..2)));
    let epoch = world.group.epoch();
    world.topics.set("others", 3, 2);
    world.settle(&mut [&mut one]);
    assert_eq!(
        world.group.epoch(),
        epoch,
        "what nobody wants changes nothing"
    );
}

#[test]
fn a_topic_made_again_under_its_name_is_another_one() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    world.settle(&mut [&mut one]);
    world.topics.set("a", 9, 6);
    world.settle(&mut [&mut one]);
    assert_eq!(one.owned, of(9, 0..6));
}

#[test]
fn a_pattern_finds_topics_that_come_later() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &[]);
    let beat = Beat {
        pattern: Some("app-".to_owned()),
        ..one.beat()
    };
    let beaten = world
        .group
        .heartbeat(&beat, &world.topics, world.now)
        .unwrap();
    one.epoch = beaten.epoch;
    world.topics.set("app-1", 5, 2);
    world.settle(&mut [&mut one]);
    assert_eq!(one.owned, of(5, 0..2));
}

#[test]
fn a_static_member_that_comes_back_has_what_it_had_and_disturbs_nobody() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    one.instance = Some("first".to_owned());
    world.settle(&mut [&mut one, &mut two]);
    let (had, epoch) = (one.owned.clone(), world.group.epoch());

    let mut back = Consumer::new("back", &["a"]);
    back.instance.clone_from(&one.instance);
    assert_eq!(world.beat(&mut back), Err(GroupError::UnreleasedInstance));
    one.epoch = -2;
    assert_eq!(world.beat(&mut one).unwrap().epoch, -2);
    assert_eq!(world.beat(&mut two).unwrap().assignment, None);

    let beaten = world.beat(&mut back).unwrap();
    assert_eq!(beaten.assignment, Some(had));
    assert_eq!(world.group.epoch(), epoch);
    one.epoch = 1;
    assert_eq!(world.beat(&mut one), Err(GroupError::FencedInstance));
}

#[test]
fn a_static_member_that_does_not_come_back_is_out_after_a_session() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    one.instance = Some("first".to_owned());
    world.settle(&mut [&mut one]);
    one.epoch = -2;
    world.beat(&mut one).unwrap();
    world.pass(world.group.settings.session);
    assert_eq!(world.group.state(), ConsumerState::Empty);
}

#[test]
fn offsets_are_taken_from_members_of_the_epoch_and_from_anybody_when_there_are_none() {
    let mut world = World::new();
    let mut one = Consumer::new("one", &["a"]);
    assert_eq!(world.group.check_commit("", None, -1), Ok(()));
    world.settle(&mut [&mut one]);
    let group = &world.group;
    assert_eq!(group.check_commit("one", None, one.epoch), Ok(()));
    assert_eq!(
        group.check_commit("one", None, one.epoch - 1),
        Err(GroupError::StaleEpoch)
    );
    assert_eq!(
        group.check_commit("", None, -1),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(
        group.check_commit("two", None, 1),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut world = World::new();
    world.group.settings.members_max = 1;
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.beat(&mut one).unwrap();
    assert_eq!(world.beat(&mut two), Err(GroupError::GroupFull));
    assert_eq!(world.group.members.len(), 1);
}

#[test]
fn a_new_owner_goes_on_where_the_one_before_was() {
    let mut world = World::new();
    let (mut one, mut two) = (Consumer::new("one", &["a"]), Consumer::new("two", &["a"]));
    world.beat(&mut one).unwrap();
    one.obey();
    world.beat(&mut two).unwrap();
    world.beat(&mut one).unwrap();
    let stored = world.group.stored();
    let settings = world.group.settings;
    world.group = ConsumerGroup::restore(settings, stored.clone(), world.now);
    assert_eq!(world.group.stored(), stored);
    assert_eq!(
        world.beat(&mut two).unwrap().assignment,
        None,
        "still with the other"
    );
    world.settle(&mut [&mut one, &mut two]);
    assert_eq!(
        world.group.epoch(),
        stored.epoch,
        "no topic has changed meanwhile"
    );
    assert!(one.owned.is_disjoint(&two.owned));
}
