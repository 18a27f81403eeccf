//! Facts about groups at real coordinators.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::leave_group_request::MemberIdentity;
use tidelog_kafka_codec::messages::offset_fetch_request::OffsetFetchRequestGroup;
use tidelog_kafka_codec::messages::sync_group_request::SyncGroupRequestAssignment;
use tidelog_kafka_codec::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};

use super::consumers;
use super::members::join;
use super::offsets::{commit, fetched};
use crate::world::{Client, World, name};

/// Joins as a member with an id.
async fn enter(client: &mut Client) -> String {
    let dynamic = JoinGroupRequest {
        group_instance_id: None,
        ..join(9)
    };
    let response = client.call(&dynamic, 9).await;
    assert_eq!(name(response.error_code), "MEMBER_ID_REQUIRED");
    response.member_id.to_string()
}

fn join_as(member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        member_id: member.into(),
        group_instance_id: None,
        ..join(9)
    }
}

/// Asks what to do; the leader says it for all.
async fn sync(client: &mut Client, joined: &JoinGroupResponse) -> String {
    let members = joined.members.iter();
    let assignments = members.map(|member| SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: format!("for {}", member.member_id).into(),
    });
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.collect(),
        ..SyncGroupRequest::default()
    };
    let response = client.call(&request, 5).await;
    assert_eq!(name(response.error_code), "NONE");
    String::from_utf8(response.assignment.to_vec()).unwrap()
}

async fn beat(client: &mut Client, joined: &JoinGroupResponse) -> &'static str {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    name(client.call(&request, 4).await.error_code)
}

async fn commit_as(client: &mut Client, joined: &JoinGroupResponse, offset: i64) -> &'static str {
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..commit(&[(("t", Uuid::nil()), &[(0, offset)])])
    };
    let response = client.call(&request, 9).await;
    name(response.topics[0].partitions[0].error_code)
}

/// Waits until the member hears that it has to join again.
async fn until_rebalance(client: &mut Client, joined: &JoinGroupResponse) {
    while beat(client, joined).await == "NONE" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_members_of_the_classic_protocol_share_a_group_until_one_leaves() {
    let (world, mut first) = World::with_topic(2).await;
    let id = enter(&mut first).await;
    let one = first.call(&join_as(&id), 9).await;
    assert_eq!((one.error_code, &*one.leader), (0, id.as_str()));
    assert_eq!(sync(&mut first, &one).await, format!("for {id}"));
    assert_eq!(commit_as(&mut first, &one, 5).await, "NONE");
    // Some clients say who they are when they ask where to go on.
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        member_id: Some(id.as_str().into()),
        member_epoch: one.generation_id,
        topics: None,
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..OffsetFetchRequest::default()
    };
    let response = first.call(&request, 9).await;
    assert_eq!(name(response.groups[0].error_code), "NONE");
    // Another one comes: both join again.
    let mut second = world.client().await;
    let other = enter(&mut second).await;
    second.send(&join_as(&other), 9).await;
    until_rebalance(&mut first, &one).await;
    let one = first.call(&join_as(&id), 9).await;
    let (_, two) = second.receive::<JoinGroupRequest>(9).await;
    assert_eq!((one.generation_id, two.generation_id), (2, 2));
    assert_eq!((one.members.len(), two.members.len()), (2, 0));
    assert_eq!(sync(&mut first, &one).await, format!("for {id}"));
    assert_eq!(sync(&mut second, &two).await, format!("for {other}"));
    assert_eq!(commit_as(&mut second, &two, 7).await, "NONE");
    assert_eq!(commit_as(&mut second, &one, 1).await, "NONE");
    // One leaves, and can commit no more.
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity {
            member_id: other.as_str().into(),
            ..MemberIdentity::default()
        }],
        ..LeaveGroupRequest::default()
    };
    assert_eq!(first.call(&leave, 5).await.members[0].error_code, 0);
    assert_eq!(commit_as(&mut second, &two, 9).await, "UNKNOWN_MEMBER_ID");
    until_rebalance(&mut first, &one).await;
    let topics: &[((&'static str, Uuid), &[i32])] = &[(("t", Uuid::nil()), &[0])];
    let told = fetched(&mut second, 9, Some(topics)).await;
    assert_eq!(told, ("NONE", vec![(0, 1, "NONE")]));
}

#[tokio::test]
async fn an_empty_group_is_listed_described_and_deleted_with_its_offsets() {
    let (_world, mut client) = World::with_topic(1).await;
    let request = commit(&[(("t", Uuid::nil()), &[(0, 5)])]);
    let response = client.call(&request, 9).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    let listed = client.call(&ListGroupsRequest::default(), 5).await;
    let groups = listed.groups.iter();
    let told = groups.map(|it| (&*it.group_id, &*it.group_state, &*it.group_type));
    assert_eq!(told.collect::<Vec<_>>(), [("g", "Empty", "classic")]);
    let describe = DescribeGroupsRequest {
        groups: vec!["g".into(), "nobody".into()],
        ..DescribeGroupsRequest::default()
    };
    let described = client.call(&describe, 6).await.groups;
    assert_eq!(&*described[0].group_state, "Empty");
    assert_eq!(name(described[1].error_code), "GROUP_ID_NOT_FOUND");
    let delete = DeleteGroupsRequest {
        groups_names: vec!["g".into(), "nobody".into()],
    };
    let results = client.call(&delete, 2).await.results;
    let codes = results.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["NONE", "GROUP_ID_NOT_FOUND"]);
    assert_eq!(fetched(&mut client, 9, None).await, ("NONE", Vec::new()));
    let gone = OffsetCommitRequest {
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        ..request
    };
    for (version, code) in [(8, "ILLEGAL_GENERATION"), (9, "GROUP_ID_NOT_FOUND")] {
        let response = client.call(&gone, version).await;
        assert_eq!(name(response.topics[0].partitions[0].error_code), code);
    }
}

/// A heartbeat that says what the last one gave.
fn next(member: &str, last: &ConsumerGroupHeartbeatResponse) -> ConsumerGroupHeartbeatRequest {
    use tidelog_kafka_codec::messages::consumer_group_heartbeat_request::TopicPartitions;
    let assigned = last.assignment.as_ref().map(|assignment| {
        let topics = assignment.topic_partitions.iter();
        let topics = topics.map(|topic| TopicPartitions {
            topic_id: topic.topic_id,
            partitions: topic.partitions.clone(),
        });
        topics.collect()
    });
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: last.member_epoch,
        topic_partitions: assigned,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn partitions(response: &ConsumerGroupHeartbeatResponse) -> Option<usize> {
    let assignment = response.assignment.as_ref()?;
    Some(
        assignment
            .topic_partitions
            .iter()
            .map(|it| it.partitions.len())
            .sum(),
    )
}

#[tokio::test]
async fn two_members_of_the_consumer_protocol_are_given_half_each() {
    let (world, mut first) = World::with_topic(2).await;
    let mut one = first.call(&consumers::join(), 1).await;
    assert_eq!((name(one.error_code), partitions(&one)), ("NONE", Some(2)));
    one = first.call(&next("m", &one), 1).await;
    let mut second = world.client().await;
    let other = ConsumerGroupHeartbeatRequest {
        member_id: "n".into(),
        ..consumers::join()
    };
    let mut two = second.call(&other, 1).await;
    assert_eq!((name(two.error_code), partitions(&two)), ("NONE", Some(0)));
    // The first gives one up, and the second gets it.
    for _ in 0..20 {
        let answer = first.call(&next("m", &one), 1).await;
        one = ConsumerGroupHeartbeatResponse {
            assignment: answer.assignment.clone(),
            ..answer
        };
        let answer = second.call(&next("n", &two), 1).await;
        let has = answer.assignment.clone().or(two.assignment.clone());
        two = ConsumerGroupHeartbeatResponse {
            assignment: has,
            ..answer
        };
        if partitions(&two) == Some(1) {
            break;
        }
    }
    assert_eq!(partitions(&two), Some(1));
    let describe = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let group = first.call(&describe, 1).await.groups.remove(0);
    assert_eq!((group.error_code, group.members.len()), (0, 2));
    assert_eq!(&*group.assignor_name, "uniform");
    let leave = ConsumerGroupHeartbeatRequest {
        member_epoch: -1,
        ..next("n", &two)
    };
    let left = second.call(&leave, 1).await;
    assert_eq!((left.member_epoch, left.heartbeat_interval_ms), (-1, 0));
    let gone = next("n", &two);
    let code = second.call(&gone, 1).await.error_code;
    assert_eq!(name(code), "UNKNOWN_MEMBER_ID");
}
