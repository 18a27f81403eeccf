//! Facts about producers that begin, add to and end their transactions.

use tidelog_broker_testing::FakeTransactions;
use tidelog_kafka_codec::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use tidelog_kafka_codec::messages::add_partitions_to_txn_response::AddPartitionsToTxnTopicResult;
use tidelog_kafka_codec::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, EndTxnRequest,
    FindCoordinatorRequest, InitProducerIdRequest,
};
use tidelog_metadata_api::{Participant, TransactionError, TransactionsError};
use tidelog_types::{PartitionIndex, TopicPartition};

use super::world;
use crate::world::name;

/// Who the requests here say that the producer is, as coordinators note it.
pub(super) fn noted() -> String {
    format!("{:?}", FakeTransactions::PRODUCER)
}

fn init() -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 5_000,
        ..InitProducerIdRequest::default()
    }
}

fn end() -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: "x".into(),
        producer_id: 70,
        producer_epoch: 3,
        committed: true,
    }
}

pub(super) fn add(topics: &[(&'static str, &[i32])], version: i16) -> AddPartitionsToTxnRequest {
    let topics = topics
        .iter()
        .map(|(name, partitions)| AddPartitionsToTxnTopic {
            name: (*name).into(),
            partitions: partitions.to_vec(),
        });
    if version < 4 {
        return AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "x".into(),
            v3_and_below_producer_id: 70,
            v3_and_below_producer_epoch: 3,
            v3_and_below_topics: topics.collect(),
            ..AddPartitionsToTxnRequest::default()
        };
    }
    AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: "x".into(),
            producer_id: 70,
            producer_epoch: 3,
            verify_only: false,
            topics: topics.collect(),
        }],
        ..AddPartitionsToTxnRequest::default()
    }
}

pub(super) fn told(topics: &[AddPartitionsToTxnTopicResult]) -> Vec<(&str, i32, &'static str)> {
    let told = topics.iter().flat_map(|topic| {
        let partitions = topic.results_by_partition.iter();
        partitions.map(|it| {
            let code = name(it.partition_error_code);
            (&*topic.name, it.partition_index, code)
        })
    });
    told.collect()
}

#[tokio::test]
async fn a_client_is_told_that_each_transaction_has_an_epoch_of_its_own_and_where_its_coordinator_is()
 {
    let (_fakes, mut client) = world().await;
    let asks = ApiVersionsRequest {
        client_software_name: "world".into(),
        client_software_version: "1.0".into(),
        ..ApiVersionsRequest::default()
    };
    let answer = client.call(&asks, 3).await;
    assert_eq!(answer.finalized_features_epoch, 0);
    let finalized = answer.finalized_features.iter();
    let finalized = finalized.map(|it| (&*it.name, it.min_version_level, it.max_version_level));
    let expected = [("group.version", 1, 1), ("transaction.version", 2, 2)];
    assert_eq!(finalized.collect::<Vec<_>>(), expected);
    // Older clients cannot read a level 0.
    assert!(
        answer
            .supported_features
            .iter()
            .all(|it| it.min_version > 0)
    );
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["x".into()],
        ..FindCoordinatorRequest::default()
    };
    let found = client.call(&find, 6).await.coordinators.remove(0);
    assert_eq!(
        (found.error_code, &*found.host, found.port),
        (0, "here", 9092)
    );
    let find = FindCoordinatorRequest {
        key: "x".into(),
        coordinator_keys: Vec::new(),
        ..find
    };
    let found = client.call(&find, 1).await;
    assert_eq!((found.error_code, &*found.host), (0, "here"));
}

#[tokio::test]
async fn a_producer_begins_as_nobody_or_as_who_it_was() {
    let (fakes, mut client) = world().await;
    for version in 0..=5 {
        let answer = client.call(&init(), version).await;
        let producer = (answer.error_code, answer.producer_id, answer.producer_epoch);
        assert_eq!(producer, (0, 70, 3));
        let asked = fakes.transactions.last();
        assert!(asked.contains("timeout: 5s, expected: None"), "{asked}");
    }
    let known = InitProducerIdRequest {
        producer_id: 70,
        producer_epoch: 2,
        ..init()
    };
    client.call(&known, 5).await;
    let asked = fakes.transactions.last();
    assert!(asked.contains("ProducerEpoch(2)"), "{asked}");
    let half = InitProducerIdRequest {
        producer_epoch: -1,
        ..known.clone()
    };
    let half_of_one_without_transactions = InitProducerIdRequest {
        transactional_id: None,
        ..half.clone()
    };
    let empty = InitProducerIdRequest {
        transactional_id: Some("".into()),
        ..init()
    };
    for wrong in [half, half_of_one_without_transactions, empty] {
        let answer = client.call(&wrong, 5).await;
        assert_eq!(name(answer.error_code), "INVALID_REQUEST");
        assert_eq!((answer.producer_id, answer.producer_epoch), (-1, -1));
    }
    fakes.transactions.fail(TransactionError::Fenced);
    let told = [3, 4].map(|version| (version, "PRODUCER_FENCED"));
    for (version, newer) in told {
        let answer = client.call(&init(), version).await;
        let expected = if version < 4 {
            "INVALID_PRODUCER_EPOCH"
        } else {
            newer
        };
        assert_eq!(name(answer.error_code), expected);
    }
}

#[tokio::test]
async fn partitions_are_added_all_or_none() {
    let (fakes, mut client) = world().await;
    for version in 0..=5 {
        let answer = client.call(&add(&[("t", &[0, 1])], version), version).await;
        let topics = match answer.results_by_transaction.first() {
            Some(of_id) => &of_id.topic_results,
            None => &answer.results_by_topic_v3_and_below,
        };
        assert_eq!(told(topics), [("t", 0, "NONE"), ("t", 1, "NONE")]);
        let asked = fakes.transactions.last();
        assert!(
            asked.starts_with("add ") && asked.contains(&noted()),
            "{asked}"
        );
    }
    fakes.transactions.asked.lock().clear();
    let some = add(&[("t", &[0, 7]), ("nowhere", &[0])], 3);
    let answer = client.call(&some, 3).await;
    let expected = [
        ("t", 0, "OPERATION_NOT_ATTEMPTED"),
        ("t", 7, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("nowhere", 0, "UNKNOWN_TOPIC_OR_PARTITION"),
    ];
    assert_eq!(told(&answer.results_by_topic_v3_and_below), expected);
    assert!(fakes.transactions.asked.lock().is_empty());
    fakes.transactions.fail(TransactionError::Fenced);
    for (version, code) in [(1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED")] {
        let answer = client.call(&add(&[("t", &[1])], version), version).await;
        assert_eq!(
            told(&answer.results_by_topic_v3_and_below),
            [("t", 1, code)]
        );
    }
}

#[tokio::test]
async fn a_broker_of_kafka_may_ask_whether_partitions_take_part() {
    let (fakes, mut client) = world().await;
    let topic = fakes.world.topic("u", 1, &[]).await;
    let absent = TopicPartition::new(topic.number, PartitionIndex::new(0));
    *fakes.transactions.missing.lock() = [Participant::Partition(absent)].into();
    let mut request = add(&[("t", &[0]), ("u", &[0])], 5);
    request.transactions[0].verify_only = true;
    let answer = client.call(&request, 5).await;
    let told = told(&answer.results_by_transaction[0].topic_results);
    assert_eq!(told, [("t", 0, "NONE"), ("u", 0, "TRANSACTION_ABORTABLE")]);
    assert!(fakes.transactions.last().starts_with("verify "));
}

#[tokio::test]
async fn a_group_is_added() {
    let (fakes, mut client) = world().await;
    let request = AddOffsetsToTxnRequest {
        transactional_id: "x".into(),
        producer_id: 70,
        producer_epoch: 3,
        group_id: "g".into(),
    };
    for version in 0..=4 {
        assert_eq!(client.call(&request, version).await.error_code, 0);
        let asked = fakes.transactions.last();
        assert!(
            asked.starts_with("add ") && asked.contains(r#"Group(GroupName("g"))"#),
            "{asked}"
        );
        assert!(asked.contains(&noted()), "{asked}");
    }
    fakes.transactions.fail(TransactionError::Fenced);
    for (version, code) in [(1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED")] {
        let told = client.call(&request, version).await.error_code;
        assert_eq!(name(told), code);
    }
    fakes.transactions.fail(TransactionsError::Loading);
    let code = client.call(&request, 4).await.error_code;
    assert_eq!(name(code), "COORDINATOR_LOAD_IN_PROGRESS");
}

#[tokio::test]
async fn a_transaction_ends_in_the_protocol_of_its_producer() {
    let (fakes, mut client) = world().await;
    for version in 0..=5 {
        let answer = client.call(&end(), version).await;
        // Before version 5 there is no place for who the producer is.
        let producer = if version < 5 { (-1, -1) } else { (70, 3) };
        let told = (answer.producer_id, answer.producer_epoch);
        assert_eq!((answer.error_code, told), (0, producer));
        let protocol = if version < 5 { "One" } else { "Two" };
        let expected = format!("decision: Commit, version: {protocol}");
        let asked = fakes.transactions.last();
        assert!(
            asked.contains(&expected) && asked.contains(&noted()),
            "{asked}"
        );
    }
    let abort = EndTxnRequest {
        committed: false,
        ..end()
    };
    client.call(&abort, 5).await;
    assert!(fakes.transactions.last().contains("decision: Abort"));
    for (error, version, code) in [
        (TransactionError::InvalidState, 5, "INVALID_TXN_STATE"),
        (
            TransactionError::UnknownProducer,
            5,
            "INVALID_PRODUCER_ID_MAPPING",
        ),
        (TransactionError::Concurrent, 5, "CONCURRENT_TRANSACTIONS"),
        (TransactionError::Fenced, 1, "INVALID_PRODUCER_EPOCH"),
        (TransactionError::Fenced, 2, "PRODUCER_FENCED"),
    ] {
        fakes.transactions.fail(error);
        let answer = client.call(&end(), version).await;
        assert_eq!((name(answer.error_code), answer.producer_id), (code, -1));
    }
}
