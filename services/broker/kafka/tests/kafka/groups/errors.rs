//! Facts about coordinators that cannot answer: how each request says so.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, HeartbeatRequest, LeaveGroupRequest,
    OffsetDeleteRequest, SyncGroupRequest,
};
use tidelog_metadata_api::GroupsError;

use super::offsets::{commit, fetched};
use super::{consumers, members, world};
use crate::world::name;

fn unavailable() -> GroupsError {
    GroupsError::Unavailable {
        reason: "a test says so".to_owned(),
    }
}

#[tokio::test]
async fn every_request_says_when_its_coordinator_is_away() {
    for (error, expected) in [
        (unavailable(), "COORDINATOR_NOT_AVAILABLE"),
        (GroupsError::Unknown, "COORDINATOR_NOT_AVAILABLE"),
        (GroupsError::NotCoordinator, "NOT_COORDINATOR"),
    ] {
        let (_world, fake, mut client) = world().await;
        fake.fail(error);
        let c = &mut client;
        let mut codes = vec![c.call(&members::join(9), 9).await.error_code];
        let sync = SyncGroupRequest {
            group_id: "g".into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..SyncGroupRequest::default()
        };
        codes.push(c.call(&sync, 5).await.error_code);
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            ..HeartbeatRequest::default()
        };
        codes.push(c.call(&beat, 4).await.error_code);
        let leave = LeaveGroupRequest {
            group_id: "g".into(),
            ..LeaveGroupRequest::default()
        };
        codes.push(c.call(&leave, 2).await.error_code);
        codes.push(c.call(&leave, 5).await.error_code);
        codes.push(c.call(&consumers::join(), 1).await.error_code);
        let committed = c.call(&commit(&[(("t", Uuid::nil()), &[(0, 1)])]), 8).await;
        codes.push(committed.topics[0].partitions[0].error_code);
        let delete = OffsetDeleteRequest {
            group_id: "g".into(),
            topics: Vec::new(),
        };
        codes.push(c.call(&delete, 0).await.error_code);
        let describe = ConsumerGroupDescribeRequest {
            group_ids: vec!["g".into()],
            ..ConsumerGroupDescribeRequest::default()
        };
        codes.push(c.call(&describe, 1).await.groups[0].error_code);
        let delete = DeleteGroupsRequest {
            groups_names: vec!["g".into()],
        };
        codes.push(c.call(&delete, 2).await.results[0].error_code);
        for code in codes {
            assert_eq!(name(code), expected);
        }
    }
}

#[tokio::test]
async fn who_asks_for_offsets_is_told_in_a_way_that_consumers_of_any_age_try_again_after() {
    let (_world, fake, mut client) = world().await;
    for (error, expected) in [
        (unavailable(), "NOT_COORDINATOR"),
        (GroupsError::Loading, "COORDINATOR_LOAD_IN_PROGRESS"),
        (GroupsError::StaleEpoch, "STALE_MEMBER_EPOCH"),
    ] {
        fake.fail(error);
        let topics: &[((&'static str, Uuid), &[i32])] = &[(("t", Uuid::nil()), &[0])];
        // The first version has no place for an error but with each partition.
        let told = fetched(&mut client, 1, Some(topics)).await;
        assert_eq!(told, ("NONE", vec![(0, -1, expected)]));
        for version in 2..=9 {
            let told = fetched(&mut client, version, Some(topics)).await;
            assert_eq!(told, (expected, Vec::new()), "version {version}");
        }
    }
}

#[tokio::test]
async fn a_generation_of_a_group_that_is_gone_has_a_name_in_every_version() {
    let (_world, fake, mut client) = world().await;
    fake.fail(GroupsError::GroupNotFound);
    for (version, expected) in [(8, "ILLEGAL_GENERATION"), (9, "GROUP_ID_NOT_FOUND")] {
        let request = commit(&[(("t", Uuid::nil()), &[(0, 1)])]);
        let response = client.call(&request, version).await;
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(name(code), expected);
    }
    // The group is of the other protocol, and has members.
    let code = client.call(&members::join(9), 9).await.error_code;
    assert_eq!(name(code), "INCONSISTENT_GROUP_PROTOCOL");
}
