//! Facts about offsets that are committed with a transaction.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::TxnOffsetCommitRequest;
use tidelog_kafka_codec::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use tidelog_metadata_api::{
    GroupName, GroupsError, Participant, TransactionError, TransactionsError,
};

use super::producers::noted;
use super::world;
use crate::world::{Client, name};

pub(super) fn commit(
    topics: &[(&'static str, Uuid, &[i32])],
    version: i16,
) -> TxnOffsetCommitRequest {
    let topics = topics.iter().map(|(name, topic_id, indexes)| {
        let partitions = indexes.iter().map(|index| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: 5,
            committed_metadata: Some("note".into()),
            ..TxnOffsetCommitRequestPartition::default()
        });
        TxnOffsetCommitRequestTopic {
            name: if version < 6 {
                (*name).into()
            } else {
                "".into()
            },
            topic_id: if version < 6 { Uuid::nil() } else { *topic_id },
            partitions: partitions.collect(),
        }
    });
    TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: 70,
        producer_epoch: 3,
        generation_id_or_member_epoch: if version < 3 { -1 } else { 2 },
        member_id: if version < 3 { "" } else { "m" }.into(),
        group_instance_id: (version >= 3).then(|| "i".into()),
        topics: topics.collect(),
    }
}

pub(super) async fn codes(
    client: &mut Client,
    request: &TxnOffsetCommitRequest,
    version: i16,
) -> Vec<&'static str> {
    let response = client.call(request, version).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| name(it.error_code)).collect()
}

#[tokio::test]
async fn the_group_joins_the_transaction_and_its_offsets_name_it() {
    let (fakes, mut client) = world().await;
    let id = *fakes.world.topic("u", 1, &[]).await.id.as_uuid();
    for version in 0..=6 {
        let request = commit(&[("u", id, &[0, 7])], version);
        let told = codes(&mut client, &request, version).await;
        assert_eq!(told, ["NONE", "UNKNOWN_TOPIC_OR_PARTITION"], "{version}");
        let asked = fakes.transactions.last();
        let how = if version < 5 { "verify " } else { "add " };
        assert!(
            asked.starts_with(how) && asked.contains("Group("),
            "{asked}"
        );
        assert!(asked.contains(&noted()), "{asked}");
        let asked = fakes.groups.last();
        assert!(asked.contains(&noted()), "{asked}");
        assert!(asked.contains("number: TransactionNumber(4)"), "{asked}");
        let member = if version < 3 {
            r#"member_id: "", instance: None, epoch: -1"#
        } else {
            r#"member_id: "m", instance: Some("i"), epoch: 2"#
        };
        assert!(asked.contains(member), "{asked}");
    }
}

#[tokio::test]
async fn a_group_that_does_not_take_part_has_nothing_committed() {
    let (fakes, mut client) = world().await;
    let group = Participant::Group(GroupName::new("g").unwrap());
    *fakes.transactions.missing.lock() = [group].into();
    for (version, code) in [(3, "INVALID_TXN_STATE"), (4, "TRANSACTION_ABORTABLE")] {
        let request = commit(&[("t", Uuid::nil(), &[0, 1])], version);
        assert_eq!(codes(&mut client, &request, version).await, [code; 2]);
    }
    assert!(fakes.groups.asked.lock().is_empty());
    // Nobody is asked where there is nothing to commit.
    fakes.transactions.asked.lock().clear();
    let request = commit(&[("nowhere", Uuid::nil(), &[0])], 5);
    let told = codes(&mut client, &request, 5).await;
    assert_eq!(told, ["UNKNOWN_TOPIC_OR_PARTITION"]);
    assert!(fakes.transactions.asked.lock().is_empty());
}

#[tokio::test]
async fn errors_of_both_coordinators_are_told_in_words_that_the_version_knows() {
    let (fakes, mut client) = world().await;
    let request = |version| commit(&[("t", Uuid::nil(), &[0])], version);
    let ending = TransactionsError::Refused(TransactionError::Concurrent);
    for (error, version, code) in [
        (TransactionError::Fenced.into(), 5, "INVALID_PRODUCER_EPOCH"),
        (TransactionsError::Loading, 1, "COORDINATOR_NOT_AVAILABLE"),
        (
            TransactionsError::Loading,
            2,
            "COORDINATOR_LOAD_IN_PROGRESS",
        ),
        (ending.clone(), 4, "COORDINATOR_LOAD_IN_PROGRESS"),
        (ending, 5, "CONCURRENT_TRANSACTIONS"),
    ] {
        fakes.transactions.fail(error);
        assert_eq!(codes(&mut client, &request(version), version).await, [code]);
    }
    *fakes.transactions.fails.lock() = None;
    for (error, code) in [
        (GroupsError::TransactionEnded, "INVALID_TXN_STATE"),
        (GroupsError::FencedProducer, "INVALID_PRODUCER_EPOCH"),
        (GroupsError::GroupNotFound, "ILLEGAL_GENERATION"),
    ] {
        fakes.groups.fail(error.clone());
        assert_eq!(codes(&mut client, &request(5), 5).await, [code]);
        *fakes.groups.fails.lock() = None;
        *fakes.groups.fails_each.lock() = Some(error);
        assert_eq!(codes(&mut client, &request(5), 5).await, [code]);
        *fakes.groups.fails_each.lock() = None;
    }
}
