//! Facts about `GroupService`, through the client.

use tidelog_api::ApiError;
use tidelog_client::{ClientError, v1};
use tidelog_metadata_api::{GroupsError, TopicSelector};
use tidelog_types::{ErrorCode, PartitionIndex, TopicPartition};

use crate::world::{World, entry};

fn code(error: Option<&v1::Error>) -> Option<ErrorCode> {
    error.map(|error| ApiError::from_proto(error.clone()).code)
}

fn set(topic: &str, partition: u32, offset: Option<u64>) -> v1::GroupOffsetChange {
    v1::GroupOffsetChange {
        topic: topic.to_owned(),
        partition,
        offset,
        metadata: "note".to_owned(),
    }
}

#[tokio::test]
async fn groups_are_listed_over_all_pages_by_state_and_protocol() {
    let world = World::new().await;
    let groups = world.client.groups();
    let names = async |states: &[v1::GroupState], protocols: &[v1::GroupProtocol]| {
        let listed = groups.list(states, protocols).await.unwrap();
        let names = listed.into_iter().map(|group| group.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&[], &[]).await, ["a", "b"]);
    assert_eq!(names(&[v1::GroupState::Stable], &[]).await, ["a"]);
    assert_eq!(names(&[], &[v1::GroupProtocol::Consumer]).await, ["b"]);
    assert!(names(&[v1::GroupState::Unspecified], &[]).await.is_empty());
}

#[tokio::test]
async fn groups_of_both_protocols_are_described_and_each_has_its_answer() {
    let world = World::with_topic(2).await;
    let selector = TopicSelector::Name("t".parse().unwrap());
    let topic = world.engine.catalogue().topic(&selector).await.unwrap();
    let at = TopicPartition::new(topic.number, PartitionIndex::new(1));
    world.groups.assigned.lock().push(at);
    let groups = world.client.groups();
    let names = ["classic", "consumer", ""].map(str::to_owned);
    let results = groups.describe(&names).await.unwrap();
    let classic = results[0].group.as_ref().unwrap();
    assert_eq!(
        (classic.epoch, classic.state()),
        (7, v1::GroupState::Stable)
    );
    assert_eq!(&*classic.members[0].classic_assignment, b"has");
    let consumer = results[1].group.as_ref().unwrap();
    assert_eq!(consumer.protocol(), v1::GroupProtocol::Consumer);
    let assigned = &consumer.members[0].assigned;
    assert_eq!(
        (&*assigned[0].topic, &assigned[0].partitions),
        ("t", &vec![1])
    );
    let refused = code(results[2].error.as_ref());
    assert_eq!(refused, Some(ErrorCode::InvalidArgument));
    world.groups.fail(GroupsError::GroupNotFound);
    let results = groups.describe(&names[..1]).await.unwrap();
    let refused = code(results[0].error.as_ref());
    assert_eq!(refused, Some(ErrorCode::UnknownGroup));
}

#[tokio::test]
async fn offsets_are_set_shown_with_lag_and_deleted() {
    let world = World::with_topic(3).await;
    for value in ["a", "b", "c"] {
        world.produce(entry(value)).await.unwrap();
    }
    let groups = world.client.groups();
    let changes = vec![
        set("t", 0, Some(1)),
        set("t", 9, Some(1)),
        set("nowhere", 0, Some(1)),
        set("t", 2, Some(0)),
    ];
    let results = groups.alter_offsets("g", changes).await.unwrap();
    let codes: Vec<_> = results.iter().map(|it| code(it.error.as_ref())).collect();
    let (no_partition, no_topic) = (ErrorCode::UnknownPartition, ErrorCode::UnknownTopic);
    assert_eq!(codes, [None, Some(no_partition), Some(no_topic), None]);
    let offsets = groups.offsets("g").await.unwrap();
    let shown = offsets
        .iter()
        .map(|it| (it.partition, it.committed_offset, it.end_offset, it.lag));
    assert_eq!(shown.collect::<Vec<_>>(), [(0, 1, 3, 2), (2, 0, 0, 0)]);
    assert_eq!(offsets[0].metadata, "note");
    let results = groups
        .alter_offsets("g", vec![set("t", 0, None)])
        .await
        .unwrap();
    assert_eq!(code(results[0].error.as_ref()), None);
    assert_eq!(groups.offsets("g").await.unwrap().len(), 1);
    assert!(groups.offsets("other").await.unwrap().is_empty());
    world.groups.fail(GroupsError::UnknownMember);
    let results = groups.alter_offsets("g", vec![set("t", 0, Some(1))]).await;
    let error = results.unwrap()[0].error.clone();
    assert_eq!(code(error.as_ref()), Some(ErrorCode::GroupNotEmpty));
    assert!(error.unwrap().message.contains("has members"));
}

#[tokio::test]
async fn a_partition_stands_in_a_request_once() {
    let world = World::with_topic(1).await;
    let groups = world.client.groups();
    for changes in [
        vec![set("t", 0, Some(1)); 2],
        Vec::new(),
        vec![set("t", 0, Some(u64::MAX))],
    ] {
        let refused = groups.alter_offsets("g", changes).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::InvalidArgument));
    }
    assert!(world.groups.asked.lock().is_empty());
}

#[tokio::test]
async fn groups_without_members_are_deleted() {
    let world = World::new().await;
    let groups = world.client.groups();
    let name = ["g".to_owned()];
    let results = groups.delete(&name).await.unwrap();
    assert_eq!(code(results[0].error.as_ref()), None);
    world.groups.fail(GroupsError::NotEmpty);
    let results = groups.delete(&name).await.unwrap();
    let refused = code(results[0].error.as_ref());
    assert_eq!(refused, Some(ErrorCode::GroupNotEmpty));
    let many = vec!["g".to_owned(); 101];
    let refused: ClientError = groups.delete(&many).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidArgument));
}
