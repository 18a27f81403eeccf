//! Facts about transactions in a real log: what readers see of them, and how an operator ends one.

use std::time::Duration;

use tidelog_format::batch::{BatchBuf, BatchRules, ProducerStamp};
use tidelog_kafka_codec::messages::describe_producers_request::TopicRequest;
use tidelog_kafka_codec::messages::describe_producers_response::ProducerState;
use tidelog_kafka_codec::messages::fetch_response::PartitionData;
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use tidelog_kafka_codec::messages::{
    DescribeProducersRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
    WriteTxnMarkersRequest,
};
use tidelog_metadata_api::MARKERS_MAX;
use tidelog_types::{ProducerEpoch, ProducerId};

use super::world;
use crate::world::{Client, batch, from_t, name, to_t};

/// Produces a batch of a transaction to partition 0 of `t`: the code and the offset.
async fn produce(client: &mut Client, base_sequence: i32) -> (&'static str, i64) {
    let stamp = ProducerStamp {
        id: ProducerId::new(70),
        epoch: ProducerEpoch::new(3),
        base_sequence,
        transactional: true,
    };
    let request = ProduceRequest {
        transactional_id: Some("x".into()),
        ..to_t(0, batch(&["a"], Some(stamp)))
    };
    let response = client.call(&request, 12).await;
    let told = &response.responses[0].partition_responses[0];
    (name(told.error_code), told.base_offset)
}

async fn fetched(client: &mut Client, isolation_level: i8) -> PartitionData {
    let request = FetchRequest {
        isolation_level,
        ..from_t(0, Duration::ZERO)
    };
    let response = client.call(&request, 12).await;
    response.responses[0].partitions[0].clone()
}

/// The offsets of batches, and whether each is a marker.
fn batches(data: &PartitionData) -> Vec<(i64, bool)> {
    let bytes = data.records.as_ref().unwrap().to_bytes();
    let all = BatchBuf::parse_all(bytes, BatchRules::stored());
    let all = all.map(|batch| *batch.unwrap().header());
    all.map(|header| (header.base_offset, header.attributes.is_control()))
        .collect()
}

async fn latest(client: &mut Client, isolation_level: i8) -> i64 {
    let request = ListOffsetsRequest {
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -1,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    client.call(&request, 7).await.topics[0].partitions[0].offset
}

/// Ends whatever the producer has open, as an operator does.
async fn end(client: &mut Client, epochs: (i16, i32), commits: bool) -> &'static str {
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 70,
            producer_epoch: epochs.0,
            coordinator_epoch: epochs.1,
            transaction_result: commits,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0],
            }],
            ..WritableTxnMarker::default()
        }],
    };
    let markers = client.call(&request, 1).await.markers;
    name(markers[0].topics[0].partitions[0].error_code)
}

async fn known(client: &mut Client) -> Vec<ProducerState> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    let mut topics = client.call(&request, 0).await.topics;
    topics.remove(0).partitions.remove(0).active_producers
}

#[tokio::test]
async fn a_reader_of_what_is_committed_waits_for_the_end_and_hears_what_was_aborted() {
    let (_fakes, mut client) = world().await;
    assert_eq!(produce(&mut client, 0).await, ("NONE", 0));
    assert_eq!(produce(&mut client, 1).await, ("NONE", 1));
    let all = fetched(&mut client, 0).await;
    assert_eq!(batches(&all), [(0, false), (1, false)]);
    assert_eq!((all.high_watermark, all.last_stable_offset), (2, 0));
    assert_eq!(all.aborted_transactions, None);
    let committed = fetched(&mut client, 1).await;
    assert_eq!(batches(&committed), []);
    assert_eq!(
        (latest(&mut client, 0).await, latest(&mut client, 1).await),
        (2, 0)
    );
    let producer = known(&mut client).await.remove(0);
    let told = (producer.producer_id, producer.producer_epoch);
    assert_eq!((told, producer.last_sequence), ((70, 3), 1));
    assert_eq!(producer.current_txn_start_offset, 0);
    // An operator aborts it.
    assert_eq!(end(&mut client, (3, 1), false).await, "NONE");
    let committed = fetched(&mut client, 1).await;
    assert_eq!(batches(&committed), [(0, false), (1, false), (2, true)]);
    let aborted = committed.aborted_transactions.unwrap();
    let aborted = aborted.iter().map(|it| (it.producer_id, it.first_offset));
    assert_eq!(aborted.collect::<Vec<_>>(), [(70, 0)]);
    assert_eq!(latest(&mut client, 1).await, 3);
    let producer = known(&mut client).await.remove(0);
    let told = (
        producer.current_txn_start_offset,
        producer.coordinator_epoch,
    );
    assert_eq!(told, (-1, 1));
}

#[tokio::test]
async fn what_is_committed_is_read_without_a_word_of_aborted_ones() {
    let (_fakes, mut client) = world().await;
    assert_eq!(produce(&mut client, 0).await, ("NONE", 0));
    assert_eq!(end(&mut client, (3, 1), true).await, "NONE");
    let committed = fetched(&mut client, 1).await;
    assert_eq!(batches(&committed), [(0, false), (1, true)]);
    assert_eq!(committed.aborted_transactions, Some(Vec::new()));
}

#[tokio::test]
async fn a_batch_of_a_transaction_that_has_ended_comes_too_late() {
    let (fakes, mut client) = world().await;
    assert_eq!(produce(&mut client, 0).await, ("NONE", 0));
    assert_eq!(end(&mut client, (3, 1), true).await, "NONE");
    // The coordinator has not heard of it, and says that the partition takes part.
    assert_eq!(produce(&mut client, 1).await, ("INVALID_TXN_STATE", -1));
    *fakes.transactions.number.lock() = 5;
    assert_eq!(produce(&mut client, 1).await, ("NONE", 2));
}

#[tokio::test]
async fn an_operator_ends_only_what_is_open_and_no_newer_producers() {
    let (_fakes, mut client) = world().await;
    assert_eq!(end(&mut client, (3, 1), false).await, "INVALID_TXN_STATE");
    assert_eq!(produce(&mut client, 0).await, ("NONE", 0));
    let code = end(&mut client, (2, 1), false).await;
    assert_eq!(code, "INVALID_PRODUCER_EPOCH");
    assert_eq!(end(&mut client, (3, 7), false).await, "NONE");
    assert_eq!(end(&mut client, (3, 7), false).await, "INVALID_TXN_STATE");
}

/// Also of more partitions than are told at once.
#[tokio::test]
async fn an_operator_hears_of_each_partition_what_became_of_it() {
    let (fakes, mut client) = world().await;
    assert_eq!(produce(&mut client, 0).await, ("NONE", 0));
    let many = i32::try_from(MARKERS_MAX).unwrap();
    fakes.world.topic("many", many.unsigned_abs(), &[]).await;
    let on = |name: &'static str, partition_indexes| WritableTxnMarkerTopic {
        name: name.into(),
        partition_indexes,
    };
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 70,
            producer_epoch: 3,
            coordinator_epoch: 1,
            topics: vec![on("t", vec![1, 0]), on("many", (0..many).collect())],
            ..WritableTxnMarker::default()
        }],
    };
    let markers = client.call(&request, 1).await.markers;
    let told = markers[0].topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let told = partitions.map(|it| (it.partition_index, name(it.error_code)));
        told.collect::<Vec<_>>()
    });
    let nothing = "INVALID_TXN_STATE";
    let expected = [
        vec![(1, nothing), (0, "NONE")],
        (0..many).map(|index| (index, nothing)).collect(),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
