//! What is left of transactions in groups, and when it goes.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    CommittingMember, Decision, DeleteOffsets, GroupFilter, Groups, GroupsError,
};

use super::durable::KINDS;
use super::transactions::{commit_in, end, stable, transaction};
use super::{commit, fetch, leave, name, newcomer, sync};
use crate::world::{World, partition};

const NOBODY: CommittingMember = CommittingMember::nobody();
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test(start_paused = true)]
async fn offsets_that_wait_are_deleted_with_what_they_would_change() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let open = transaction(7, 0, 1);
    for index in 0..2 {
        let at = partition(index);
        assert_eq!(commit(groups, "g", NOBODY, at, 1).await, Ok(()));
        let done = commit_in(groups, ("g", NOBODY), open, at, 5).await;
        assert_eq!(done, Ok(()));
    }
    let request = DeleteOffsets {
        group: name("g"),
        partitions: vec![partition(0)],
    };
    let deleted = groups.delete_offsets(request).await;
    assert_eq!(deleted, Ok(vec![Ok(())]));
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(None));
    assert_eq!(groups.delete_groups(&[name("g")]).await, [Ok(())]);
    for kind in KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
    assert_eq!(world.store.rows(KeyKind::GroupPending), []);
    assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
    for index in 0..2 {
        assert_eq!(stable(groups, "g", partition(index)).await, Ok(None));
    }
}

/// What was to be part of the transaction may still be on its way. For others there is no such group.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_there_remembers_the_end_of_a_transaction_for_a_week() {
    let (world, process) = World::opened().await;
    let at = partition(0);
    let open = transaction(7, 0, 1);
    let done = end(&process.service, "g", open, Decision::Abort).await;
    assert_eq!(done, Ok(()));
    let missing = [Err(GroupsError::GroupNotFound)];
    for process in [&process, &world.open_on(&world.store.sibling()).await] {
        let groups = &process.service;
        let described = groups.describe_groups(&[name("g")]).await;
        assert!(matches!(
            described[..],
            [Err(GroupsError::GroupNotFound | GroupsError::NotCoordinator)]
        ));
    }
    let next = world.open_on(&world.store.sibling()).await;
    let groups = &next.service;
    assert_eq!(groups.delete_groups(&[name("g")]).await, missing);
    for index in 0..3 {
        let group = format!("h{index}");
        let done = end(groups, &group, open, Decision::Abort).await;
        assert_eq!(done, Ok(()));
    }
    assert_eq!(commit(groups, "i", NOBODY, at, 1).await, Ok(()));
    // Pages go on also where there is nothing to show.
    let mut after = Vec::new();
    let mut listed = Vec::new();
    for _ in 0..10 {
        let page = groups
            .list_groups(&GroupFilter::default(), &after, 2)
            .await
            .expect("the owner");
        listed.extend(page.groups.into_iter().map(|it| it.group));
        after = page.next;
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [name("i")]);
    let late = commit_in(groups, ("g", NOBODY), open, at, 5).await;
    assert_eq!(late, Err(GroupsError::TransactionEnded));
    pass(&world, 6).await;
    let late = commit_in(groups, ("g", NOBODY), open, at, 5).await;
    assert_eq!(late, Err(GroupsError::TransactionEnded));
    pass(&world, 2).await;
    for kind in KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
    assert_eq!(world.store.rows(KeyKind::GroupProducer), []);
}

/// Lets so many days pass, and the time of a sweep.
async fn pass(world: &World, days: u32) {
    world.clock.jump_wall(i64::from(days) * DAY_MILLIS);
    let sweep = Duration::from_mins(21);
    tokio::time::sleep(Duration::from_hours(24) * days + sweep).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_offsets_wait_does_not_expire() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let open = transaction(7, 0, 1);
    for index in 0..2 {
        let done = commit(groups, "g", NOBODY, partition(index), 1).await;
        assert_eq!(done, Ok(()));
    }
    let done = commit_in(groups, ("g", NOBODY), open, partition(0), 5).await;
    assert_eq!(done, Ok(()));
    pass(&world, 8).await;
    assert_eq!(fetch(groups, "g", partition(0)).await, Ok(Some(1)));
    assert_eq!(fetch(groups, "g", partition(1)).await, Ok(None));
    assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
    pass(&world, 6).await;
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(5)));
    pass(&world, 2).await;
    for kind in KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
    assert_eq!(world.store.rows(KeyKind::GroupProducer), []);
}

#[tokio::test(start_paused = true)]
async fn producers_of_a_group_at_work_expire_one_by_one() {
    let mut world = World::new();
    world.groups.classic.session_max = Duration::from_hours(24 * 365);
    let process = world.open().await;
    let groups = &process.service;
    let mut lasting = newcomer("g");
    lasting.session = Duration::from_hours(24 * 100);
    let joined = groups.join(lasting).await.expect("it is alone");
    sync(groups, "g", &joined).await.expect("it leads");
    for producer in 0..3 {
        let open = transaction(producer, 0, 1);
        let done = commit_in(groups, ("g", NOBODY), open, partition(0), 5).await;
        assert_eq!(done, Ok(()));
        assert_eq!(end(groups, "g", open, Decision::Commit).await, Ok(()));
        pass(&world, 3).await;
    }
    // The first one was heard of nine days ago.
    assert_eq!(world.store.rows(KeyKind::GroupProducer).len(), 2);
    pass(&world, 8).await;
    assert_eq!(world.store.rows(KeyKind::GroupProducer), []);
    assert_eq!(stable(groups, "g", partition(0)).await, Ok(Some(5)));
    assert_eq!(leave(groups, "g", &joined.member_id).await, Ok(()));
}
