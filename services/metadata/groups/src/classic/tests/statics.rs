//! Members with an instance id (KIP-345, KIP-814).

use super::*;
use crate::classic::ClassicState;

fn instance(world: &mut World, name: &str) -> Join {
    Join {
        instance: Some(name.to_owned()),
        ..world.newcomer()
    }
}

/// A stable group of `m1`, which leads as instance `a`, and `m2` as `b`.
fn of_two() -> World {
    let mut world = World::new();
    for name in ["a", "b"] {
        let join = instance(&mut world, name);
        world.join(&join);
    }
    world.pass(2 * DELAY);
    for id in ["m2", "m1"] {
        let name = if id == "m1" { "a" } else { "b" };
        let sync = Sync {
            instance: Some(name.to_owned()),
            ..world.sync_of(id, &[("m1", "one"), ("m2", "two")])
        };
        world.sync(sync);
    }
    assert_eq!(world.group.state(), ClassicState::Stable);
    world
}

#[test]
fn one_that_comes_back_keeps_what_it_had_and_disturbs_nobody() {
    let mut world = of_two();
    let before = world.stored;
    let join = instance(&mut world, "b");
    let ticket = world.join(&join);
    let joined = world.joined(ticket).unwrap();
    assert_eq!((joined.generation, joined.member_id.as_str()), (1, "m3"));
    assert_eq!(
        world.stored,
        before + 1,
        "the new id must outlive the owner"
    );
    let sync = world.sync(world.sync_of("m3", &[]));
    assert_eq!(world.synced(sync).unwrap().assignment, "two");
    assert_eq!(world.heartbeat("m1"), Ok(()));
}

#[test]
fn the_one_before_is_fenced() {
    let mut world = of_two();
    let join = instance(&mut world, "b");
    world.join(&join);
    let now = world.now;
    let fenced = Err(GroupError::FencedInstance);
    assert_eq!(world.group.heartbeat("m2", Some("b"), 1, now), fenced);
    assert_eq!(world.group.check_commit("m2", Some("b"), 1, now), fenced);
    assert_eq!(world.leave_as("m2", Some("b")), fenced);
    let again = Join {
        member_id: "m2".to_owned(),
        ..join
    };
    let ticket = world.join(&again);
    assert_eq!(world.joined(ticket), Err(GroupError::FencedInstance));
    assert_eq!(world.group.state(), ClassicState::Stable);
}

#[test]
fn one_that_waits_is_fenced_by_the_next() {
    let mut world = World::new();
    let first = instance(&mut world, "a");
    let first = world.join(&first);
    let second = instance(&mut world, "a");
    let second = world.join(&second);
    assert_eq!(world.joined(first), Err(GroupError::FencedInstance));
    world.pass(DELAY);
    assert_eq!(world.joined(second).unwrap().members.len(), 1);
}

#[test]
fn a_leader_that_comes_back_leads_without_assigning() {
    let mut world = of_two();
    let join = instance(&mut world, "a");
    let ticket = world.join(&join);
    let joined = world.joined(ticket).unwrap();
    assert_eq!(joined.leader, "m3");
    assert!(joined.skip_assignment);
    assert_eq!(joined.members.len(), 2, "it watches the topics of all");
}

#[test]
fn an_old_leader_that_comes_back_does_not_hear_that_it_leads() {
    let mut world = of_two();
    let mut join = instance(&mut world, "a");
    join.may_skip = false;
    let ticket = world.join(&join);
    let joined = world.joined(ticket).unwrap();
    assert_eq!(joined.leader, "m1");
    assert!(!joined.skip_assignment && joined.members.is_empty());
    assert_eq!(world.group.stored().leader.as_deref(), Some("m3"));
}

#[test]
fn one_that_comes_back_with_other_wishes_makes_all_join_again() {
    let mut world = of_two();
    let mut join = instance(&mut world, "b");
    join.protocols = protocols(&["sticky"]);
    let ticket = world.join(&join);
    assert!(world.waits(ticket));
    assert_eq!(world.group.state(), ClassicState::PreparingRebalance);
}

#[test]
fn one_that_is_away_during_a_rebalance_is_not_out_until_its_session_ends() {
    let mut world = of_two();
    let leader = Join {
        member_id: "m1".to_owned(),
        rebalance: Duration::from_secs(5),
        ..instance(&mut world, "a")
    };
    let away = Join {
        rebalance: Duration::from_secs(5),
        ..instance(&mut world, "b")
    };
    // Short times to join, long sessions.
    world.join(&away);
    let ticket = world.join(&leader);
    world.pass(Duration::from_secs(5));
    let joined = world.joined(ticket).unwrap();
    assert_eq!(joined.members.len(), 2, "`b` is still counted");
}

#[test]
fn an_operator_removes_one_by_its_instance_id() {
    let mut world = of_two();
    assert_eq!(
        world.leave_as("", Some("c")),
        Err(GroupError::UnknownMember)
    );
    assert_eq!(world.leave_as("", Some("b")), Ok(()));
    assert_eq!(world.group.state(), ClassicState::PreparingRebalance);
}
