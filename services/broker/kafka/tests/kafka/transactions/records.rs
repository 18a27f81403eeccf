//! Facts about batches of transactions.

use tidelog_broker_testing::FakeTransactions;
use tidelog_format::batch::ProducerStamp;
use tidelog_kafka_codec::messages::ProduceRequest;
use tidelog_metadata_api::{Participant, TransactionError, TransactionsError};
use tidelog_types::{PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};

use super::{Fakes, world};
use crate::world::{Client, batch, name, to_t};

fn stamp(id: i64, transactional: bool) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(3),
        base_sequence: 0,
        transactional,
    }
}

/// A batch of a transaction for a partition of `t`.
pub(super) fn to(index: i32, id: i64) -> ProduceRequest {
    ProduceRequest {
        transactional_id: Some("x".into()),
        ..to_t(index, batch(&["a"], Some(stamp(id, true))))
    }
}

/// Both partitions of `t`: the first with one batch, the second with another.
fn to_both(first: ProducerStamp, second: ProducerStamp) -> ProduceRequest {
    let mut request = ProduceRequest {
        transactional_id: Some("x".into()),
        ..to_t(0, batch(&["a"], Some(first)))
    };
    let second = to_t(1, batch(&["b"], Some(second)));
    let partitions = second
        .topic_data
        .into_iter()
        .flat_map(|it| it.partition_data);
    request.topic_data[0].partition_data.extend(partitions);
    request
}

pub(super) async fn codes(
    client: &mut Client,
    request: &ProduceRequest,
    version: i16,
) -> Vec<&'static str> {
    let response = client.call(request, version).await;
    let partitions = response.responses[0].partition_responses.iter();
    partitions.map(|it| name(it.error_code)).collect()
}

fn count(fakes: &Fakes, what: &str) -> usize {
    let asked = fakes.transactions.asked.lock();
    asked.iter().filter(|it| it.starts_with(what)).count()
}

#[tokio::test]
async fn all_partitions_of_a_request_are_asked_about_at_once_and_join_by_themselves_from_version_12()
 {
    let (fakes, mut client) = world().await;
    let request = to_both(stamp(70, true), stamp(70, true));
    client.call(&request, 11).await;
    assert_eq!((count(&fakes, "verify"), count(&fakes, "add")), (1, 0));
    let producer = format!("{:?}", FakeTransactions::PRODUCER);
    assert!(fakes.transactions.last().contains(&producer));
    client.call(&request, 12).await;
    assert_eq!((count(&fakes, "verify"), count(&fakes, "add")), (1, 1));
    assert_eq!(fakes.transactions.last().matches("Partition(").count(), 2);
    // Of two partitions only what is part of a transaction joins it.
    let request = to_both(stamp(70, true), stamp(71, false));
    client.call(&request, 12).await;
    assert_eq!(fakes.transactions.last().matches("Partition(").count(), 1);
}

#[tokio::test]
async fn batches_without_a_transaction_ask_nobody() {
    let (fakes, mut client) = world().await;
    let request = to_both(stamp(70, false), stamp(70, false));
    assert_eq!(codes(&mut client, &request, 12).await, ["NONE"; 2]);
    assert!(fakes.transactions.asked.lock().is_empty());
}

#[tokio::test]
async fn a_partition_that_does_not_take_part_is_refused_alone() {
    let (fakes, mut client) = world().await;
    let topic = fakes.world.topic("u", 1, &[]).await;
    let of_t = |index| TopicPartition::new(topic.number, PartitionIndex::new(index));
    // The topic `t` came before.
    let t = TopicPartition {
        topic: tidelog_types::TopicNumber::new(of_t(0).topic.get() - 1),
        ..of_t(1)
    };
    *fakes.transactions.missing.lock() = [Participant::Partition(t)].into();
    let request = to_both(stamp(71, false), stamp(70, true));
    for (version, code) in [(10, "INVALID_TXN_STATE"), (11, "TRANSACTION_ABORTABLE")] {
        let told = codes(&mut client, &request, version).await;
        assert_eq!(told, ["NONE", code]);
    }
}

#[tokio::test]
async fn batches_of_a_transaction_have_its_id_and_one_producer() {
    let (fakes, mut client) = world().await;
    let nameless = ProduceRequest {
        transactional_id: None,
        ..to_both(stamp(71, false), stamp(70, true))
    };
    let told = codes(&mut client, &nameless, 12).await;
    assert_eq!(told, ["TRANSACTIONAL_ID_AUTHORIZATION_FAILED"; 2]);
    let two = to_both(stamp(70, true), stamp(71, true));
    let told = codes(&mut client, &two, 12).await;
    assert_eq!(told, ["INVALID_PRODUCER_ID_MAPPING"; 2]);
    let newer = ProducerStamp {
        epoch: ProducerEpoch::new(4),
        ..stamp(70, true)
    };
    let two = to_both(stamp(70, true), newer);
    let told = codes(&mut client, &two, 12).await;
    assert_eq!(told, ["INVALID_PRODUCER_ID_MAPPING"; 2]);
    assert!(fakes.transactions.asked.lock().is_empty());
}

#[tokio::test]
async fn a_producer_that_may_not_write_hears_it_in_words_that_it_knows() {
    let (fakes, mut client) = world().await;
    let unavailable = || TransactionsError::Unavailable {
        reason: "a test says so".to_owned(),
    };
    for (error, version, code) in [
        (
            TransactionError::Fenced.into(),
            12,
            "INVALID_PRODUCER_EPOCH",
        ),
        (unavailable(), 11, "NOT_ENOUGH_REPLICAS"),
        (unavailable(), 12, "NOT_ENOUGH_REPLICAS"),
        (
            TransactionError::Concurrent.into(),
            11,
            "NOT_ENOUGH_REPLICAS",
        ),
        (
            TransactionError::UnknownProducer.into(),
            12,
            "INVALID_PRODUCER_ID_MAPPING",
        ),
    ] {
        fakes.transactions.fail(error);
        assert_eq!(codes(&mut client, &to(0, 70), version).await, [code]);
    }
    // What is no part of the transaction is written all the same.
    let request = to_both(stamp(71, false), stamp(70, true));
    let told = codes(&mut client, &request, 12).await;
    assert_eq!(told, ["NONE", "INVALID_PRODUCER_ID_MAPPING"]);
}

#[tokio::test]
async fn a_transaction_that_is_being_ended_is_waited_for_a_moment() {
    let (fakes, mut client) = world().await;
    let ending = TransactionsError::Refused(TransactionError::Concurrent);
    *fakes.transactions.fails_next.lock() = [ending.clone(), ending.clone()].into();
    client.call(&to(0, 70), 12).await;
    assert_eq!(count(&fakes, "add"), 3);
    fakes.transactions.fail(ending);
    let told = codes(&mut client, &to(0, 70), 12).await;
    assert_eq!(told, ["CONCURRENT_TRANSACTIONS"]);
    // After other errors nobody is asked again.
    fakes.transactions.asked.lock().clear();
    fakes.transactions.fail(TransactionError::Fenced);
    client.call(&to(0, 70), 12).await;
    assert_eq!(count(&fakes, "add"), 1);
}
