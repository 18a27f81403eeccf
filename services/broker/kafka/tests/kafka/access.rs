//! Facts about who may do what: every request asks, and a refusal is told in the request's own words.

use std::time::Duration;

use tidelog_kafka_codec::messages::create_partitions_request::CreatePartitionsTopic;
use tidelog_kafka_codec::messages::create_topics_request::CreatableTopic;
use tidelog_kafka_codec::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::describe_topic_partitions_request::TopicRequest;
use tidelog_kafka_codec::messages::incremental_alter_configs_request::AlterConfigsResource;
use tidelog_kafka_codec::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidelog_kafka_codec::messages::offset_fetch_request::OffsetFetchRequestGroup;
use tidelog_kafka_codec::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use tidelog_kafka_codec::messages::*;
use tidelog_kafka_codec::{ErrorCode, Message, Request};
use tidelog_runtime::access::{Allowance, Operation};

use crate::world::{World, batch, from_t, to_t};

const TOPIC: &str = "topic `t`";
const GROUP: &str = "group `g`";

/// Sends a request that is denied: what was asked for whom, and whether the answer says the code.
async fn denied<R: Request>(
    request: R,
    version: i16,
    expected: (Operation, &str),
    code: ErrorCode,
) {
    let (world, mut client) = World::with_topic(1).await;
    *world.gate.denies.lock() = true;
    world.gate.asked.lock().clear();
    let response = client.call(&request, version).await;
    let api = R::NAME;
    let (operation, resource) = expected;
    let asked = (operation, resource.to_owned());
    assert!(world.gate.asked.lock().contains(&asked), "{api}");
    let text = format!("{response:?}");
    let said = format!("error_code: {}", code.code());
    assert!(text.contains(&said), "{api}: {text}");
    let charged = world.gate.charged.lock().clone();
    assert_eq!(charged.len(), 1, "{api}");
    assert_eq!(charged[0].0, "world");
    assert_eq!(<R::Response as Message>::VERSIONS, R::VERSIONS);
}

#[tokio::test]
async fn requests_about_records_ask_and_are_refused() {
    let code = ErrorCode::TopicAuthorizationFailed;
    let to = to_t(0, batch(&["a"], None));
    denied(to, 9, (Operation::Write, TOPIC), code).await;
    let from = from_t(0, Duration::ZERO);
    denied(from, 12, (Operation::Read, TOPIC), code).await;
    let offsets = ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition::default()],
        }],
        ..ListOffsetsRequest::default()
    };
    denied(offsets, 6, (Operation::Describe, TOPIC), code).await;
    let epochs = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![OffsetForLeaderPartition::default()],
        }],
        ..OffsetForLeaderEpochRequest::default()
    };
    denied(epochs, 4, (Operation::Describe, TOPIC), code).await;
    let delete = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition::default()],
        }],
        ..DeleteRecordsRequest::default()
    };
    denied(delete, 2, (Operation::Delete, TOPIC), code).await;
}

#[tokio::test]
async fn requests_about_topics_ask_and_are_refused() {
    let code = ErrorCode::TopicAuthorizationFailed;
    let metadata = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    denied(metadata, 9, (Operation::Describe, TOPIC), code).await;
    let describe = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".into() }],
        response_partition_limit: 1,
        cursor: None,
    };
    denied(describe, 0, (Operation::Describe, TOPIC), code).await;
    let create = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "t".into(),
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    denied(create, 5, (Operation::Create, TOPIC), code).await;
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..DeleteTopicsRequest::default()
    };
    denied(delete, 5, (Operation::Delete, TOPIC), code).await;
    let widen = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".into(),
            ..CreatePartitionsTopic::default()
        }],
        ..CreatePartitionsRequest::default()
    };
    denied(widen, 2, (Operation::Alter, TOPIC), code).await;
}

#[tokio::test]
async fn requests_about_configuration_ask_and_are_refused() {
    for (resource_type, resource, code) in [
        (2, TOPIC, ErrorCode::TopicAuthorizationFailed),
        (4, "cluster", ErrorCode::ClusterAuthorizationFailed),
    ] {
        let resource_name = if resource_type == 2 { "t" } else { "" };
        let describe = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: resource_name.into(),
                configuration_keys: None,
            }],
            ..DescribeConfigsRequest::default()
        };
        denied(describe, 4, (Operation::DescribeConfigs, resource), code).await;
        let alter = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: resource_name.into(),
                configs: Vec::new(),
            }],
            ..IncrementalAlterConfigsRequest::default()
        };
        denied(alter, 1, (Operation::AlterConfigs, resource), code).await;
        let replace = AlterConfigsRequest {
            resources: vec![alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name: resource_name.into(),
                configs: Vec::new(),
            }],
            ..AlterConfigsRequest::default()
        };
        denied(replace, 2, (Operation::AlterConfigs, resource), code).await;
    }
}

#[tokio::test]
async fn requests_about_the_cluster_ask_and_are_refused() {
    let code = ErrorCode::ClusterAuthorizationFailed;
    let cluster = DescribeClusterRequest {
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    denied(cluster, 1, (Operation::Describe, "cluster"), code).await;
    let producer = InitProducerIdRequest {
        transactional_id: None,
        ..InitProducerIdRequest::default()
    };
    denied(producer, 4, (Operation::IdempotentWrite, "cluster"), code).await;
    let producer = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        ..InitProducerIdRequest::default()
    };
    let id = "transactional id `x`";
    let code = ErrorCode::TransactionalIdAuthorizationFailed;
    denied(producer, 4, (Operation::Write, id), code).await;
}

#[tokio::test]
async fn requests_of_producers_with_transactions_ask_and_are_refused() {
    const ID: &str = "transactional id `x`";
    let code = ErrorCode::TransactionalIdAuthorizationFailed;
    let write = (Operation::Write, ID);
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_topics: vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: vec![0],
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    denied(add, 3, write, code).await;
    let add = AddOffsetsToTxnRequest {
        transactional_id: "x".into(),
        ..AddOffsetsToTxnRequest::default()
    };
    denied(add, 4, write, code).await;
    let end = EndTxnRequest {
        transactional_id: "x".into(),
        ..EndTxnRequest::default()
    };
    denied(end, 5, write, code).await;
    let commit = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        topics: vec![txn_offset_commit_request::TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()],
            ..txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        }],
        ..TxnOffsetCommitRequest::default()
    };
    denied(commit, 5, write, code).await;
    let describe = DescribeTransactionsRequest {
        transactional_ids: vec!["x".into()],
    };
    denied(describe, 0, (Operation::Describe, ID), code).await;
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["x".into()],
        ..FindCoordinatorRequest::default()
    };
    denied(find, 6, (Operation::Describe, ID), code).await;
}

#[tokio::test]
async fn requests_of_operators_about_transactions_ask_and_are_refused() {
    let code = ErrorCode::ClusterAuthorizationFailed;
    let topics = || {
        vec![write_txn_markers_request::WritableTxnMarkerTopic {
            name: "t".into(),
            partition_indexes: vec![0],
        }]
    };
    let markers = WriteTxnMarkersRequest {
        markers: vec![write_txn_markers_request::WritableTxnMarker {
            topics: topics(),
            ..write_txn_markers_request::WritableTxnMarker::default()
        }],
    };
    denied(markers, 1, (Operation::Alter, "cluster"), code).await;
    let add = AddPartitionsToTxnRequest::default();
    denied(add, 5, (Operation::Alter, "cluster"), code).await;
    let producers = DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    let code = ErrorCode::TopicAuthorizationFailed;
    denied(producers, 0, (Operation::Read, TOPIC), code).await;
}

#[tokio::test]
async fn requests_of_tools_ask_and_are_refused() {
    let code = ErrorCode::ClusterAuthorizationFailed;
    let describe = (Operation::Describe, "cluster");
    let alter = (Operation::Alter, "cluster");
    denied(DescribeAclsRequest::default(), 3, describe, code).await;
    let acls = CreateAclsRequest {
        creations: vec![create_acls_request::AclCreation::default()],
    };
    denied(acls, 3, alter, code).await;
    let acls = DeleteAclsRequest {
        filters: vec![delete_acls_request::DeleteAclsFilter::default()],
    };
    denied(acls, 3, alter, code).await;
    denied(DescribeLogDirsRequest::default(), 5, describe, code).await;
    denied(ElectLeadersRequest::default(), 2, alter, code).await;
    let moves = AlterPartitionReassignmentsRequest::default();
    denied(moves, 1, alter, code).await;
    let moves = ListPartitionReassignmentsRequest::default();
    denied(moves, 0, describe, code).await;
    denied(UpdateFeaturesRequest::default(), 2, alter, code).await;
    denied(UnregisterBrokerRequest::default(), 0, alter, code).await;
    let configs = (Operation::DescribeConfigs, "cluster");
    denied(ListConfigResourcesRequest::default(), 1, configs, code).await;
    denied(DescribeClientQuotasRequest::default(), 1, configs, code).await;
    let quotas = AlterClientQuotasRequest {
        entries: vec![alter_client_quotas_request::EntryData::default()],
        validate_only: false,
    };
    denied(quotas, 1, (Operation::AlterConfigs, "cluster"), code).await;
    let users = DescribeUserScramCredentialsRequest::default();
    denied(users, 0, describe, code).await;
    let users = AlterUserScramCredentialsRequest {
        deletions: vec![alter_user_scram_credentials_request::ScramCredentialDeletion::default()],
        upsertions: Vec::new(),
    };
    denied(users, 0, alter, code).await;
    denied(CreateDelegationTokenRequest::default(), 3, describe, code).await;
    denied(DescribeDelegationTokenRequest::default(), 3, describe, code).await;
}

#[tokio::test]
async fn requests_of_members_of_groups_ask_and_are_refused() {
    let code = ErrorCode::GroupAuthorizationFailed;
    let read = (Operation::Read, GROUP);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..FindCoordinatorRequest::default()
    };
    denied(find, 4, (Operation::Describe, GROUP), code).await;
    let join = JoinGroupRequest {
        group_id: "g".into(),
        ..JoinGroupRequest::default()
    };
    denied(join, 9, read, code).await;
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        ..SyncGroupRequest::default()
    };
    denied(sync, 4, read, code).await;
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        ..HeartbeatRequest::default()
    };
    denied(beat, 4, read, code).await;
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        ..LeaveGroupRequest::default()
    };
    denied(leave, 4, read, code).await;
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    denied(beat, 1, read, code).await;
}

#[tokio::test]
async fn requests_about_offsets_of_groups_ask_and_are_refused() {
    let code = ErrorCode::GroupAuthorizationFailed;
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    denied(commit, 8, (Operation::Read, GROUP), code).await;
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    denied(fetch, 8, (Operation::Describe, GROUP), code).await;
    let delete = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: Vec::new(),
    };
    denied(delete, 0, (Operation::Delete, GROUP), code).await;
}

#[tokio::test]
async fn requests_about_groups_ask_and_are_refused() {
    let code = ErrorCode::GroupAuthorizationFailed;
    let describe = DescribeGroupsRequest {
        groups: vec!["g".into()],
        ..DescribeGroupsRequest::default()
    };
    denied(describe, 5, (Operation::Describe, GROUP), code).await;
    let describe = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    denied(describe, 1, (Operation::Describe, GROUP), code).await;
    let delete = DeleteGroupsRequest {
        groups_names: vec!["g".into()],
    };
    denied(delete, 2, (Operation::Delete, GROUP), code).await;
}

#[tokio::test]
async fn topics_that_a_caller_may_not_see_are_not_listed_and_ids_tell_nothing() {
    let (world, mut client) = World::with_topic(1).await;
    let topic = world.topic("u", 1, &[]).await;
    *world.gate.denies.lock() = true;
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    assert!(client.call(&all, 12).await.topics.is_empty());
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: *topic.id.as_uuid(),
            name: None,
        }]),
        ..MetadataRequest::default()
    };
    let response = client.call(&by_id, 12).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
    assert_eq!(response.topics[0].name, None);
}

#[tokio::test]
async fn a_throttled_client_is_told_for_how_long_and_not_heard_meanwhile() {
    let (world, mut client) = World::with_topic(1).await;
    let wait = Duration::from_millis(120);
    *world.gate.allowance.lock() = Some(Allowance::Throttled(wait));
    let began = std::time::Instant::now();
    let response = client.call(&from_t(0, Duration::ZERO), 12).await;
    assert_eq!(response.throttle_time_ms, 120);
    *world.gate.allowance.lock() = None;
    let response = client.call(&MetadataRequest::default(), 9).await;
    assert_eq!(response.throttle_time_ms, 0);
    assert!(began.elapsed() >= wait);
}
