//! Facts about committed offsets.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidelog_kafka_codec::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use tidelog_kafka_codec::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use tidelog_kafka_codec::messages::{
    DescribeGroupsRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetFetchRequest,
};
use tidelog_metadata_api::{GroupsError, TopicSelector};
use tidelog_types::PartitionIndex;

use super::world;
use crate::world::{Client, name};

/// A topic by its name, and by its id in versions that want it.
type Named = (&'static str, Uuid);

/// Asks to commit offsets: of each topic some partitions.
pub(super) fn commit(topics: &[(Named, &[(i32, i64)])]) -> OffsetCommitRequest {
    let topics = topics.iter().map(|((name, topic_id), offsets)| {
        let partitions = offsets
            .iter()
            .map(|(index, offset)| OffsetCommitRequestPartition {
                partition_index: *index,
                committed_offset: *offset,
                committed_metadata: Some("note".into()),
                ..OffsetCommitRequestPartition::default()
            });
        OffsetCommitRequestTopic {
            name: (*name).into(),
            topic_id: *topic_id,
            partitions: partitions.collect(),
        }
    });
    OffsetCommitRequest {
        group_id: "g".into(),
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    }
}

fn codes(response: &OffsetCommitResponse) -> Vec<&'static str> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| name(it.error_code)).collect()
}

/// Asks for offsets in any version. Names and ids are given, and each version takes what it knows.
pub(super) fn fetch(version: i16, topics: Option<&[(Named, &[i32])]>) -> OffsetFetchRequest {
    if version >= 8 {
        let topics = topics.map(|topics| {
            let topics = topics
                .iter()
                .map(|((name, id), indexes)| OffsetFetchRequestTopics {
                    name: if version < 10 {
                        (*name).into()
                    } else {
                        "".into()
                    },
                    topic_id: if version < 10 { Uuid::nil() } else { *id },
                    partition_indexes: indexes.to_vec(),
                });
            topics.collect()
        });
        let group = OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        return OffsetFetchRequest {
            groups: vec![group],
            ..OffsetFetchRequest::default()
        };
    }
    let topics = topics.map(|topics| {
        let topics = topics
            .iter()
            .map(|((name, _), indexes)| OffsetFetchRequestTopic {
                name: (*name).into(),
                partition_indexes: indexes.to_vec(),
            });
        topics.collect()
    });
    OffsetFetchRequest {
        group_id: "g".into(),
        topics,
        ..OffsetFetchRequest::default()
    }
}

/// The error of the group, and of each partition its index, offset and error.
pub(super) async fn fetched(
    client: &mut Client,
    version: i16,
    topics: Option<&[(Named, &[i32])]>,
) -> (&'static str, Vec<(i32, i64, &'static str)>) {
    fetched_by(client, version, &fetch(version, topics)).await
}

async fn fetched_by(
    client: &mut Client,
    version: i16,
    request: &OffsetFetchRequest,
) -> (&'static str, Vec<(i32, i64, &'static str)>) {
    let response = client.call(request, version).await;
    if let Some(group) = response.groups.first() {
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        let told =
            partitions.map(|it| (it.partition_index, it.committed_offset, name(it.error_code)));
        return (name(group.error_code), told.collect());
    }
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let told = partitions.map(|it| (it.partition_index, it.committed_offset, name(it.error_code)));
    (name(response.error_code), told.collect())
}

#[tokio::test]
async fn what_is_committed_is_fetched_in_every_version() {
    let (world, fake, mut client) = world().await;
    let id = *world.topic("u", 1, &[]).await.id.as_uuid();
    for version in 2..=10 {
        let u = if version < 10 {
            ("u", Uuid::nil())
        } else {
            ("", id)
        };
        let offset = i64::from(version);
        let response = client.call(&commit(&[(u, &[(0, offset)])]), version).await;
        assert_eq!(codes(&response), ["NONE"], "version {version}");
        assert_eq!(response.topics[0].topic_id.is_nil(), version < 10);
    }
    assert!(fake.last().contains("epoch: -1"), "{}", fake.last());
    for version in 1..=10 {
        let told = fetched(&mut client, version, Some(&[(("u", id), &[0, 7])])).await;
        // A partition that is not there has no offset.
        let expected = vec![(0, 10, "NONE"), (7, -1, "NONE")];
        assert_eq!(told, ("NONE", expected), "version {version}");
        if version >= 2 {
            let told = fetched(&mut client, version, None).await;
            assert_eq!(told, ("NONE", vec![(0, 10, "NONE")]), "version {version}");
        }
    }
    let response = client.call(&fetch(9, None), 9).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!(partition.metadata.as_deref(), Some("note"));
    assert_eq!(partition.committed_leader_epoch, -1);
}

#[tokio::test]
async fn an_offset_that_a_transaction_may_change_is_told_apart_if_the_client_asks() {
    let (world, fake, mut client) = world().await;
    let topic = world.topic("u", 2, &[]).await;
    let id = *topic.id.as_uuid();
    let request = commit(&[(("u", Uuid::nil()), &[(0, 5), (1, 6)])]);
    client.call(&request, 8).await;
    let (unstable, _) = topic.partition(PartitionIndex::new(1)).unwrap();
    fake.unstable.lock().insert(unstable);
    for version in 7..=10 {
        for topics in [None, Some(&[(("u", id), &[0, 1][..])][..])] {
            let mut request = fetch(version, topics);
            request.require_stable = true;
            let told = fetched_by(&mut client, version, &request).await;
            let waits = (1, -1, "UNSTABLE_OFFSET_COMMIT");
            let expected = vec![(0, 5, "NONE"), waits];
            assert_eq!(told, ("NONE", expected), "version {version}");
            request.require_stable = false;
            let told = fetched_by(&mut client, version, &request).await;
            let expected = vec![(0, 5, "NONE"), (1, 6, "NONE")];
            assert_eq!(told, ("NONE", expected), "version {version}");
        }
    }
}

#[tokio::test]
async fn offsets_are_committed_for_what_is_there_and_each_is_told_how_it_went() {
    let (_world, fake, mut client) = world().await;
    let none = Uuid::nil();
    let request = commit(&[
        (("t", none), &[(0, 5), (9, 5), (1, -5), (-1, 5)]),
        (("nowhere", none), &[(0, 5)]),
        (("t", none), &[(1, 6)]),
    ]);
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    let expected = ["NONE", unknown, "INVALID_REQUEST", unknown, unknown, "NONE"];
    assert_eq!(codes(&client.call(&request, 8).await), expected);
    assert_eq!(fake.offsets.lock().len(), 2);
    *fake.fails_each.lock() = Some(GroupsError::OffsetMetadataTooLarge { max: 3 });
    let codes_now = codes(&client.call(&request, 8).await);
    assert_eq!(codes_now[0], "OFFSET_METADATA_TOO_LARGE");
    assert_eq!(codes_now[1..5], expected[1..5]);
    let id = Uuid::from_u128(5);
    let by_id = commit(&[(("", id), &[(0, 5)])]);
    assert_eq!(codes(&client.call(&by_id, 10).await), ["UNKNOWN_TOPIC_ID"]);
}

#[tokio::test]
async fn nothing_is_asked_of_the_coordinator_when_no_partition_is_there() {
    let (_world, fake, mut client) = world().await;
    let request = commit(&[(("nowhere", Uuid::nil()), &[(0, 5)])]);
    client.call(&request, 8).await;
    let nameless = OffsetCommitRequest {
        group_id: "".into(),
        ..commit(&[(("t", Uuid::nil()), &[(0, 5)])])
    };
    let response = client.call(&nameless, 8).await;
    assert_eq!(codes(&response), ["INVALID_GROUP_ID"]);
    assert!(fake.asked.lock().is_empty());
}

#[tokio::test]
async fn a_topic_that_is_not_there_has_no_offset_and_an_id_that_is_not_is_an_error() {
    let (world, _fake, mut client) = world().await;
    let none = Uuid::nil();
    let nowhere: &[(Named, &[i32])] = &[(("nowhere", none), &[0]), (("a b", none), &[1])];
    let expected = vec![(0, -1, "NONE"), (1, -1, "NONE")];
    assert_eq!(
        fetched(&mut client, 9, Some(nowhere)).await,
        ("NONE", expected)
    );
    let id = Uuid::from_u128(5);
    let unknown = (0, -1, "UNKNOWN_TOPIC_ID");
    let told = fetched(&mut client, 10, Some(&[(("", id), &[0])])).await;
    assert_eq!(told, ("NONE", vec![unknown]));
    // Offsets of a topic go with it: another of its name has none.
    let request = commit(&[(("t", none), &[(0, 5)])]);
    client.call(&request, 8).await;
    let selector = TopicSelector::Name("t".parse().unwrap());
    world
        .engine
        .catalogue()
        .delete_topic(&selector)
        .await
        .unwrap();
    world.topic("t", 2, &[]).await;
    assert_eq!(fetched(&mut client, 8, None).await, ("NONE", Vec::new()));
    let told = fetched(&mut client, 8, Some(&[(("t", none), &[0])])).await;
    assert_eq!(told, ("NONE", vec![(0, -1, "NONE")]));
}

#[tokio::test]
async fn many_groups_are_asked_for_at_once_and_each_has_its_answer() {
    let (_world, fake, mut client) = world().await;
    client
        .call(&commit(&[(("t", Uuid::nil()), &[(0, 5)])]), 8)
        .await;
    let group = |id: &'static str, member: Option<(&'static str, i32)>| OffsetFetchRequestGroup {
        group_id: id.into(),
        topics: None,
        member_id: member.map(|(id, _)| id.into()),
        member_epoch: member.map_or(-1, |(_, epoch)| epoch),
    };
    let request = OffsetFetchRequest {
        groups: vec![
            group("h", Some(("m", 3))),
            group("", None),
            group("g", None),
        ],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let before = fake.asked.lock().len();
    let response = client.call(&request, 9).await;
    let groups = response.groups.iter();
    let told = groups.map(|it| (&*it.group_id, name(it.error_code), it.topics.len()));
    let expected = [
        ("h", "NONE", 0),
        ("", "INVALID_GROUP_ID", 0),
        ("g", "NONE", 1),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let asked = fake.asked.lock()[before..].to_vec();
    assert!(asked[0].contains(r#"member: Some(("m", 3))"#), "{asked:?}");
    assert!(asked[1].contains("member: None"), "{asked:?}");
}

#[tokio::test]
async fn a_group_is_answered_for_once_however_often_it_stands_there() {
    let (_world, fake, mut client) = world().await;
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group; 20],
        ..OffsetFetchRequest::default()
    };
    let response = client.call(&request, 9).await;
    let codes = response.groups.iter().map(|it| name(it.error_code));
    let refused = codes.filter(|code| *code == "INVALID_REQUEST").count();
    assert_eq!((response.groups.len(), refused), (20, 19));
    assert_eq!(fake.asked.lock().len(), 1);
    let describe = DescribeGroupsRequest {
        groups: vec!["g".into(); 20],
        ..DescribeGroupsRequest::default()
    };
    let response = client.call(&describe, 6).await;
    let codes = response.groups.iter().map(|it| name(it.error_code));
    let refused = codes.filter(|code| *code == "INVALID_REQUEST").count();
    assert_eq!((response.groups.len(), refused), (20, 19));
}

#[tokio::test]
async fn offsets_are_deleted_where_there_may_be_some() {
    let (_world, fake, mut client) = world().await;
    client
        .call(&commit(&[(("t", Uuid::nil()), &[(0, 5), (1, 5)])]), 8)
        .await;
    let topic = |name: &'static str, indexes: &[i32]| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: indexes
            .iter()
            .map(|index| OffsetDeleteRequestPartition {
                partition_index: *index,
            })
            .collect(),
    };
    let request = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![topic("t", &[1, 9]), topic("nowhere", &[0])],
    };
    let response = client.call(&request, 0).await;
    assert_eq!(response.error_code, 0);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|it| name(it.error_code));
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    assert_eq!(codes.collect::<Vec<_>>(), ["NONE", unknown, unknown]);
    assert_eq!(fake.offsets.lock().len(), 1);
    *fake.fails_each.lock() = Some(GroupsError::SubscribedToTopic);
    let response = client.call(&request, 0).await;
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(name(code), "GROUP_SUBSCRIBED_TO_TOPIC");
    fake.fail(GroupsError::NotEmpty);
    let response = client.call(&request, 0).await;
    assert_eq!(
        (name(response.error_code), response.topics.len()),
        ("NON_EMPTY_GROUP", 0)
    );
}
