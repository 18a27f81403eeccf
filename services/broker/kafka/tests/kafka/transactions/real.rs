//! Facts about transactions from their beginning to their end, at real coordinators.

use std::time::Duration;

use tidelog_format::batch::{BatchBuf, BatchRules, ProducerStamp};
use tidelog_kafka_codec::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use tidelog_kafka_codec::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use tidelog_kafka_codec::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use tidelog_kafka_codec::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, EndTxnResponse,
    FetchRequest, InitProducerIdRequest, ListTransactionsRequest, OffsetFetchRequest,
    ProduceRequest, TxnOffsetCommitRequest,
};
use tidelog_types::{ProducerEpoch, ProducerId};

use crate::world::{Client, World, batch, from_t, name, to_t};

/// A producer id and its epoch.
type Producer = (i64, i16);

/// Begins, as soon as what was before has ended.
async fn begin(client: &mut Client) -> Producer {
    let request = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    loop {
        let answer = client.call(&request, 5).await;
        match name(answer.error_code) {
            "NONE" => return (answer.producer_id, answer.producer_epoch),
            "CONCURRENT_TRANSACTIONS" => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    }
}

async fn produce(
    client: &mut Client,
    (id, epoch): Producer,
    (index, base_sequence): (i32, i32),
    version: i16,
) -> &'static str {
    let stamp = ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(epoch),
        base_sequence,
        transactional: true,
    };
    let request = ProduceRequest {
        transactional_id: Some("x".into()),
        ..to_t(index, batch(&["a"], Some(stamp)))
    };
    loop {
        let response = client.call(&request, version).await;
        let code = response.responses[0].partition_responses[0].error_code;
        // The transaction before is being ended.
        match name(code) {
            "CONCURRENT_TRANSACTIONS" | "NOT_ENOUGH_REPLICAS" => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

async fn end(
    client: &mut Client,
    producer: Producer,
    committed: bool,
    version: i16,
) -> EndTxnResponse {
    let request = EndTxnRequest {
        transactional_id: "x".into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    };
    client.call(&request, version).await
}

async fn add(client: &mut Client, producer: Producer, partitions: &[i32]) -> Vec<&'static str> {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: partitions.to_vec(),
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let answer = client.call(&request, 3).await;
    let partitions = &answer.results_by_topic_v3_and_below[0].results_by_partition;
    partitions
        .iter()
        .map(|it| name(it.partition_error_code))
        .collect()
}

async fn commit_offset(client: &mut Client, producer: Producer, offset: i64) -> &'static str {
    let request = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                committed_offset: offset,
                ..TxnOffsetCommitRequestPartition::default()
            }],
            ..TxnOffsetCommitRequestTopic::default()
        }],
        ..TxnOffsetCommitRequest::default()
    };
    let answer = client.call(&request, 5).await;
    name(answer.topics[0].partitions[0].error_code)
}

/// The committed offset of the group.
async fn offset(client: &mut Client, require_stable: bool) -> (&'static str, i64) {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable,
        ..OffsetFetchRequest::default()
    };
    let groups = client.call(&request, 9).await.groups;
    let told = &groups[0].topics[0].partitions[0];
    (name(told.error_code), told.committed_offset)
}

/// Waits until the transaction has ended everywhere, and says how.
async fn ended(client: &mut Client) -> String {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["x".into()],
    };
    loop {
        let state = client.call(&request, 0).await.transaction_states.remove(0);
        assert_eq!(name(state.error_code), "NONE");
        if state.transaction_state.starts_with("Complete") {
            return state.transaction_state.to_string();
        }
        tokio::task::yield_now().await;
    }
}

/// What a reader of committed records gets of a partition: the offsets of batches, and which are markers.
async fn committed(client: &mut Client, index: i32) -> (Vec<(i64, bool)>, Vec<i64>) {
    let mut request = FetchRequest {
        isolation_level: 1,
        ..from_t(0, Duration::ZERO)
    };
    request.topics[0].partitions[0].partition = index;
    let response = client.call(&request, 12).await;
    let data = response.responses[0].partitions[0].clone();
    let bytes = data.records.unwrap().to_bytes();
    let all = BatchBuf::parse_all(bytes, BatchRules::stored());
    let all = all.map(|batch| *batch.unwrap().header());
    let all = all.map(|header| (header.base_offset, header.attributes.is_control()));
    let aborted = data.aborted_transactions.unwrap();
    let aborted = aborted.iter().map(|it| it.first_offset);
    (all.collect(), aborted.collect())
}

#[tokio::test]
async fn a_transaction_of_the_second_protocol_commits_records_and_offsets_at_once() {
    let (_world, mut client) = World::with_topic(2).await;
    let c = &mut client;
    let first = begin(c).await;
    assert_eq!(produce(c, first, (0, 0), 12).await, "NONE");
    assert_eq!(produce(c, first, (1, 0), 12).await, "NONE");
    assert_eq!(commit_offset(c, first, 7).await, "NONE");
    assert_eq!(committed(c, 0).await, (Vec::new(), Vec::new()));
    assert_eq!(offset(c, false).await, ("NONE", -1));
    assert_eq!(offset(c, true).await, ("UNSTABLE_OFFSET_COMMIT", -1));
    let answer = end(c, first, true, 5).await;
    let next = (answer.producer_id, answer.producer_epoch);
    assert_eq!((answer.error_code, next), (0, (first.0, first.1 + 1)));
    assert_eq!(ended(c).await, "CompleteCommit");
    for index in 0..2 {
        let expected = (vec![(0, false), (1, true)], Vec::new());
        assert_eq!(committed(c, index).await, expected);
    }
    assert_eq!(offset(c, true).await, ("NONE", 7));
    // What the producer sent in its old epoch comes too late, and the next transaction is aborted.
    let late = produce(c, first, (0, 1), 12).await;
    assert_eq!(late, "INVALID_PRODUCER_EPOCH");
    assert_eq!(produce(c, next, (0, 0), 12).await, "NONE");
    assert_eq!(commit_offset(c, next, 9).await, "NONE");
    assert_eq!(end(c, next, false, 5).await.error_code, 0);
    assert_eq!(ended(c).await, "CompleteAbort");
    let all = vec![(0, false), (1, true), (2, false), (3, true)];
    assert_eq!(committed(c, 0).await, (all, vec![2]));
    assert_eq!(offset(c, true).await, ("NONE", 7));
}

#[tokio::test]
async fn a_transaction_of_the_first_protocol_has_what_its_producer_has_added() {
    let (_world, mut client) = World::with_topic(2).await;
    let c = &mut client;
    let producer = begin(c).await;
    for (version, code) in [(10, "INVALID_TXN_STATE"), (11, "TRANSACTION_ABORTABLE")] {
        assert_eq!(produce(c, producer, (0, 0), version).await, code);
    }
    assert_eq!(add(c, producer, &[0]).await, ["NONE"]);
    assert_eq!(produce(c, producer, (0, 0), 11).await, "NONE");
    let other = produce(c, producer, (1, 0), 11).await;
    assert_eq!(other, "TRANSACTION_ABORTABLE");
    let listed = c.call(&ListTransactionsRequest::default(), 1).await;
    let listed = listed.transaction_states.iter();
    let told = listed.map(|it| (&*it.transactional_id, &*it.transaction_state));
    assert_eq!(told.collect::<Vec<_>>(), [("x", "Ongoing")]);
    assert_eq!(end(c, producer, true, 4).await.error_code, 0);
    assert_eq!(ended(c).await, "CompleteCommit");
    assert_eq!(end(c, producer, true, 4).await.error_code, 0);
    let code = end(c, producer, false, 4).await.error_code;
    assert_eq!(name(code), "INVALID_TXN_STATE");
    let expected = (vec![(0, false), (1, true)], Vec::new());
    assert_eq!(committed(c, 0).await, expected);
    // It keeps its epoch, and has to add the partition again.
    let again = produce(c, producer, (0, 1), 11).await;
    assert_eq!(again, "TRANSACTION_ABORTABLE");
}

#[tokio::test]
async fn a_producer_that_another_replaces_has_its_transaction_aborted_and_is_fenced() {
    let (_world, mut client) = World::with_topic(1).await;
    let c = &mut client;
    let old = begin(c).await;
    assert_eq!(produce(c, old, (0, 0), 12).await, "NONE");
    let new = begin(c).await;
    assert!(new.0 == old.0 && new.1 > old.1, "{old:?} {new:?}");
    assert_eq!(
        committed(c, 0).await,
        (vec![(0, false), (1, true)], vec![0])
    );
    for version in [11, 12] {
        let code = produce(c, old, (0, 1), version).await;
        assert_eq!(code, "INVALID_PRODUCER_EPOCH");
    }
    let code = end(c, old, true, 5).await.error_code;
    assert_eq!(name(code), "PRODUCER_FENCED");
    assert_eq!(commit_offset(c, old, 5).await, "INVALID_PRODUCER_EPOCH");
    assert_eq!(produce(c, new, (0, 0), 12).await, "NONE");
}
