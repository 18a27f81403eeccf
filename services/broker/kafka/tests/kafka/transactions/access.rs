//! Facts about rights: what somebody may not touch is not touched with a transaction either, and not shown.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use tidelog_kafka_codec::messages::{
    AddOffsetsToTxnRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};
use tidelog_metadata_api::{Participant, TopicSelector};
use tidelog_runtime::access::Operation;
use tidelog_types::{PartitionIndex, TopicPartition};

use super::{Fakes, offsets, producers, records, world};
use crate::world::{Client, name};

const TOPIC: &str = "topic `t`";
const GROUP: &str = "group `g`";
const ID: &str = "transactional id `x`";

/// A broker on which nobody may do one thing.
async fn without(operation: Operation, resource: &str) -> (Fakes, Client) {
    let (fakes, client) = world().await;
    let denied = (operation, resource.to_owned());
    fakes.world.gate.denied.lock().push(denied);
    (fakes, client)
}

/// Whether no coordinator was asked.
fn asked_nobody(fakes: &Fakes) -> bool {
    fakes.transactions.asked.lock().is_empty() && fakes.groups.asked.lock().is_empty()
}

#[tokio::test]
async fn batches_of_an_id_of_somebody_else_are_refused() {
    let (fakes, mut client) = without(Operation::Write, ID).await;
    let told = records::codes(&mut client, &records::to(0, 70), 12).await;
    assert_eq!(told, ["TRANSACTIONAL_ID_AUTHORIZATION_FAILED"]);
    assert!(asked_nobody(&fakes));
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_is_not_added() {
    let (fakes, mut client) = without(Operation::Write, TOPIC).await;
    let request = producers::add(&[("t", &[0])], 3);
    let answer = client.call(&request, 3).await;
    let told = producers::told(&answer.results_by_topic_v3_and_below);
    assert_eq!(told, [("t", 0, "TOPIC_AUTHORIZATION_FAILED")]);
    assert!(asked_nobody(&fakes));
}

#[tokio::test]
async fn a_group_that_may_not_be_read_is_not_added_and_takes_no_offsets() {
    let (fakes, mut client) = without(Operation::Read, GROUP).await;
    let request = AddOffsetsToTxnRequest {
        transactional_id: "x".into(),
        producer_id: 70,
        producer_epoch: 3,
        group_id: "g".into(),
    };
    let code = client.call(&request, 4).await.error_code;
    assert_eq!(name(code), "GROUP_AUTHORIZATION_FAILED");
    let request = offsets::commit(&[("t", Uuid::nil(), &[0])], 5);
    let told = offsets::codes(&mut client, &request, 5).await;
    assert_eq!(told, ["GROUP_AUTHORIZATION_FAILED"]);
    assert!(asked_nobody(&fakes));
}

#[tokio::test]
async fn offsets_of_a_topic_that_may_not_be_read_are_not_committed() {
    let (fakes, mut client) = without(Operation::Read, TOPIC).await;
    let request = offsets::commit(&[("t", Uuid::nil(), &[0])], 5);
    let told = offsets::codes(&mut client, &request, 5).await;
    assert_eq!(told, ["TOPIC_AUTHORIZATION_FAILED"]);
    assert!(asked_nobody(&fakes));
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_takes_no_marker() {
    let (_fakes, mut client) = without(Operation::Write, TOPIC).await;
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 70,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0],
            }],
            ..WritableTxnMarker::default()
        }],
    };
    let markers = client.call(&request, 1).await.markers;
    let code = markers[0].topics[0].partitions[0].error_code;
    assert_eq!(name(code), "TOPIC_AUTHORIZATION_FAILED");
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_shown() {
    let (fakes, mut client) = without(Operation::Describe, TOPIC).await;
    let topic = TopicSelector::Name("t".parse().unwrap());
    let topic = fakes.world.engine.catalogue().topic(&topic).await.unwrap();
    let at = TopicPartition::new(topic.number, PartitionIndex::new(0));
    *fakes.transactions.participants.lock() = [Participant::Partition(at)].into();
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["x".into()],
    };
    let told = client.call(&request, 0).await.transaction_states.remove(0);
    assert_eq!((name(told.error_code), told.topics.len()), ("NONE", 0));
    fakes.world.gate.denied.lock().clear();
    let told = client.call(&request, 0).await.transaction_states.remove(0);
    assert_eq!(told.topics.len(), 1);

    let (_fakes, mut client) = without(Operation::Describe, "transactional id `a-1`").await;
    let answer = client.call(&ListTransactionsRequest::default(), 1).await;
    let ids = answer.transaction_states.iter();
    let ids = ids.map(|it| &*it.transactional_id).collect::<Vec<_>>();
    assert_eq!(ids, ["a-2", "b-1"]);
}
