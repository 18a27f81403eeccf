//! What is refused, and that it changes nothing.

use super::*;
use crate::classic::ClassicState;

#[test]
fn sessions_outside_of_the_limits_are_refused() {
    let mut world = World::new();
    let settings = world.group.settings;
    let moment = Duration::from_millis(1);
    for session in [
        settings.session_min.saturating_sub(moment),
        settings.session_max + moment,
    ] {
        let join = Join {
            session,
            ..world.newcomer()
        };
        let ticket = world.join(&join);
        assert_eq!(world.joined(ticket), Err(GroupError::InvalidSessionTimeout));
    }
    assert!(world.group.is_idle());
}

#[test]
fn a_member_with_no_protocol_in_common_is_refused() {
    let mut world = World::of_two();
    let none = Join {
        protocols: Vec::new(),
        ..world.newcomer()
    };
    let other = Join {
        protocols: protocols(&["cooperative"]),
        ..world.newcomer()
    };
    let kind = Join {
        protocol_type: "connect".to_owned(),
        ..world.newcomer()
    };
    for join in [none, other, kind] {
        let ticket = world.join(&join);
        assert_eq!(world.joined(ticket), Err(GroupError::InconsistentProtocol));
    }
    assert_eq!(world.group.state(), ClassicState::Stable);
    let mut sync = world.sync_of("m2", &[]);
    sync.protocol = Some("sticky".to_owned());
    let ticket = world.sync(sync);
    assert_eq!(world.synced(ticket), Err(GroupError::InconsistentProtocol));
}

#[test]
fn a_member_learns_its_id_before_it_joins() {
    let mut world = World::new();
    let mut join = world.newcomer();
    join.id_first = true;
    let ticket = world.join(&join);
    let required = GroupError::MemberIdRequired("m1".to_owned());
    assert_eq!(world.joined(ticket), Err(required));
    assert_eq!(world.group.state(), ClassicState::Empty);
    assert!(!world.group.is_idle(), "somebody is about to join");
    let again = world.known("m1");
    let ticket = world.join(&again);
    world.pass(DELAY);
    assert_eq!(world.joined(ticket).unwrap().member_id, "m1");
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let mut world = World::new();
    let mut join = world.newcomer();
    join.id_first = true;
    world.join(&join);
    world.pass(SESSION);
    assert!(world.group.is_idle());
    let again = world.known("m1");
    let ticket = world.join(&again);
    assert_eq!(world.joined(ticket), Err(GroupError::UnknownMember));
}

#[test]
fn a_rebalance_waits_for_those_who_were_given_an_id() {
    let mut world = World::of_two();
    let mut join = world.newcomer();
    join.id_first = true;
    world.join(&join);
    let leader = world.known("m1");
    let leader = world.join(&leader);
    let follower = world.known("m2");
    world.join(&follower);
    assert!(world.waits(leader), "the third is about to join");
    world.leave("m3").unwrap();
    assert_eq!(world.joined(leader).unwrap().members.len(), 2);
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut world = World::new();
    for _ in 0..4 {
        let join = world.newcomer();
        world.join(&join);
    }
    let mut pending = world.newcomer();
    pending.id_first = true;
    world.join(&pending);
    let join = world.newcomer();
    let ticket = world.join(&join);
    assert_eq!(world.joined(ticket), Err(GroupError::GroupFull));
    // The one who was given an id still comes in.
    let last = world.known("m5");
    let last = world.join(&last);
    world.pass(REBALANCE);
    assert!(world.joined(last).is_ok());
}

#[test]
fn other_generations_and_strangers_are_refused() {
    let mut world = World::of_two();
    let (group, now) = (&mut world.group, world.now);
    for generation in [0, 2, -1, i32::MAX] {
        let answer = group.heartbeat("m1", None, generation, now);
        assert_eq!(answer, Err(GroupError::IllegalGeneration));
        let answer = group.check_commit("m1", None, generation, now);
        assert_eq!(answer, Err(GroupError::IllegalGeneration));
    }
    let answer = group.heartbeat("stranger", None, 1, now);
    assert_eq!(answer, Err(GroupError::UnknownMember));
    let answer = group.check_commit("", None, -1, now);
    assert_eq!(
        answer,
        Err(GroupError::UnknownMember),
        "members are at work"
    );
    assert_eq!(group.check_commit("m2", None, 1, now), Ok(()));
}

#[test]
fn offsets_are_taken_from_anybody_while_there_are_no_members() {
    let mut world = World::new();
    let now = world.now;
    assert_eq!(world.group.check_commit("", None, -1, now), Ok(()));
    let answer = world.group.check_commit("m1", None, 1, now);
    assert_eq!(answer, Err(GroupError::UnknownMember));
}

#[test]
fn offsets_of_the_generation_before_are_refused_once_the_next_has_begun() {
    let mut world = World::of_two();
    let leader = world.known("m1");
    world.join(&leader);
    let now = world.now;
    // Until all have joined, what was done may still be committed.
    assert_eq!(world.group.check_commit("m2", None, 1, now), Ok(()));
    let follower = world.known("m2");
    world.join(&follower);
    let answer = world.group.check_commit("m2", None, 1, now);
    assert_eq!(answer, Err(GroupError::IllegalGeneration));
    let answer = world.group.check_commit("m2", None, 2, now);
    assert_eq!(answer, Err(GroupError::RebalanceInProgress));
}

#[test]
fn the_one_who_asked_before_under_an_id_is_told() {
    let mut world = World::of_two();
    let leader = world.known("m1");
    let before = world.join(&leader);
    let again = world.join(&leader);
    assert_eq!(world.joined(before), Err(GroupError::RebalanceInProgress));
    assert!(world.waits(again));
}
