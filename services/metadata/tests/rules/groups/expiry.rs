//! Offsets that nobody needs go.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommittingMember, Groups, GroupsError};

use super::{alone, commit, fetch, leave, member, name};
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
