//! Groups move from one protocol to the other.

use tidelog_metadata_api::{
    CommittingMember, ConsumerHeartbeat, GroupDescription, Groups, GroupsError, LeaveGroup,
    LeavingMember,
};

use super::{alone, commit, fetch, joins, leave, lives, name, newcomer};
use crate::world::{World, partition};

#[tokio::test(start_paused = true)]
async fn a_group_without_members_speaks_the_protocol_of_whoever_comes() {
    let (world, process) = World::opened().await;
    let groups = &process.service;
    let classic = alone(groups, "g").await;
    let nobody = CommittingMember::nobody();
    let busy = groups.consumer_heartbeat(joins("g", "a")).await;
    assert_eq!(busy, Err(GroupsError::GroupNotFound));
    assert_eq!(leave(groups, "g", &classic.member_id).await, Ok(()));
    assert_eq!(commit(groups, "g", nobody, partition(0), 5).await, Ok(()));

    let a = groups.consumer_heartbeat(joins("g", "a")).await;
    let a = a.expect("nobody is there");
    // Epochs go on, so that nobody of before is taken for a member of now.
    assert!(a.epoch > classic.generation, "{a:?}");
    let busy = groups.join(newcomer("g")).await;
    assert_eq!(busy, Err(GroupsError::InconsistentProtocol));
    assert_eq!(fetch(groups, "g", partition(0)).await, Ok(Some(5)));
    let next = world.open_on(&world.store.sibling()).await;
    let shown = next.describe_groups(&[name("g")]).await;
    assert!(
        matches!(shown[..], [Ok(GroupDescription::Consumer(_))]),
        "{shown:?}"
    );
    let leaves = ConsumerHeartbeat {
        epoch: -1,
        ..lives("g", &a, &[])
    };
    next.consumer_heartbeat(leaves).await.expect("it may");
    let back = alone(&next.service, "g").await;
    assert!(back.generation > a.epoch, "{back:?}");
    assert_eq!(fetch(&next.service, "g", partition(0)).await, Ok(Some(5)));
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_members_out_of_either() {
    let (_world, process) = World::opened().await;
    let fixed = ConsumerHeartbeat {
        instance: Some("one".to_owned()),
        ..joins("g", "a")
    };
    process.consumer_heartbeat(fixed).await.expect("it joins");
    let request = LeaveGroup {
        group: name("g"),
        members: ["one", "two"].map(evicted).to_vec(),
    };
    let outcomes = Groups::leave(&process.service, request).await;
    assert_eq!(outcomes, Ok(vec![Ok(()), Err(GroupsError::UnknownMember)]));
    alone(&process.service, "g").await;
}

fn evicted(instance: &str) -> LeavingMember {
    LeavingMember {
        member_id: String::new(),
        instance: Some(instance.to_owned()),
        reason: None,
    }
}
