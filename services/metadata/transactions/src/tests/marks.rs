//! Telling everybody how a transaction has ended.

use super::*;

#[test]
fn a_transaction_has_ended_when_everybody_is_told() {
    let (mut world, one) = open();
    world.add(one, &[partition(1), group("g")]).answer.unwrap();
    world.end(one, Commit, One).answer.unwrap();
    let mut mark = |participants: &[Participant]| {
        let effects = world.mark(1, participants);
        (effects.store, world.coordinator.missing_markers())
    };
    let (store, missing) = mark(&[partition(1)]);
    assert!(!store, "progress need not be durable");
    assert_eq!(
        missing.unwrap().participants,
        set(&[partition(0), group("g")])
    );
    let (_, missing) = mark(&[partition(1), partition(9)]);
    assert_eq!(missing.unwrap().participants.len(), 2);
    let (store, missing) = mark(&[group("g"), partition(0)]);
    assert!(store);
    assert_eq!(missing, None);
    assert_eq!(world.state(), TransactionState::CompleteCommit);
}

#[test]
fn a_marker_of_another_transaction_is_not_heard() {
    let (mut world, one) = open();
    world.end(one, Commit, One).answer.unwrap();
    world.tell_all();
    let told = [partition(0)];
    assert_eq!(world.mark(1, &told), Effects::default(), "it has ended");
    world.add(one, &[partition(0)]).answer.unwrap();
    assert_eq!(world.mark(2, &told), Effects::default(), "it is open");
    world.end(one, Abort, One).answer.unwrap();
    for number in [0, 1, 3] {
        assert_eq!(world.mark(number, &told), Effects::default());
        assert_eq!(world.state(), TransactionState::PrepareAbort);
    }
    assert!(world.mark(2, &told).store);
}

#[test]
fn a_marker_from_before_the_id_was_forgotten_is_not_heard() {
    let ended = |id| {
        let mut world = World::new();
        world.next_id = id;
        let one = world.init(None).answer.unwrap();
        world.add(one, &[partition(0)]).answer.unwrap();
        let markers = world.end(one, Commit, One).effects.markers.unwrap();
        (world, markers)
    };
    let ((_, before), (mut world, markers)) = (ended(100), ended(101));
    assert_eq!(before.number, markers.number);
    let late = world.coordinator.marked(&before, world.now);
    assert_eq!(late, Effects::default());
    assert!(world.coordinator.marked(&markers, world.now).store);
}

#[test]
fn a_new_owner_asks_again_for_the_markers_that_are_missing() {
    for decision in [Commit, Abort] {
        let (mut world, one) = open();
        world.add(one, &[partition(1)]).answer.unwrap();
        let asked = world.end(one, decision, Two).effects.markers.unwrap();
        world.take_over();
        let again = world.coordinator.missing_markers().unwrap();
        assert_eq!(again.coordinator_epoch, COORDINATOR_EPOCH + 1);
        let coordinator_epoch = COORDINATOR_EPOCH;
        assert_eq!(
            Markers {
                coordinator_epoch,
                ..again
            },
            asked
        );
        world.tell_all();
        assert_eq!(
            world.stored().phase,
            Phase::Ended {
                ending: Ending {
                    decision,
                    cause: Cause::Producer
                }
            }
        );
    }
}

#[test]
fn a_decision_that_nobody_is_left_to_hear_of_ends_at_the_next_tick() {
    let (mut world, one) = open();
    world.end(one, Commit, Two).answer.unwrap();
    let mut stored = world.stored();
    if let Phase::Ending { missing, .. } = &mut stored.phase {
        missing.clear();
    }
    world.coordinator = Coordinator::restore(Limits::default(), 4, stored, world.now);
    assert_eq!(world.coordinator.wake(), Some(world.now.mono));
    assert!(world.pass(Duration::ZERO).store);
    assert_eq!(world.state(), TransactionState::CompleteCommit);
}

#[test]
fn nothing_is_told_of_an_open_transaction_or_of_none() {
    let (world, _) = open();
    assert_eq!(world.coordinator.missing_markers(), None);
    assert_eq!(World::new().coordinator.missing_markers(), None);
}
