//! Facts about members of the consumer protocol.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::consumer_group_heartbeat_request::TopicPartitions;
use tidelog_kafka_codec::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};
use tidelog_metadata_api::{GroupsError, TopicSelector};
use tidelog_types::{PartitionIndex, TopicNumber, TopicPartition};

use super::world;
use crate::world::{World, name};

pub(super) fn join() -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 45_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn at(number: u64, index: u32) -> TopicPartition {
    TopicPartition::new(TopicNumber::new(number), PartitionIndex::new(index))
}

/// The number and the id of the topic `t`.
async fn topic(world: &World) -> (u64, Uuid) {
    let selector = TopicSelector::Name("t".parse().unwrap());
    let topic = world.engine.catalogue().topic(&selector).await.unwrap();
    (topic.number.get(), *topic.id.as_uuid())
}

#[tokio::test]
async fn a_member_joins_and_hears_what_it_may_have_by_ids_of_topics() {
    let (world, fake, mut client) = world().await;
    let (number, id) = topic(&world).await;
    let gone = world.topic("gone", 1, &[]).await;
    let selector = TopicSelector::Id(gone.id);
    world
        .engine
        .catalogue()
        .delete_topic(&selector)
        .await
        .unwrap();
    let assigned = [at(number, 0), at(gone.number.get(), 0), at(number, 1)];
    fake.assigned.lock().extend(assigned);
    for version in 0..=1 {
        let response = client.call(&join(), version).await;
        assert_eq!((response.error_code, response.member_epoch), (0, 1));
        assert_eq!(response.heartbeat_interval_ms, 5_000);
        let topics = response.assignment.unwrap().topic_partitions;
        let told = topics.iter().map(|it| (it.topic_id, it.partitions.clone()));
        assert_eq!(told.collect::<Vec<_>>(), [(id, vec![0, 1])]);
        let asked = fake.last();
        assert!(asked.contains("rebalance: Some(45s)"), "{asked}");
        assert!(asked.contains(r#"topics: Some(["t"])"#), "{asked}");
    }
}

#[tokio::test]
async fn a_member_that_is_in_says_only_what_has_changed() {
    let (world, fake, mut client) = world().await;
    let (number, id) = topic(&world).await;
    let owned = |topic_id, partitions: &[i32]| TopicPartitions {
        topic_id,
        partitions: partitions.to_vec(),
    };
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        member_epoch: 3,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let response = client.call(&beat, 1).await;
    assert_eq!((response.member_epoch, response.assignment), (4, None));
    let asked = fake.last();
    assert!(
        asked.contains("rebalance: None, topics: None, pattern: None"),
        "{asked}"
    );
    // What a member has of topics that nobody knows is not its to keep, nor to give back.
    let request = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![owned(Uuid::from_u128(9), &[0]), owned(id, &[1])]),
        subscribed_topic_regex: Some("a.*".into()),
        ..beat.clone()
    };
    let response = client.call(&request, 1).await;
    assert_eq!(response.error_code, 0);
    let asked = fake.last();
    let expected = format!("owned: Some({:?})", [at(number, 1)]);
    assert!(asked.contains(&expected), "{asked}");
    assert!(asked.contains(r#"pattern: Some("a.*")"#), "{asked}");
    let negative = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![owned(id, &[-1])]),
        ..beat
    };
    let code = client.call(&negative, 1).await.error_code;
    assert_eq!(name(code), "INVALID_REQUEST");
}

#[tokio::test]
async fn errors_are_told_with_a_word() {
    let (_world, fake, mut client) = world().await;
    fake.fail(GroupsError::UnsupportedAssignor("odd".to_owned()));
    let response = client.call(&join(), 1).await;
    assert_eq!(name(response.error_code), "UNSUPPORTED_ASSIGNOR");
    assert!(response.error_message.unwrap().contains("uniform"));
    let silent = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: -1,
        ..join()
    };
    let nameless = ConsumerGroupHeartbeatRequest {
        group_id: "".into(),
        ..join()
    };
    let before = fake.asked.lock().len();
    for wrong in [silent, nameless] {
        let response = client.call(&wrong, 1).await;
        assert_eq!(name(response.error_code), "INVALID_REQUEST");
    }
    assert_eq!(fake.asked.lock().len(), before);
}

#[tokio::test]
async fn a_group_is_described_with_names_and_ids_of_topics() {
    let (world, fake, mut client) = world().await;
    let (number, id) = topic(&world).await;
    fake.assigned.lock().push(at(number, 1));
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["consumer".into(), "classic".into(), "".into()],
        include_authorized_operations: true,
    };
    for version in 0..=1 {
        let response = client.call(&request, version).await;
        let group = &response.groups[0];
        assert_eq!((group.error_code, &*group.group_state), (0, "Reconciling"));
        assert_eq!((group.group_epoch, group.assignment_epoch), (5, 4));
        assert_eq!(group.authorized_operations, 0b1101_0100_1000);
        let member = &group.members[0];
        assert_eq!(
            (member.member_epoch, &*member.client_host),
            (3, "/10.0.0.1")
        );
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
        let topics = &member.assignment.topic_partitions[0];
        assert_eq!((topics.topic_id, &*topics.topic_name), (id, "t"));
        assert_eq!(topics.partitions, [1]);
        for other in &response.groups[1..] {
            assert_eq!(name(other.error_code), "GROUP_ID_NOT_FOUND");
        }
    }
}
