//! Facts about which brokers clients are told of, where there are several.

use std::collections::BTreeMap;

use tidelog_broker_kafka::LISTENER;
use tidelog_kafka_codec::messages::describe_topic_partitions_request::TopicRequest;
use tidelog_kafka_codec::messages::{
    DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest, MetadataResponse,
};
use tidelog_metadata_api::{Cluster as _, KafkaAddress, Member, MemberState, Membership};
use tidelog_types::{Incarnation, MemberId, Role, RoleSet, Timestamp};

use crate::world::{Client, World, batch};

/// A broker of another process, that nobody reaches.
pub(crate) fn broker(number: u8, zone: &str) -> Member {
    Member {
        id: MemberId::from_bytes([number; 16]),
        name: format!("b{number}"),
        roles: RoleSet::default().with(Role::Broker),
        zone: zone.to_owned(),
        version: String::new(),
        internal_address: String::new(),
        grpc_address: String::new(),
        kafka_addresses: vec![KafkaAddress {
            listener: LISTENER.to_owned(),
            host: format!("b{number}"),
            port: 9092,
        }],
        incarnation: Some(Incarnation::new(u64::from(number))),
        merger: None,
        state: MemberState::Active,
        joined_at: Timestamp::default(),
    }
}

async fn metadata(client: &mut Client) -> MetadataResponse {
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    client.call(&request, 12).await
}

/// How many partitions each broker is named for, by its host.
fn named(response: &MetadataResponse) -> BTreeMap<String, usize> {
    let mut named = BTreeMap::new();
    for broker in &response.brokers {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let its = partitions.filter(|partition| partition.leader_id == broker.node_id);
        named.insert(broker.host.to_string(), its.count());
    }
    named
}

fn map<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    let expected = expected.map(|(host, count)| (host.to_owned(), count));
    expected.into()
}

/// This broker is `here` in `z1`; another is in its zone, one in another, one drains, one serves no Kafka
/// clients. They are listed as long as what is returned lives.
async fn four(world: &World) -> Vec<Membership> {
    let draining = Member {
        state: MemberState::Draining,
        ..broker(102, "z1")
    };
    let other = Member {
        kafka_addresses: Vec::new(),
        ..broker(103, "z1")
    };
    let mut listed = Vec::new();
    for member in [broker(100, "z1"), broker(101, "z2"), draining, other] {
        listed.push(world.metadata.join(member).await.unwrap());
    }
    listed
}

#[tokio::test]
async fn a_client_is_told_of_all_brokers_and_shall_use_those_of_its_zone_evenly() {
    let (world, mut client) = World::with_topic(6).await;
    let _listed = four(&world).await;
    let nearby = map([("here", 3), ("b100", 3), ("b101", 0)]);
    assert_eq!(named(&metadata(&mut client).await), nearby);
    let response = metadata(&mut client).await;
    let racks = response.brokers.iter().map(|broker| broker.rack.as_deref());
    assert_eq!(
        racks.collect::<Vec<_>>(),
        [Some("z1"), Some("z1"), Some("z2")]
    );
    for (name, expected) in [
        ("zone=z2,app", map([("here", 0), ("b100", 0), ("b101", 6)])),
        ("app;zone=z1", nearby.clone()),
        ("zone=z9", nearby.clone()),
    ] {
        client.name = name.to_owned();
        let response = metadata(&mut client).await;
        assert_eq!(named(&response), expected, "{name}");
        let numbers = response.brokers.iter().map(|broker| broker.node_id);
        assert!(
            numbers
                .collect::<Vec<_>>()
                .contains(&response.controller_id)
        );
    }
    // Whatever was named, this one serves.
    assert_eq!(client.produce(batch(&["a"], None)).await.error_code, 0);
}

#[tokio::test]
async fn every_way_to_ask_gives_the_same_answer() {
    let (world, mut client) = World::with_topic(5).await;
    let _listed = four(&world).await;
    let told = metadata(&mut client).await;
    let leaders = told.topics[0].partitions.iter().map(|it| it.leader_id);
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".into() }],
        response_partition_limit: 100,
        cursor: None,
    };
    let described = client.call(&request, 0).await;
    let partitions = described.topics[0].partitions.iter();
    assert!(leaders.eq(partitions.map(|it| it.leader_id)));
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    let cluster = client.call(&request, 1).await;
    let numbers = cluster.brokers.iter().map(|broker| broker.broker_id);
    assert!(numbers.eq(told.brokers.iter().map(|broker| broker.node_id)));
    assert_eq!(cluster.controller_id, told.controller_id);
}

#[tokio::test]
async fn who_comes_is_named_and_who_goes_is_not() {
    let (world, mut client) = World::with_topic(4).await;
    assert_eq!(named(&metadata(&mut client).await), map([("here", 4)]));
    let listed = world.metadata.join(broker(100, "z1")).await.unwrap();
    let both = map([("here", 2), ("b100", 2)]);
    assert_eq!(named(&metadata(&mut client).await), both);
    world
        .metadata
        .set_draining(MemberId::from_bytes([100; 16]), true)
        .await
        .unwrap();
    assert_eq!(named(&metadata(&mut client).await), map([("here", 4)]));
    world
        .metadata
        .set_draining(MemberId::from_bytes([100; 16]), false)
        .await
        .unwrap();
    assert_eq!(named(&metadata(&mut client).await), both);
    let mut view = world.metadata.watch();
    listed.leave();
    view.wait_for(|view| view.members.iter().all(|it| it.name != "b100"))
        .await
        .unwrap();
    assert_eq!(named(&metadata(&mut client).await), map([("here", 4)]));
}
