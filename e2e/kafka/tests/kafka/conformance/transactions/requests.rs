//! Requests of transactions, filled in.

use bytes::{Bytes, BytesMut};
use tidelog_format::batch::{BatchBuf, BatchBuilder, BatchRules, Compression, ProducerStamp};
use tidelog_kafka_codec::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use tidelog_kafka_codec::messages::fetch_request::{FetchPartition, FetchTopic};
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidelog_kafka_codec::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use tidelog_kafka_codec::messages::*;
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp};

/// A transactional id, a producer id and its epoch.
pub(in crate::conformance) type By = (&'static str, i64, i16);

pub(in crate::conformance) fn init(id: &'static str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

pub(in crate::conformance) fn add(
    (id, producer_id, producer_epoch): By,
    topics: &[(&'static str, &[i32])],
    version: i16,
) -> AddPartitionsToTxnRequest {
    let topics = topics
        .iter()
        .map(|(name, partitions)| AddPartitionsToTxnTopic {
            name: (*name).into(),
            partitions: partitions.to_vec(),
        });
    if version < 4 {
        return AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: topics.collect(),
            ..Default::default()
        };
    }
    AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: id.into(),
            producer_id,
            producer_epoch,
            verify_only: false,
            topics: topics.collect(),
        }],
        ..Default::default()
    }
}

pub(in crate::conformance) fn add_group(
    (id, producer_id, producer_epoch): By,
    group: &'static str,
) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: id.into(),
        producer_id,
        producer_epoch,
        group_id: group.into(),
    }
}

fn end((id, producer_id, producer_epoch): By, committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: id.into(),
        producer_id,
        producer_epoch,
        committed,
    }
}

pub(in crate::conformance) fn commits(by: By) -> EndTxnRequest {
    end(by, true)
}

pub(in crate::conformance) fn aborts(by: By) -> EndTxnRequest {
    end(by, false)
}

/// Offsets of partitions of `t`, by nobody in the group.
pub(in crate::conformance) fn offsets(
    (id, producer_id, producer_epoch): By,
    group: &'static str,
    offsets: &[(i32, i64)],
) -> TxnOffsetCommitRequest {
    let partitions =
        offsets.iter().map(
            |(partition_index, offset)| TxnOffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *offset,
                committed_metadata: Some("note".into()),
                ..Default::default()
            },
        );
    TxnOffsetCommitRequest {
        transactional_id: id.into(),
        group_id: group.into(),
        producer_id,
        producer_epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A batch of a transaction for each of some partitions of `t`.
pub(in crate::conformance) fn produce(
    (id, producer, epoch): By,
    (now, base_sequence): (i64, i32),
    batches: &[(i32, &str)],
) -> ProduceRequest {
    let partition_data = batches.iter().map(|(index, value)| PartitionProduceData {
        index: *index,
        records: Some(batch(now, (producer, epoch, base_sequence), value).into()),
    });
    ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 20_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: partition_data.collect(),
            ..Default::default()
        }],
    }
}

fn batch(now: i64, (producer, epoch, base_sequence): (i64, i16, i32), value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    let time = Timestamp::from_millis(now);
    let appended = builder.append(time, None, Some(value.as_bytes()), &[]);
    appended.expect("a record fits a batch");
    let stamp = ProducerStamp {
        id: ProducerId::new(producer),
        epoch: ProducerEpoch::new(epoch),
        base_sequence,
        transactional: true,
    };
    let batch = builder.finish(Some(stamp)).expect("the batch has a record");
    let mut bytes = BytesMut::new();
    batch
        .chunks()
        .for_each(|part| bytes.extend_from_slice(&part));
    bytes.freeze()
}

/// What batches hold: of each its offsets, whether it is a marker, and its records as bytes.
pub(in crate::conformance) fn records(bytes: Bytes) -> Vec<String> {
    let mut found = Vec::new();
    for batch in BatchBuf::parse_all(bytes, BatchRules::stored()) {
        let Ok(batch) = batch else {
            found.push("damaged".to_owned());
            break;
        };
        let header = batch.header();
        let kind = (
            header.attributes.is_transactional(),
            header.attributes.is_control(),
            header.base_sequence,
        );
        found.push(format!("{} {kind:?}", header.base_offset));
    }
    found
}

pub(in crate::conformance) fn fetch(partition: i32, committed: bool) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        isolation_level: i8::from(committed),
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![FetchPartition {
                partition,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(in crate::conformance) fn latest(partition_index: i32, committed: bool) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(committed),
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index,
                timestamp: -1,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

pub(in crate::conformance) fn describe(ids: &[&str]) -> DescribeTransactionsRequest {
    DescribeTransactionsRequest {
        transactional_ids: ids.iter().map(|id| (*id).into()).collect(),
    }
}

pub(in crate::conformance) fn producers(partition: i32) -> DescribeProducersRequest {
    DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: "t".into(),
            partition_indexes: vec![partition],
        }],
    }
}
