//! Facts about transactions as operators see them.

use tidelog_kafka_codec::messages::describe_producers_request::TopicRequest;
use tidelog_kafka_codec::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use tidelog_kafka_codec::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};
use tidelog_metadata_api::{
    Cluster as _, GroupName, Participant, TopicSelector, TransactionsError,
};
use tidelog_types::{PartitionIndex, TopicPartition};

use super::world;
use crate::brokers::broker;
use crate::world::name;

#[tokio::test]
async fn a_transactional_id_is_described_with_the_partitions_that_still_exist() {
    let (fakes, mut client) = world().await;
    let topic = fakes.world.topic("u", 2, &[]).await;
    let at = |topic, index| {
        Participant::Partition(TopicPartition::new(topic, PartitionIndex::new(index)))
    };
    let group = Participant::Group(GroupName::new("g").unwrap());
    let gone = fakes.world.topic("gone", 1, &[]).await;
    let catalogue = fakes.world.engine.catalogue();
    let selector = TopicSelector::Id(gone.id);
    catalogue.delete_topic(&selector).await.unwrap();
    let gone = at(gone.number, 0);
    let participants = [at(topic.number, 0), at(topic.number, 1), gone, group];
    *fakes.transactions.participants.lock() = participants.into();
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["".into(), "x".into(), "nobody".into()],
    };
    let told = client.call(&request, 0).await.transaction_states;
    let codes = told.iter().map(|it| name(it.error_code));
    let expected = ["INVALID_REQUEST", "NONE", "TRANSACTIONAL_ID_NOT_FOUND"];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    let x = &told[1];
    assert_eq!(
        (&*x.transactional_id, &*x.transaction_state),
        ("x", "Ongoing")
    );
    let times = (x.transaction_timeout_ms, x.transaction_start_time_ms);
    assert_eq!(
        (times, x.producer_id, x.producer_epoch),
        ((9_000, 77), 70, 3)
    );
    let topics = x
        .topics
        .iter()
        .map(|it| (&*it.topic, it.partitions.clone()));
    assert_eq!(topics.collect::<Vec<_>>(), [("u", vec![0, 1])]);
}

#[tokio::test]
async fn all_pages_are_listed_and_states_that_there_are_not_are_told_of() {
    let (fakes, mut client) = world().await;
    let ids = async |client: &mut crate::world::Client, request, version| {
        let answer = client
            .call::<ListTransactionsRequest>(&request, version)
            .await;
        assert_eq!(answer.error_code, 0);
        let ids = answer.transaction_states.iter();
        let ids = ids.map(|it| it.transactional_id.to_string());
        (ids.collect::<Vec<_>>(), answer.unknown_state_filters.len())
    };
    for version in 0..=2 {
        let request = ListTransactionsRequest::default();
        let told = ids(&mut client, request, version).await;
        assert_eq!(told.0, ["a-1", "a-2", "b-1"]);
    }
    let request = ListTransactionsRequest {
        transactional_id_pattern: Some("a-.*".into()),
        duration_filter: 9,
        ..ListTransactionsRequest::default()
    };
    assert_eq!(ids(&mut client, request, 2).await.0, ["a-1", "a-2"]);
    assert!(fakes.transactions.last().contains("longer_than: Some(9ms)"));
    fakes.transactions.asked.lock().clear();
    let odd = ListTransactionsRequest {
        state_filters: vec!["odd".into(), "Dead".into()],
        ..ListTransactionsRequest::default()
    };
    assert_eq!(ids(&mut client, odd, 0).await, (Vec::new(), 1));
    assert!(fakes.transactions.asked.lock().is_empty());
    let wrong = ListTransactionsRequest {
        transactional_id_pattern: Some("(".into()),
        ..ListTransactionsRequest::default()
    };
    let code = client.call(&wrong, 2).await.error_code;
    assert_eq!(name(code), "INVALID_REGULAR_EXPRESSION");
    fakes.transactions.fail(TransactionsError::Loading);
    let all = ListTransactionsRequest::default();
    let code = client.call(&all, 1).await.error_code;
    assert_eq!(name(code), "COORDINATOR_LOAD_IN_PROGRESS");
}

/// Clients ask all brokers and put the answers together.
#[tokio::test]
async fn a_broker_lists_its_own_part() {
    let (fakes, mut client) = world().await;
    let mut listed = Vec::new();
    for number in 100..108 {
        let joined = fakes.world.metadata.join(broker(number, "z1")).await;
        listed.push(joined.unwrap());
    }
    let answer = client.call(&ListTransactionsRequest::default(), 1).await;
    assert!(answer.transaction_states.len() < 3, "nobody else has any");
}

#[tokio::test]
async fn partitions_that_there_are_not_have_no_producers_and_take_no_markers() {
    let (_fakes, mut client) = world().await;
    let request = DescribeProducersRequest {
        topics: ["t", "nowhere"]
            .map(|name| TopicRequest {
                name: name.into(),
                partition_indexes: vec![0, 7],
            })
            .to_vec(),
    };
    let topics = client.call(&request, 0).await.topics;
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = partitions.map(|it| name(it.error_code)).collect();
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    assert_eq!(codes, ["NONE", unknown, unknown, unknown]);
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 70,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![7],
            }],
            ..WritableTxnMarker::default()
        }],
    };
    let markers = client.call(&request, 1).await.markers;
    assert_eq!(markers[0].producer_id, 70);
    let code = markers[0].topics[0].partitions[0].error_code;
    assert_eq!(name(code), unknown);
}
