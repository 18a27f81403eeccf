//! Members come and go.

use super::*;
use crate::classic::ClassicState;

#[test]
fn the_first_generation_waits_for_more_members_and_not_for_ever() {
    let mut world = World::new();
    let first = world.newcomer();
    let first = world.join(&first);
    assert_eq!(world.group.state(), ClassicState::PreparingRebalance);
    // Somebody comes in each period, so it is put off until the rebalance timeout is used up.
    let mut tickets = Vec::new();
    for _ in 0..4 {
        world.pass(DELAY.saturating_sub(Duration::from_millis(1)));
        let next = world.newcomer();
        tickets.push(world.join(&next));
        assert!(world.waits(first));
        world.pass(Duration::from_millis(1));
    }
    world.pass(DELAY);
    let joined = world.joined(first).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (1, 5));
    for ticket in tickets {
        let follower = world.joined(ticket).unwrap();
        assert_eq!(follower.leader, joined.leader);
        assert!(
            follower.members.is_empty(),
            "only the leader hears who is there"
        );
    }
    assert_eq!(
        world.stored, 0,
        "there is nothing to store before the assignment"
    );
}

#[test]
fn all_hear_the_leaders_assignment_once_it_is_to_be_stored() {
    let world = World::of_two();
    assert_eq!(world.group.state(), ClassicState::Stable);
    assert_eq!(world.stored, 1);
    let stored = world.group.stored();
    assert_eq!(stored.protocol.as_deref(), Some("range"));
    assert_eq!(stored.members[1].assignment, "two");
}

#[test]
fn one_more_member_makes_all_join_again() {
    let mut world = World::of_two();
    let third = world.newcomer();
    let third = world.join(&third);
    assert_eq!(world.heartbeat("m1"), Err(GroupError::RebalanceInProgress));
    let again = world.known("m1");
    let first = world.join(&again);
    assert!(world.waits(first) && world.waits(third));
    let again = world.known("m2");
    let second = world.join(&again);
    // The last one makes it whole, without any delay.
    assert_eq!(world.joined(first).unwrap().generation, 2);
    assert_eq!(world.joined(second).unwrap().leader, "m1");
    assert_eq!(world.joined(third).unwrap().member_id, "m3");
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut world = World::of_two();
    let third = world.newcomer();
    let third = world.join(&third);
    // Both say that they live, and one never comes.
    let again = world.known("m1");
    let first = world.join(&again);
    for _ in 0..REBALANCE.as_secs() - 1 {
        world.pass(Duration::from_secs(1));
        assert_eq!(world.heartbeat("m2"), Err(GroupError::RebalanceInProgress));
    }
    assert!(world.waits(first) && world.waits(third));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.joined(first).unwrap().members.len(), 2);
    assert_eq!(world.heartbeat("m2"), Err(GroupError::UnknownMember));
}

#[test]
fn who_is_silent_is_out_and_the_others_hear_of_it() {
    let mut world = World::of_two();
    world.pass(SESSION / 2);
    assert_eq!(world.heartbeat("m1"), Ok(()));
    world.pass(SESSION / 2);
    assert_eq!(world.heartbeat("m1"), Err(GroupError::RebalanceInProgress));
    let again = world.known("m1");
    let first = world.join(&again);
    assert_eq!(world.joined(first).unwrap().members.len(), 1);
}

#[test]
fn the_group_is_empty_when_the_last_one_has_gone() {
    let mut world = World::of_two();
    assert_eq!(world.leave("m2"), Ok(()));
    assert_eq!(world.leave("m2"), Err(GroupError::UnknownMember));
    assert_eq!(world.leave("m1"), Ok(()));
    assert_eq!(world.group.state(), ClassicState::Empty);
    assert!(world.group.is_idle());
    assert_eq!(world.group.wake(), None, "an empty group wants nothing");
    assert_eq!(world.stored, 2, "that it is empty must be durable");
    assert!(world.group.stored().members.is_empty());
}

#[test]
fn a_leader_that_goes_is_replaced_by_one_that_has_joined() {
    let mut world = World::of_two();
    let third = world.newcomer();
    let third = world.join(&third);
    assert_eq!(world.leave("m1"), Ok(()));
    let again = world.known("m2");
    world.join(&again);
    let joined = world.joined(third).unwrap();
    assert_eq!(joined.leader, "m2");
}

#[test]
fn a_leader_that_joins_again_wants_to_assign_anew_and_a_follower_does_not() {
    let mut world = World::of_two();
    let again = world.known("m2");
    let follower = world.join(&again);
    assert_eq!(
        world.joined(follower).unwrap().generation,
        1,
        "answered again"
    );
    let again = world.known("m1");
    let leader = world.join(&again);
    assert!(world.waits(leader));
    assert_eq!(world.heartbeat("m2"), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_follower_with_other_metadata_makes_all_join_again() {
    let mut world = World::of_two();
    let mut again = world.known("m2");
    again.protocols[0].metadata = Bytes::from_static(b"other topics");
    let follower = world.join(&again);
    assert!(world.waits(follower));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut world = World::new();
    let join = world.newcomer();
    world.join(&join);
    world.pass(DELAY);
    let again = world.known("m1");
    let again = world.join(&again);
    let joined = world.joined(again).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (1, 1));
    world.sync(world.sync_of("m1", &[("m1", "one")]));
    let again = world.sync(world.sync_of("m1", &[("m1", "something else")]));
    assert_eq!(world.synced(again).unwrap().assignment, "one");
}

#[test]
fn a_leader_that_never_assigns_is_out() {
    let mut world = World::new();
    let (first, second) = (world.newcomer(), world.newcomer());
    world.join(&first);
    world.join(&second);
    world.pass(2 * DELAY);
    let follower = world.sync(world.sync_of("m2", &[]));
    for _ in 0..REBALANCE.as_secs() {
        world.pass(Duration::from_secs(1));
        // The leader lives, but does not do its work.
        let _ = world.heartbeat("m1");
    }
    assert_eq!(world.synced(follower), Err(GroupError::RebalanceInProgress));
    assert_eq!(world.heartbeat("m1"), Err(GroupError::UnknownMember));
    let again = world.known("m2");
    let again = world.join(&again);
    assert_eq!(world.joined(again).unwrap().leader, "m2");
}

#[test]
fn a_sync_of_those_who_wait_is_answered_when_the_group_is_rebalanced() {
    let mut world = World::new();
    let (first, second) = (world.newcomer(), world.newcomer());
    world.join(&first);
    world.join(&second);
    world.pass(2 * DELAY);
    let follower = world.sync(world.sync_of("m2", &[]));
    let third = world.newcomer();
    world.join(&third);
    assert_eq!(world.synced(follower), Err(GroupError::RebalanceInProgress));
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_like_best() {
    let mut world = World::new();
    for known in [&["a", "b", "c"][..], &["c", "b"], &["x", "c", "b"]] {
        let mut join = world.newcomer();
        join.protocols = protocols(known);
        world.join(&join);
    }
    world.pass(2 * DELAY);
    assert_eq!(world.group.stored().protocol.as_deref(), Some("c"));
    let leader = world.known("m1");
    let leader = Join {
        protocols: protocols(&["a", "b", "c"]),
        ..leader
    };
    let again = world.join(&leader);
    let joined = world.joined(again).unwrap();
    assert!(
        joined
            .members
            .iter()
            .all(|member| member.metadata == "about c")
    );
}

#[test]
fn a_new_owner_finds_the_last_whole_generation_and_gives_all_a_session() {
    let mut world = World::of_two();
    let third = world.newcomer();
    world.join(&third);
    let settings = world.group.settings;
    let stored = World::of_two().group.stored();
    world.now = world.now + Duration::from_secs(1_000);
    world.group = ClassicGroup::restore(settings, stored.clone(), world.now);
    assert_eq!(world.group.stored(), stored);
    assert_eq!(world.heartbeat("m2"), Ok(()));
    assert_eq!(world.heartbeat("m3"), Err(GroupError::UnknownMember));
    let again = world.sync(world.sync_of("m2", &[]));
    assert_eq!(world.synced(again).unwrap().assignment, "two");
    world.pass(SESSION.saturating_sub(Duration::from_millis(1)));
    assert_eq!(world.group.state(), ClassicState::Stable);
    world.pass(Duration::from_millis(1));
    assert_eq!(
        world.group.state(),
        ClassicState::Empty,
        "nobody was heard of"
    );
}
