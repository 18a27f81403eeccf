//! Facts about offsets.

use tidelog_kafka_codec::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use tidelog_kafka_codec::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use crate::world::{Client, World, batch, name};

/// The offset and time of partition 0 of `t` that a timestamp stands for.
async fn offset(client: &mut Client, timestamp: i64, version: i16) -> (&'static str, i64, i64) {
    let wanted = ListOffsetsPartition {
        timestamp,
        current_leader_epoch: -1,
        ..ListOffsetsPartition::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![wanted],
        }],
        ..ListOffsetsRequest::default()
    };
    // What a version lacks must not be set.
    let request = ListOffsetsRequest {
        isolation_level: i8::from(version >= 2),
        ..request
    };
    let response = client.call(&request, version).await;
    let answer = &response.topics[0].partitions[0];
    let known = version >= 4 && answer.error_code == 0 && answer.offset >= 0;
    assert_eq!(answer.leader_epoch, if known { 0 } else { -1 });
    (name(answer.error_code), answer.offset, answer.timestamp)
}

#[tokio::test]
async fn offsets_are_found_at_both_ends_and_by_time() {
    let (_world, mut client) = World::with_topic(1).await;
    client.produce(batch(&["a", "b", "c"], None)).await;
    client.produce(batch(&["d"], None)).await;
    let c = &mut client;
    for version in 1..=11 {
        assert_eq!(offset(c, -1, version).await, ("NONE", 4, -1));
        assert_eq!(offset(c, -2, version).await, ("NONE", 0, -1));
        assert_eq!(offset(c, 101, version).await, ("NONE", 1, 101));
        assert_eq!(offset(c, 103, version).await, ("NONE", -1, -1));
    }
    assert_eq!(offset(c, -3, 7).await, ("NONE", 2, 102));
    assert_eq!(offset(c, -3, 6).await.0, "UNSUPPORTED_VERSION");
    assert_eq!(offset(c, -4, 8).await, ("NONE", 0, -1));
    assert_eq!(offset(c, -5, 9).await, ("NONE", -1, -1));
}

#[tokio::test]
async fn a_partition_that_is_asked_about_twice_is_answered_for_once() {
    let (_world, mut client) = World::with_topic(2).await;
    let wanted = |partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..ListOffsetsPartition::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![wanted(0), wanted(1), wanted(0)],
        }],
        ..ListOffsetsRequest::default()
    };
    let response = client.call(&request, 7).await;
    let told = response.topics[0].partitions.iter();
    let told = told.map(|it| (it.partition_index, name(it.error_code)));
    let expected = [(0, "INVALID_REQUEST"), (1, "NONE")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_only_leader_epoch_ends_where_the_log_does() {
    let (_world, mut client) = World::with_topic(1).await;
    client.produce(batch(&["a", "b"], None)).await;
    let wanted = |partition, leader_epoch| OffsetForLeaderPartition {
        partition,
        leader_epoch,
        current_leader_epoch: -1,
    };
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![wanted(0, 0), wanted(0, 4), wanted(3, 0)],
        }],
    };
    let response = client.call(&request, 4).await;
    let answers = response.topics[0].partitions.iter();
    let answers = answers.map(|it| (name(it.error_code), it.leader_epoch, it.end_offset));
    let expected = [
        ("NONE", 0, 2),
        ("NONE", -1, -1),
        ("UNKNOWN_TOPIC_OR_PARTITION", -1, -1),
    ];
    assert_eq!(answers.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_and_no_further_than_the_end() {
    let (_world, mut client) = World::with_topic(1).await;
    client.produce(batch(&["a", "b", "c"], None)).await;
    let mut delete = async |offset| {
        let wanted = DeleteRecordsPartition {
            partition_index: 0,
            offset,
        };
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: "t".into(),
                partitions: vec![wanted],
            }],
            timeout_ms: 1_000,
        };
        let response = client.call(&request, 2).await;
        let answer = &response.topics[0].partitions[0];
        (name(answer.error_code), answer.low_watermark)
    };
    assert_eq!(delete(2).await, ("NONE", 2));
    assert_eq!(delete(1).await, ("NONE", 2));
    assert_eq!(delete(4).await, ("OFFSET_OUT_OF_RANGE", -1));
    assert_eq!(delete(-2).await, ("OFFSET_OUT_OF_RANGE", -1));
    assert_eq!(delete(-1).await, ("NONE", 3));
    assert_eq!(offset(&mut client, -2, 5).await, ("NONE", 3, -1));
}
