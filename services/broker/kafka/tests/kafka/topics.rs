//! Facts about topics.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::create_partitions_request::CreatePartitionsTopic;
use tidelog_kafka_codec::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use tidelog_kafka_codec::messages::delete_topics_request::DeleteTopicState;
use tidelog_kafka_codec::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeTopicPartitionsRequest, MetadataRequest,
};

use tidelog_broker_kafka::KafkaSettings;

use crate::world::{Client, World, name};

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: Some(name.into()),
        ..MetadataRequestTopic::default()
    }
}

async fn all_names(client: &mut Client) -> Vec<String> {
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let response = client.call(&request, 12).await;
    let topics = response.topics.into_iter();
    topics
        .map(|topic| topic.name.unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn a_topic_that_is_asked_for_is_made_if_the_broker_and_the_client_want_so() {
    let settings = |auto_create_topics| KafkaSettings {
        auto_create_topics,
        default_partitions: 3,
        ..KafkaSettings::default()
    };
    for (broker_wants, client_wants) in [(false, true), (true, false), (true, true)] {
        let world = World::with(settings(broker_wants)).await;
        let mut client = world.client().await;
        let request = MetadataRequest {
            topics: Some(vec![named("new"), named("not good")]),
            allow_auto_topic_creation: client_wants,
            ..MetadataRequest::default()
        };
        let made = broker_wants && client_wants;
        // The second time it is there.
        for _ in 0..2 {
            let response = client.call(&request, 12).await;
            let found = &response.topics[0];
            let expected = if made { (0, 3) } else { (3, 0) };
            assert_eq!((found.error_code, found.partitions.len()), expected);
            assert_eq!(response.topics[1].error_code, 17);
        }
        let expected: &[&str] = if made { &["new"] } else { &[] };
        assert_eq!(all_names(&mut client).await, expected);
    }
}

#[tokio::test]
async fn metadata_names_this_broker_as_leader_of_every_partition() {
    let (world, mut client) = World::with_topic(3).await;
    for version in 0..=13 {
        let request = MetadataRequest {
            topics: Some(vec![named("t")]),
            ..MetadataRequest::default()
        };
        let response = client.call(&request, version).await;
        let [broker] = response.brokers.as_slice() else {
            panic!("{:?}", response.brokers)
        };
        assert_eq!((&*broker.host, broker.port), ("here", 9092));
        assert!(broker.node_id > 0);
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 3));
        for (at, partition) in (0..).zip(&topic.partitions) {
            assert_eq!(partition.partition_index, at);
            assert_eq!(partition.leader_id, broker.node_id);
            assert_eq!(partition.isr_nodes, [broker.node_id]);
        }
        if version >= 1 {
            assert_eq!(response.controller_id, broker.node_id);
            assert_eq!(broker.rack.as_deref(), Some("z1"));
        }
        if version >= 2 {
            let cluster = world.engine.cluster().to_string();
            assert_eq!(response.cluster_id.as_deref(), Some(&*cluster));
        }
    }
}

#[tokio::test]
async fn all_topics_are_wanted_by_none_and_in_the_first_version_by_an_empty_list() {
    let (world, mut client) = World::with_topic(1).await;
    world.topic("u", 1, &[]).await;
    assert_eq!(all_names(&mut client).await, ["t", "u"]);
    let empty = MetadataRequest {
        topics: Some(Vec::new()),
        ..MetadataRequest::default()
    };
    assert_eq!(client.call(&empty, 0).await.topics.len(), 2);
    assert_eq!(client.call(&empty, 1).await.topics.len(), 0);
}

#[tokio::test]
async fn topics_that_are_not_there_are_not_made_by_asking() {
    let (_world, mut client) = World::with_topic(1).await;
    let request = MetadataRequest {
        topics: Some(vec![named("nowhere"), named("a b")]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    let response = client.call(&request, 12).await;
    let codes = response.topics.iter().map(|it| name(it.error_code));
    let expected = ["UNKNOWN_TOPIC_OR_PARTITION", "INVALID_TOPIC_EXCEPTION"];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    assert_eq!(all_names(&mut client).await, ["t"]);
}

#[tokio::test]
async fn a_topic_is_described_by_its_id_with_what_the_caller_may_do() {
    let (world, mut client) = World::with_topic(1).await;
    let topic = world.topic("u", 1, &[]).await;
    let by_id = |topic_id| MetadataRequestTopic {
        topic_id,
        name: None,
    };
    let request = MetadataRequest {
        topics: Some(vec![by_id(*topic.id.as_uuid()), by_id(Uuid::from_u128(3))]),
        include_topic_authorized_operations: true,
        ..MetadataRequest::default()
    };
    let response = client.call(&request, 12).await;
    assert_eq!(response.topics[0].name.as_deref(), Some("u"));
    assert_eq!(
        response.topics[0].topic_authorized_operations,
        0b1101_1111_1000
    );
    assert_eq!(name(response.topics[1].error_code), "UNKNOWN_TOPIC_ID");
    assert_eq!(response.topics[1].name, None);
    let cluster = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    let response = client.call(&cluster, 1).await;
    assert_eq!((response.error_code, response.brokers.len()), (0, 1));
    assert_eq!(response.cluster_authorized_operations, 0b1_1111_1010_0000);
    let controllers = DescribeClusterRequest {
        endpoint_type: 2,
        ..DescribeClusterRequest::default()
    };
    let response = client.call(&controllers, 1).await;
    assert_eq!(name(response.error_code), "MISMATCHED_ENDPOINT_TYPE");
}

fn creatable(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 3,
        ..CreatableTopic::default()
    }
}

#[tokio::test]
async fn topics_are_created_each_with_its_own_answer() {
    let (_world, mut client) = World::with_topic(1).await;
    let config = |name: &str, value: &str| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    let odd = CreatableTopic {
        configs: vec![config("colour", "blue")],
        ..creatable("odd", 1)
    };
    let good = CreatableTopic {
        configs: vec![config("retention.ms", "7")],
        ..creatable("good", -1)
    };
    let topics = vec![
        good,
        odd,
        creatable("t", 1),
        creatable("a b", 1),
        creatable("none", 0),
        creatable("twice", 1),
        creatable("twice", 1),
    ];
    let request = CreateTopicsRequest {
        topics,
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let expected = [
        "NONE",
        "INVALID_CONFIG",
        "TOPIC_ALREADY_EXISTS",
        "INVALID_TOPIC_EXCEPTION",
        "INVALID_PARTITIONS",
        "INVALID_REQUEST",
    ];
    for validate_only in [true, false] {
        let request = CreateTopicsRequest {
            validate_only,
            ..request.clone()
        };
        let response = client.call(&request, 7).await;
        let codes = response.topics.iter().map(|it| name(it.error_code));
        assert_eq!(codes.collect::<Vec<_>>(), expected);
        let good = &response.topics[0];
        assert_eq!((good.num_partitions, good.replication_factor), (1, 1));
        assert_eq!(good.topic_id.is_nil(), validate_only);
        let configs = good.configs.as_ref().unwrap();
        let retention = configs.iter().find(|it| &*it.name == "retention.ms");
        assert_eq!(retention.unwrap().value.as_deref(), Some("7"));
    }
    assert_eq!(all_names(&mut client).await, ["good", "t"]);
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let (world, mut client) = World::with_topic(1).await;
    let topic = world.topic("u", 1, &[]).await;
    let by_name = DeleteTopicsRequest {
        topic_names: vec!["t".into(), "nowhere".into()],
        ..DeleteTopicsRequest::default()
    };
    let response = client.call(&by_name, 5).await;
    let codes = response.responses.iter().map(|it| name(it.error_code));
    let expected = ["NONE", "UNKNOWN_TOPIC_OR_PARTITION"];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    let by_id = |topic_id| DeleteTopicState {
        name: None,
        topic_id,
    };
    let request = DeleteTopicsRequest {
        topics: vec![by_id(*topic.id.as_uuid()), by_id(Uuid::from_u128(3))],
        ..DeleteTopicsRequest::default()
    };
    let response = client.call(&request, 6).await;
    assert_eq!(response.responses[0].name.as_deref(), Some("u"));
    let codes = response.responses.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["NONE", "UNKNOWN_TOPIC_ID"]);
    assert!(all_names(&mut client).await.is_empty());
}

#[tokio::test]
async fn what_stands_in_a_request_twice_is_answered_for_once_and_not_touched() {
    let (world, mut client) = World::with_topic(1).await;
    world.topic("u", 1, &[]).await;
    let twice = DeleteTopicsRequest {
        topic_names: vec!["t".into(), "u".into(), "t".into()],
        ..DeleteTopicsRequest::default()
    };
    let response = client.call(&twice, 5).await;
    let codes = response.responses.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["INVALID_REQUEST", "NONE"]);
    assert_eq!(all_names(&mut client).await, ["t"]);
    let to = |count| CreatePartitionsTopic {
        name: "t".into(),
        count,
        assignments: None,
    };
    let twice = CreatePartitionsRequest {
        topics: vec![to(2), to(3)],
        ..CreatePartitionsRequest::default()
    };
    let response = client.call(&twice, 3).await;
    let codes = response.results.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["INVALID_REQUEST"]);
}

#[tokio::test]
async fn a_topic_without_a_name_and_an_id_is_a_request_that_cannot_be() {
    let (_world, mut client) = World::with_topic(1).await;
    for (topic, expected) in [
        (None, "INVALID_REQUEST"),
        (Some(""), "UNKNOWN_TOPIC_OR_PARTITION"),
        (Some("a b"), "UNKNOWN_TOPIC_OR_PARTITION"),
    ] {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: topic.map(Into::into),
                topic_id: Uuid::nil(),
            }],
            ..DeleteTopicsRequest::default()
        };
        let response = client.call(&request, 6).await;
        assert_eq!(name(response.responses[0].error_code), expected);
    }
}

#[tokio::test]
async fn partitions_are_added_and_never_taken_away() {
    let (_world, mut client) = World::with_topic(2).await;
    let mut widen = async |count, validate_only| {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: "t".into(),
                count,
                assignments: None,
            }],
            validate_only,
            ..CreatePartitionsRequest::default()
        };
        let response = client.call(&request, 3).await;
        name(response.results[0].error_code)
    };
    assert_eq!(widen(4, true).await, "NONE");
    assert_eq!(widen(2, false).await, "INVALID_PARTITIONS");
    assert_eq!(widen(1, false).await, "INVALID_PARTITIONS");
    assert_eq!(widen(-5, false).await, "INVALID_PARTITIONS");
    assert_eq!(widen(1_000_000, false).await, "INVALID_PARTITIONS");
    assert_eq!(widen(4, false).await, "NONE");
    assert_eq!(widen(4, false).await, "INVALID_PARTITIONS");
}

#[tokio::test]
async fn partitions_are_described_page_by_page() {
    let (world, mut client) = World::with_topic(5).await;
    world.topic("a", 2, &[]).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let request = DescribeTopicPartitionsRequest {
            topics: ["t", "nowhere", "a"]
                .map(|name| TopicRequest { name: name.into() })
                .to_vec(),
            response_partition_limit: 3,
            cursor,
        };
        let response = client.call(&request, 0).await;
        for topic in response.topics {
            let topic_name = topic.name.unwrap().to_string();
            if topic.error_code != 0 {
                seen.push((topic_name.clone(), -1));
            }
            let indexes = topic.partitions.iter().map(|it| it.partition_index);
            seen.extend(indexes.map(|index| (topic_name.clone(), index)));
        }
        match response.next_cursor {
            None => break,
            Some(next) => {
                cursor = Some(Cursor {
                    topic_name: next.topic_name,
                    partition_index: next.partition_index,
                });
            }
        }
    }
    let expected = [
        ("a", 0),
        ("a", 1),
        ("nowhere", -1),
        ("t", 0),
        ("t", 1),
        ("t", 2),
        ("t", 3),
        ("t", 4),
    ];
    let seen: Vec<_> = seen.iter().map(|(name, at)| (&**name, *at)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn partitions_are_not_described_from_where_there_is_nothing() {
    let (_world, mut client) = World::with_topic(1).await;
    for (topics, from, expected) in [
        (vec!["t"], ("t", 0), "NONE"),
        (vec![], ("s", 0), "NONE"),
        (vec!["t"], ("s", 0), "INVALID_REQUEST"),
        (vec!["t"], ("t", -1), "INVALID_REQUEST"),
    ] {
        let topics = topics
            .into_iter()
            .map(|name| TopicRequest { name: name.into() });
        let request = DescribeTopicPartitionsRequest {
            topics: topics.collect(),
            response_partition_limit: 3,
            cursor: Some(Cursor {
                topic_name: from.0.into(),
                partition_index: from.1,
            }),
        };
        let response = client.call(&request, 0).await;
        assert_eq!(response.topics[0].name.as_deref(), Some("t"));
        assert_eq!(name(response.topics[0].error_code), expected);
    }
}

#[tokio::test]
async fn what_may_be_done_with_a_topic_is_told_before_there_is_one() {
    let (_world, mut client) = World::with_topic(1).await;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("nowhere".into()),
            ..MetadataRequestTopic::default()
        }]),
        include_topic_authorized_operations: true,
        ..MetadataRequest::default()
    };
    let topic = client.call(&request, 12).await.topics.remove(0);
    assert_eq!(name(topic.error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(topic.topic_authorized_operations, 0b1101_1111_1000);
}
