//! Any order of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::classic::ClassicState;

#[derive(Clone, Debug)]
enum Event {
    Join {
        id_first: bool,
        instance: Option<u8>,
    },
    JoinAgain {
        member: u8,
        other: bool,
    },
    Sync {
        member: u8,
        stale: bool,
    },
    Heartbeat {
        member: u8,
    },
    Leave {
        member: u8,
    },
    Pass {
        millis: u16,
    },
    Restore,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (any::<bool>(), prop::option::of(0..3_u8))
            .prop_map(|(id_first, instance)| Event::Join { id_first, instance }),
        4 => (0..12_u8, any::<bool>()).prop_map(|(member, other)| Event::JoinAgain { member, other }),
        4 => (0..12_u8, prop::bool::weighted(0.1))
            .prop_map(|(member, stale)| Event::Sync { member, stale }),
        2 => (0..12_u8).prop_map(|member| Event::Heartbeat { member }),
        1 => (0..12_u8).prop_map(|member| Event::Leave { member }),
        3 => (0..20_000_u16).prop_map(|millis| Event::Pass { millis }),
        1 => Just(Event::Restore),
    ]
}

/// What must hold between any two events.
fn check(world: &World) {
    let stored = world.group.stored();
    let ids: BTreeSet<_> = stored
        .members
        .iter()
        .map(|member| &member.member_id)
        .collect();
    if let Some(leader) = &stored.leader {
        assert!(ids.contains(leader), "the leader is a member");
    }
    let is_empty = world.group.state() == ClassicState::Empty;
    assert_eq!(
        is_empty,
        ids.is_empty(),
        "only a group without members is empty"
    );
    if world.group.state() == ClassicState::Stable {
        assert!(stored.leader.is_some() && stored.protocol.is_some());
    }
    assert!(ids.len() <= world.group.settings.members_max);
    if !world.group.is_idle() {
        assert!(
            world.group.wake().is_some(),
            "a group with members has a time to look at"
        );
    }
}

fn play(events: Vec<Event>) {
    let mut world = World::new();
    let mut asked = Vec::new();
    let mut lost = BTreeSet::new();
    for event in events {
        match event {
            Event::Join { id_first, instance } => {
                let mut join = world.newcomer();
                join.id_first = id_first;
                join.instance = instance.map(|name| format!("i{name}"));
                asked.push(world.join(&join));
            }
            Event::JoinAgain { member, other } => {
                let mut join = world.known(&format!("m{member}"));
                let instances = &world.group.instances;
                let mine = instances.iter().find(|(_, id)| **id == join.member_id);
                join.instance = mine.map(|(name, _)| name.clone());
                if other {
                    join.protocols[0].metadata = Bytes::from_static(b"other");
                }
                asked.push(world.join(&join));
            }
            Event::Sync { member, stale } => {
                let all = world.group.stored().members;
                let all = all
                    .iter()
                    .map(|one| (one.member_id.clone(), Bytes::from_static(b"x")));
                let mut sync = world.sync_of(&format!("m{member}"), &[]);
                sync.assignments = all.collect();
                sync.generation -= i32::from(stale);
                asked.push(world.sync(sync));
            }
            Event::Heartbeat { member } => {
                let _ = world.heartbeat(&format!("m{member}"));
            }
            Event::Leave { member } => {
                let _ = world.leave(&format!("m{member}"));
            }
            Event::Pass { millis } => world.pass(Duration::from_millis(millis.into())),
            Event::Restore => {
                // The owner dies: those who wait hear of it from the connection.
                lost.extend(asked.iter().copied().filter(|ticket| world.waits(*ticket)));
                let state = world.group.state();
                if state == ClassicState::Stable || state == ClassicState::Empty {
                    let stored = world.group.stored();
                    let settings = world.group.settings;
                    world.group = ClassicGroup::restore(settings, stored, world.now);
                }
            }
        }
        check(&world);
    }
    // Nobody says anything any more: all are answered, and nothing is left.
    world.pass(4 * REBALANCE + 4 * SESSION);
    for ticket in asked {
        assert!(
            !world.waits(ticket) || lost.contains(&ticket),
            "{ticket:?} was forgotten"
        );
    }
    assert!(world.group.is_idle(), "{:?}", world.group);
    assert_eq!(world.group.wake(), None);
}

proptest! {
    #[test]
    fn every_request_is_answered_once_and_silence_empties_the_group(
        events in prop::collection::vec(event(), 1..120)
    ) {
        play(events);
    }
}
