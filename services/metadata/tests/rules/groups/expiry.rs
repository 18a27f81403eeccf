//! Offsets that nobody needs go.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommittingMember, Groups, GroupsError};

use super::{alone, commit, fetch, leave, member, name, newcomer, sync};
use crate::world::{World, partition};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// Longer than there is between two sweeps.
const SWEEP: Duration = Duration::from_mins(21);
const NOBODY: CommittingMember = CommittingMember::nobody();

/// Lets so many days pass on both clocks, and the time of a sweep.
async fn days(world: &World, days: u32) {
    world.clock.jump_wall(i64::from(days) * DAY_MILLIS);
    tokio::time::sleep(Duration::from_hours(24) * days + SWEEP).await;
}

#[tokio::test(start_paused = true)]
async fn offsets_expire_when_their_group_had_no_members_for_long() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let joined = alone(groups, "g").await;
    let at = partition(0);
    assert_eq!(commit(groups, "g", member(&joined), at, 1).await, Ok(()));
    // Its members' time does not count.
    world.clock.jump_wall(30 * DAY_MILLIS);
    assert_eq!(leave(groups, "g", &joined.member_id).await, Ok(()));
    days(&world, 6).await;
    assert_eq!(fetch(groups, "g", at).await, Ok(Some(1)));
    days(&world, 2).await;
    assert_eq!(fetch(groups, "g", at).await, Ok(None));
    let shown = process.describe_groups(&[name("g")]).await;
    assert_eq!(shown, [Err(GroupsError::GroupNotFound)]);
    assert_eq!(world.store.rows(KeyKind::Group), []);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_nobody_in_particular_expire_one_by_one_also_under_a_new_owner() {
    let (world, process) = World::opened().await;
    for (index, wait) in [(0, 4), (1, 4)] {
        let done = commit(&process.service, "g", NOBODY, partition(index), 1).await;
        assert_eq!(done, Ok(()));
        world.clock.jump_wall(wait * DAY_MILLIS);
    }
    let next = world.open_on(&world.store.sibling()).await;
    days(&world, 0).await;
    let groups = &next.service;
    assert_eq!(fetch(groups, "g", partition(0)).await, Ok(None));
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(Some(1)));
    // Whoever commits again begins anew.
    assert_eq!(commit(groups, "g", NOBODY, partition(1), 2).await, Ok(()));
    days(&world, 4).await;
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(Some(2)));
    days(&world, 4).await;
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(None));
    assert_eq!(world.store.rows(KeyKind::Group), []);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_neither_members_nor_offsets_goes_soon() {
    let (world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    let left = leave(&process.service, "g", &joined.member_id).await;
    assert_eq!(left, Ok(()));
    assert_eq!(world.store.rows(KeyKind::Group).len(), 1);
    world.clock.jump_wall(DAY_MILLIS);
    tokio::time::sleep(SWEEP).await;
    assert_eq!(world.store.rows(KeyKind::Group), []);
}

/// Invariant I8: where there are no groups, and where nothing of them is due, nothing is done.
#[tokio::test(start_paused = true)]
async fn without_groups_nothing_is_written_and_no_timer_runs() {
    let (world, process) = World::opened().await;
    tokio::time::sleep(SWEEP).await;
    let before = world.store.commits();
    let started = tokio::time::Instant::now();
    // Paused time jumps to the next timer: nothing but this sleep may have one.
    tokio::time::sleep(Duration::from_hours(24 * 365)).await;
    assert_eq!(world.store.commits(), before);
    assert!(started.elapsed() >= Duration::from_hours(24 * 365));
    process.stop().await;
}

/// A sweep that finds no memory to look at a group comes back when there may be some.
#[tokio::test(start_paused = true)]
async fn what_a_sweep_has_no_memory_for_it_looks_at_again() {
    const LARGE: usize = 600_000;
    let mut world = World::new();
    world.groups.memory_bytes = LARGE + LARGE / 2;
    world.groups.offsets_retention = Duration::from_secs(2);
    world.groups.sweep_interval = Duration::from_secs(1);
    world.groups.idle = Duration::from_millis(100);
    let process = world.open().await;
    let done = commit(&process.service, "g", NOBODY, partition(0), 1).await;
    assert_eq!(done, Ok(()));
    let mut large = newcomer("large");
    large.session = Duration::from_mins(5);
    large.protocols[0].metadata = bytes::Bytes::from(vec![0; LARGE]);
    let joined = process.join(large).await.expect("there is room");
    // What is on its way to the store takes memory too: more than there is.
    let hold = world.store.hold(KeyKind::GroupMember);
    let mut synced = Box::pin(sync(&process.service, "large", &joined));
    tokio::select! {
        biased;
        _ = &mut synced => panic!("it is held"),
        () = hold.reached() => {}
    }
    world.clock.jump_wall(DAY_MILLIS);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(hold);
    synced.await.expect("it is stored");
    assert_eq!(world.store.rows(KeyKind::GroupOffset).len(), 1);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.store.rows(KeyKind::GroupOffset), []);
}
