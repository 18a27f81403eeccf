//! Committed offsets.

use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, DeleteOffsets, FetchOffsets, GroupOffset, Groups, GroupsError,
    OFFSET_METADATA_BYTES_MAX,
};

use super::{alone, commit, fetch, leave, member, name, offset};
use crate::world::{Process, World, partition};

async fn all(process: &Process, group: &str) -> Vec<(u32, u64)> {
    let request = FetchOffsets {
        group: name(group),
        member: None,
        partitions: None,
        only_stable: false,
    };
    let mut answers = process.fetch_offsets(vec![request]).await;
    let found = answers.pop().expect("one for one").expect("the owner");
    let pairs = found.into_iter().map(|(at, found)| {
        let found = found.expect("no transaction is open");
        let found = found.expect("only those that there are");
        (at.partition.get(), found.offset.offset.get())
    });
    pairs.collect()
}

#[tokio::test(start_paused = true)]
async fn offsets_outlive_members_and_owners() {
    let (world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    for (index, at) in [(0, 7), (1, 8), (0, 9)] {
        let done = commit(&process.service, "g", member(&joined), partition(index), at);
        assert_eq!(done.await, Ok(()));
    }
    assert_eq!(all(&process, "g").await, [(0, 9), (1, 8)]);
    let next = world.open_on(&world.store.sibling()).await;
    assert_eq!(all(&next, "g").await, [(0, 9), (1, 8)]);
    assert_eq!(leave(&next.service, "g", &joined.member_id).await, Ok(()));
    assert_eq!(all(&next, "g").await, [(0, 9), (1, 8)]);
    assert_eq!(fetch(&next.service, "g", partition(2)).await, Ok(None));
    assert_eq!(all(&next, "no such group").await, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_of_an_offset_is_what_was_committed() {
    let (world, process) = World::opened().await;
    let committed = GroupOffset {
        leader_epoch: None,
        metadata: "m".repeat(OFFSET_METADATA_BYTES_MAX),
        ..offset(3)
    };
    let too_long = GroupOffset {
        metadata: "m".repeat(OFFSET_METADATA_BYTES_MAX + 1),
        ..offset(4)
    };
    world.clock.jump_wall(5);
    let request = CommitOffsets {
        group: name("g"),
        member: CommittingMember::nobody(),
        offsets: vec![(partition(0), committed.clone()), (partition(1), too_long)],
        transaction: None,
    };
    let outcomes = process.commit_offsets(request).await.expect("the owner");
    let max = OFFSET_METADATA_BYTES_MAX;
    let refused = Err(GroupsError::OffsetMetadataTooLarge { max });
    assert_eq!(outcomes, [Ok(()), refused]);
    let request = FetchOffsets {
        group: name("g"),
        member: None,
        partitions: Some(vec![partition(1), partition(0)]),
        only_stable: false,
    };
    let mut answers = process.fetch_offsets(vec![request]).await;
    let answer = answers.pop().expect("one for one").expect("the owner");
    assert_eq!(answer[0], (partition(1), Ok(None)));
    let found = answer[1].1.clone().expect("no transaction is open");
    let found = found.expect("it was committed");
    assert_eq!(found.offset, committed);
    assert_eq!(found.committed_at.as_millis(), 1_000_005);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_deleted_one_by_one_unless_a_member_may_need_them() {
    let (_world, process) = World::opened().await;
    for index in 0..3 {
        let nobody = CommittingMember::nobody();
        let done = commit(&process.service, "g", nobody, partition(index), 1).await;
        assert_eq!(done, Ok(()));
    }
    let request = |group: &str| DeleteOffsets {
        group: name(group),
        partitions: vec![partition(0), partition(3)],
    };
    let outcomes = process.delete_offsets(request("g")).await;
    assert_eq!(outcomes, Ok(vec![Ok(()), Ok(())]));
    assert_eq!(all(&process, "g").await, [(1, 1), (2, 1)]);
    let unknown = process.delete_offsets(request("other")).await;
    assert_eq!(unknown, Err(GroupsError::GroupNotFound));
    // What its members want nobody can tell from their metadata.
    alone(&process.service, "busy").await;
    let busy = process.delete_offsets(request("busy")).await;
    assert_eq!(busy, Err(GroupsError::NotEmpty));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deleted_with_its_offsets_once_it_has_no_members() {
    let (world, process) = World::opened().await;
    let joined = alone(&process.service, "g").await;
    let done = commit(&process.service, "g", member(&joined), partition(0), 1);
    assert_eq!(done.await, Ok(()));
    let delete = || process.delete_groups(&[]);
    assert_eq!(delete().await, []);
    let groups = [name("g"), name("other")];
    let refused = process.delete_groups(&groups).await;
    let missing = Err(GroupsError::GroupNotFound);
    assert_eq!(refused, [Err(GroupsError::NotEmpty), missing.clone()]);
    let left = leave(&process.service, "g", &joined.member_id).await;
    assert_eq!(left, Ok(()));
    let deleted = process.delete_groups(&groups).await;
    assert_eq!(deleted, [Ok(()), missing.clone()]);
    for kind in super::durable::KINDS {
        assert_eq!(world.store.rows(kind), [], "{kind:?}");
    }
    assert_eq!(all(&process, "g").await, []);
    let described = process.describe_groups(&[name("g")]).await;
    assert_eq!(described, [Err(GroupsError::GroupNotFound)]);
}

/// As rows they take more than as they were asked for.
#[tokio::test(start_paused = true)]
async fn requests_take_as_much_memory_as_what_they_store() {
    let mut world = World::new();
    world.groups.memory_bytes = 1024 * 1024;
    let process = world.open().await;
    let commit_of = |count: u32| CommitOffsets {
        group: name("g"),
        member: CommittingMember::nobody(),
        offsets: (0..count).map(|at| (partition(at), offset(1))).collect(),
        transaction: None,
    };
    let delete_of = |count: u32| DeleteOffsets {
        group: name("g"),
        partitions: (0..count).map(partition).collect(),
    };
    let is_full = |answer: &Result<Vec<_>, GroupsError>| {
        matches!(answer, Err(GroupsError::Unavailable { .. }))
    };
    let few = process.commit_offsets(commit_of(2_000)).await;
    assert_eq!(few, Ok(vec![Ok(()); 2_000]));
    assert!(is_full(&process.commit_offsets(commit_of(8_000)).await));
    let few = process.delete_offsets(delete_of(2_000)).await;
    assert_eq!(few, Ok(vec![Ok(()); 2_000]));
    assert!(is_full(&process.delete_offsets(delete_of(8_000)).await));
    let many = process.delete_offsets(delete_of(100_001)).await;
    assert!(matches!(many, Err(GroupsError::InvalidRequest { .. })));
    let many = process.commit_offsets(commit_of(100_001)).await;
    assert!(matches!(many, Err(GroupsError::InvalidRequest { .. })));
}
