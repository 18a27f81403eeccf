//! Nothing is answered that is not durable, and nobody who was replaced stores anything (rules C1, C3, C10).

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommittingMember, Groups, GroupsError};
use tidelog_store::memory::{CommitFault, Landing};

use super::{alone, commit, fetch, heartbeat, joins, leave, newcomer, sync};
use crate::world::{World, partition};

/// The kinds of rows that groups have.
pub(super) const KINDS: [KeyKind; 3] = [KeyKind::Group, KeyKind::GroupMember, KeyKind::GroupOffset];

const NOBODY: CommittingMember = CommittingMember::nobody();

#[tokio::test(start_paused = true)]
async fn an_assignment_is_not_told_before_it_is_durable() {
    let (world, process) = World::opened().await;
    let joined = process.join(newcomer("g")).await.expect("it is alone");
    let hold = world.store.hold(KeyKind::GroupMember);
    let mut synced = Box::pin(sync(&process.service, "g", &joined));
    tokio::select! {
        biased;
        synced = &mut synced => panic!("told too early: {synced:?}"),
        () = hold.reached() => {}
    }
    // What follows from it is not told either.
    let mut beat = Box::pin(heartbeat(&process.service, "g", &joined));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut synced).is_pending());
    assert!(futures::poll!(&mut beat).is_pending());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut beat).is_pending());
    drop(hold);
    synced.await.expect("it is durable");
    assert_eq!(beat.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_offsets_is_neither_answered_nor_shown_before_it_is_durable() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    assert_eq!(commit(groups, "g", NOBODY, at, 1).await, Ok(()));
    let hold = world.store.hold(KeyKind::GroupOffset);
    let mut second = Box::pin(commit(groups, "g", NOBODY, at, 2));
    tokio::select! {
        biased;
        done = &mut second => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    // It waits for what was on its way when it was asked (rule C9).
    let mut fetched = Box::pin(fetch(groups, "g", at));
    assert!(futures::poll!(&mut fetched).is_pending());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut fetched).is_pending());
    drop(hold);
    assert_eq!(second.await, Ok(()));
    assert_eq!(fetched.await, Ok(Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_stores_nothing_and_its_answers_are_not_believed() {
    let (world, old) = World::opened().await;
    let at = partition(0);
    assert_eq!(commit(&old.service, "g", NOBODY, at, 1).await, Ok(()));
    let joined = alone(&old.service, "members").await;
    let new = world.open_on(&world.store.sibling()).await;
    assert_eq!(commit(&new.service, "g", NOBODY, at, 2).await, Ok(()));
    let rows = KINDS.map(|kind| world.store.rows(kind));
    // It has tried to, and does not say that it has failed: only the next owner knows.
    let refused = commit(&old.service, "g", NOBODY, at, 3).await;
    assert_eq!(refused, Err(GroupsError::Unknown));
    let refused = leave(&old.service, "members", &joined.member_id).await;
    assert_eq!(refused, Err(GroupsError::NotCoordinator));
    let stale = fetch(&old.service, "g", at).await;
    assert_eq!(stale, Err(GroupsError::NotCoordinator));
    assert_eq!(KINDS.map(|kind| world.store.rows(kind)), rows);
    assert_eq!(fetch(&new.service, "g", at).await, Ok(Some(2)));
}

/// The value of the lease row was read before the takeover.
#[tokio::test(start_paused = true)]
async fn a_commit_in_flight_over_a_takeover_does_not_land() {
    let (world, old) = World::opened().await;
    let at = partition(0);
    assert_eq!(commit(&old.service, "g", NOBODY, at, 1).await, Ok(()));
    let hold = world.store.hold(KeyKind::GroupOffset);
    let mut late = Box::pin(commit(&old.service, "g", NOBODY, at, 2));
    tokio::select! {
        biased;
        done = &mut late => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert_eq!(late.await, Err(GroupsError::Unknown));
    assert_eq!(fetch(&new.service, "g", at).await, Ok(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_unknown_is_settled_before_it_is_answered() {
    let landings = [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
        Landing::Later { after_commits: 1 },
    ];
    for landing in landings {
        let (world, process) = World::opened().await;
        let groups = &process.service;
        let at = partition(0);
        let fault = CommitFault::Unknown(landing);
        world.store.fail(KeyKind::GroupOffset, fault);
        assert_eq!(commit(groups, "g", NOBODY, at, 1).await, Ok(()));
        assert_eq!(commit(groups, "g", NOBODY, at, 2).await, Ok(()));
        world.store.memory.land_delayed();
        assert_eq!(fetch(groups, "g", at).await, Ok(Some(2)), "{landing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_shard_is_lost_is_told_to_ask_the_next_owner() {
    let (world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    // A second member waits for the first to join again.
    let service = process.service.clone();
    let waiting = tokio::spawn(async move { service.join(newcomer("g")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = heartbeat(&process.service, "g", &joined).await;
    assert_eq!(refused, Err(GroupsError::RebalanceInProgress));
    world.store.fail(KeyKind::GroupOffset, CommitFault::Fenced);
    let lost = commit(&process.service, "other", NOBODY, partition(0), 1).await;
    assert_eq!(lost, Err(GroupsError::Unknown));
    let told = waiting.await.expect("it ends");
    assert_eq!(told, Err(GroupsError::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn a_member_of_the_consumer_protocol_hears_nothing_that_is_not_durable() {
    let (world, process) = World::opened().await;
    let hold = world.store.hold(KeyKind::GroupMember);
    let mut heard = Box::pin(process.consumer_heartbeat(joins("g", "a")));
    tokio::select! {
        biased;
        heard = &mut heard => panic!("told too early: {heard:?}"),
        () = hold.reached() => {}
    }
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert_eq!(heard.await, Err(GroupsError::Unknown));
    for kind in KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
    let heard = new.consumer_heartbeat(joins("g", "a")).await;
    assert_eq!(heard.expect("it joins").epoch, 1);
}

/// Where the sequencer has no room for what groups store, they wait their turn.
#[tokio::test(start_paused = true)]
async fn what_has_no_room_waits_and_is_stored_in_order() {
    let mut world = World::new();
    world.settings.mailbox_bytes = 1;
    let process = world.open().await;
    let groups = &process.service;
    let at = partition(0);
    let hold = world.store.hold(KeyKind::GroupOffset);
    let mut first = Box::pin(commit(groups, "g", NOBODY, at, 1));
    tokio::select! {
        biased;
        done = &mut first => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    let names: Vec<String> = (0..50).map(|number| format!("g{number}")).collect();
    let many = names
        .iter()
        .map(|group| commit(groups, group, NOBODY, at, 7));
    let mut many = Box::pin(futures::future::join_all(many));
    let mut second = Box::pin(commit(groups, "g", NOBODY, at, 2));
    let mut deleted = Box::pin(groups.delete_groups(&[]));
    assert!(futures::poll!(&mut many).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(deleted.as_mut().await, []);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(futures::poll!(&mut second).is_pending());
    let before = world.store.commits();
    drop(hold);
    assert_eq!(first.await, Ok(()));
    assert_eq!(second.await, Ok(()));
    assert_eq!(many.await, vec![Ok(()); 50]);
    // All that waited is one transaction, or a few.
    assert!(world.store.commits() - before < 5);
    assert_eq!(fetch(groups, "g", at).await, Ok(Some(2)));
    assert_eq!(fetch(groups, "g49", at).await, Ok(Some(7)));
}

/// A group is deleted with the offsets that are on their way.
#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_what_is_on_its_way() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let at = partition(0);
    assert_eq!(commit(groups, "g", NOBODY, at, 1).await, Ok(()));
    let hold = world.store.hold(KeyKind::GroupOffset);
    let mut second = Box::pin(commit(groups, "g", NOBODY, partition(1), 2));
    tokio::select! {
        biased;
        done = &mut second => panic!("answered too early: {done:?}"),
        () = hold.reached() => {}
    }
    let names = [super::name("g")];
    let mut deleted = Box::pin(groups.delete_groups(&names));
    assert!(futures::poll!(&mut deleted).is_pending());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(hold);
    assert_eq!(second.await, Ok(()));
    assert_eq!(deleted.await, [Ok(())]);
    for kind in KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
}

/// It would throw out who has joined at the next owner.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_and_does_not_know_it_throws_nobody_out() {
    let (world, old) = World::opened().await;
    let before = alone(&old.service, "g").await;
    let new = world.open_on(&world.store.sibling()).await;
    let left = leave(&new.service, "g", &before.member_id).await;
    assert_eq!(left, Ok(()));
    let joined = alone(&new.service, "g").await;
    assert_eq!(heartbeat(&new.service, "g", &joined).await, Ok(()));
    let told = heartbeat(&old.service, "g", &joined).await;
    assert_eq!(told, Err(GroupsError::NotCoordinator));
}

/// The next owner may have given them to another.
#[tokio::test(start_paused = true)]
async fn who_was_replaced_and_does_not_know_it_hands_out_no_partitions() {
    let (world, old) = World::opened().await;
    let joined = old.consumer_heartbeat(joins("new", "a")).await;
    let joined = joined.expect("it joins");
    let classic = alone(&old.service, "classic").await;
    let new = world.open_on(&world.store.sibling()).await;
    let leaves = tidelog_metadata_api::ConsumerHeartbeat {
        epoch: -1,
        ..super::lives("new", &joined, &[])
    };
    new.consumer_heartbeat(leaves).await.expect("it may");
    // What it has said may have been taken in.
    let again = old.consumer_heartbeat(joins("new", "a")).await;
    assert_eq!(again, Err(GroupsError::Unknown));
    let left = leave(&new.service, "classic", &classic.member_id).await;
    assert_eq!(left, Ok(()));
    let synced = sync(&old.service, "classic", &classic).await;
    assert_eq!(synced, Err(GroupsError::NotCoordinator));
    let again = old.join(super::known("classic", &classic.member_id)).await;
    assert_eq!(again, Err(GroupsError::NotCoordinator));
}

/// Timers that come too late, since the process stood still, forgive the members of the groups that are here. A group
/// that is being read then keeps its place, and those who wait for it are served.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_being_read_while_timers_are_late_is_read_once() {
    let (world, process) = World::opened().await;
    let here = alone(&process.service, "here").await;
    world.store.freeze();
    let mut first = Box::pin(commit(&process.service, "g", NOBODY, partition(0), 1));
    assert!(futures::poll!(&mut first).is_pending());
    tokio::task::yield_now().await;
    // The session of the member is over, and nobody could have heard of it.
    tokio::time::advance(super::SESSION + Duration::from_secs(5)).await;
    let mut second = Box::pin(commit(&process.service, "g", NOBODY, partition(1), 2));
    assert!(futures::poll!(&mut second).is_pending());
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.store.thaw();
    assert_eq!(first.await, Ok(()));
    assert_eq!(second.await, Ok(()));
    assert_eq!(heartbeat(&process.service, "here", &here).await, Ok(()));
}

/// Who hears that another one coordinates the group asks that one the same again: that must do no harm.
#[tokio::test(start_paused = true)]
async fn of_a_heartbeat_whose_answer_is_not_proven_nothing_is_known() {
    let (world, old) = World::opened().await;
    let heard = old.consumer_heartbeat(joins("g", "a")).await;
    let heard = heard.expect("it joins");
    let full = tidelog_metadata_api::ConsumerHeartbeat {
        epoch: heard.epoch,
        ..joins("g", "a")
    };
    let new = world.open_on(&world.store.sibling()).await;
    let told = old.consumer_heartbeat(full.clone()).await;
    assert_eq!(told, Err(GroupsError::Unknown));
    let told = new.consumer_heartbeat(full).await;
    assert_eq!(told.expect("it is a member").epoch, heard.epoch);
}
