//! Groups whose state is more than one transaction takes.

use bytes::Bytes;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, GroupDescription, GroupProtocol, GroupState, Groups,
    GroupsError, JoinGroup, SyncGroup,
};
use tidelog_store::memory::{CommitFault, MemoryOptions, MemoryStore};
use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

use super::{heartbeat, name, newcomer, offset, sync_of};
use crate::world::World;

const LARGE: usize = 600_000;

fn large(group: &str) -> JoinGroup {
    JoinGroup {
        protocols: vec![GroupProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from(vec![b'm'; LARGE]),
        }],
        ..newcomer(group)
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_member_is_stored_in_pieces_and_read_back() {
    let (world, process) = World::opened().await;
    let joined = process.join(large("g")).await.expect("it is alone");
    let sync = SyncGroup {
        assignments: vec![(joined.member_id.clone(), Bytes::from(vec![b'a'; LARGE]))],
        ..sync_of("g", &joined)
    };
    let synced = process.sync(sync).await.expect("it leads");
    assert_eq!(synced.assignment.len(), LARGE);
    let next = world.open_on(&world.store.sibling()).await;
    assert_eq!(heartbeat(&next.service, "g", &joined).await, Ok(()));
    let shown = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Classic(shown))] = &shown[..] else {
        panic!("it is there");
    };
    let member = &shown.members[0];
    assert_eq!(
        (member.metadata.len(), member.assignment.len()),
        (LARGE, LARGE)
    );
    assert!(member.metadata.iter().all(|byte| *byte == b'm'));
}

/// Whoever finds a group that was not written to its end takes it for one without members.
#[tokio::test(start_paused = true)]
async fn a_group_that_was_not_written_to_its_end_has_no_members() {
    let (world, process) = World::opened().await;
    let joined = process.join(large("g")).await.expect("it is alone");
    // The first transaction is durable, the second one is not.
    let fenced = CommitFault::Fenced;
    world.store.fail_after(1, KeyKind::GroupMember, fenced);
    let synced = process.sync(sync_of("g", &joined)).await;
    assert_eq!(synced, Err(GroupsError::Unknown));
    assert_eq!(world.store.rows(KeyKind::Group).len(), 1);
    assert!(!world.store.rows(KeyKind::GroupMember).is_empty());
    let rows = world.store.memory.dump();
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
    let next = World::on(store).open().await;
    let gone = heartbeat(&next.service, "g", &joined).await;
    assert_eq!(gone, Err(GroupsError::UnknownMember));
    let shown = next.describe_groups(&[name("g")]).await;
    let [Ok(GroupDescription::Classic(shown))] = &shown[..] else {
        panic!("it is there");
    };
    assert_eq!(shown.state, GroupState::Empty);
    let again = next.join(newcomer("g")).await.expect("it is alone");
    assert!(again.generation > joined.generation);
}

#[tokio::test(start_paused = true)]
async fn many_offsets_at_once_are_committed_in_several_transactions() {
    let (_world, process) = World::opened().await;
    let at = |index| TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(index));
    let request = CommitOffsets {
        group: name("g"),
        member: CommittingMember::nobody(),
        offsets: (0..20_000).map(|index| (at(index), offset(7))).collect(),
        transaction: None,
    };
    let outcomes = process.commit_offsets(request).await.expect("the owner");
    assert_eq!(outcomes.len(), 20_000);
    assert!(outcomes.iter().all(Result::is_ok));
    let groups = &process.service;
    assert_eq!(super::fetch(groups, "g", at(19_999)).await, Ok(Some(7)));
    assert_eq!(process.delete_groups(&[name("g")]).await, [Ok(())]);
    assert_eq!(super::fetch(groups, "g", at(19_999)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn more_than_is_stored_is_refused() {
    let (_world, process) = World::opened().await;
    let request = JoinGroup {
        protocols: vec![GroupProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from(vec![0; 2 << 20]),
        }],
        ..newcomer("g")
    };
    let refused = process.join(request).await;
    assert!(
        matches!(refused, Err(GroupsError::TooLarge { .. })),
        "{refused:?}"
    );
}

/// Invariant I7: who comes when memory is used up is refused, who is a member goes on.
#[tokio::test(start_paused = true)]
async fn beyond_the_memory_for_groups_nobody_joins() {
    let mut world = World::new();
    world.groups.memory_bytes = 3 * LARGE;
    let process = world.open().await;
    let first = process.join(large("a")).await.expect("there is room");
    let second = process.join(large("b")).await.expect("there is room");
    let refused = process.join(large("c")).await;
    assert!(
        matches!(refused, Err(GroupsError::Unavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(heartbeat(&process.service, "a", &first).await, Ok(()));
    assert_eq!(heartbeat(&process.service, "b", &second).await, Ok(()));
    let left = super::leave(&process.service, "a", &first.member_id).await;
    assert_eq!(left, Ok(()));
    process.join(large("c")).await.expect("there is room again");
}

/// What cannot be read of a member must not keep its group from everybody for good.
#[tokio::test(start_paused = true)]
async fn a_group_with_a_member_that_cannot_be_read_goes_on_without_members() {
    let (world, process) = World::opened().await;
    let joined = super::alone(&process.service, "g").await;
    let mut rows = world.store.memory.dump();
    let members = world.store.rows(KeyKind::GroupMember);
    for (key, value) in &mut rows {
        if members.iter().any(|(member, _)| member == key) {
            *value = Bytes::from_static(&[0xff; 3]);
        }
    }
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
    let world = World::on(store);
    let next = world.open().await;
    let gone = heartbeat(&next.service, "g", &joined).await;
    assert_eq!(gone, Err(GroupsError::UnknownMember));
    let again = super::alone(&next.service, "g").await;
    assert!(again.generation > joined.generation);
    let third = world.open_on(&world.store.sibling()).await;
    assert_eq!(heartbeat(&third.service, "g", &again).await, Ok(()));
}
