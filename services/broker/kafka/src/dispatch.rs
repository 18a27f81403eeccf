//! From a request to the one who answers it.

use std::time::Duration;

use tidelog_kafka_codec::messages::{
    CreateDelegationTokenRequest, DescribeAclsRequest, DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest, ListPartitionReassignmentsRequest, RenewDelegationTokenRequest,
};
use tidelog_kafka_codec::{ApiKey, RequestFrame};

use crate::call::{Answered, Call, decode};

/// Decodes, asks, tells how long to wait, and encodes.
macro_rules! serve {
    ($call:ident, $frame:ident, $request:ident => $response:expr) => {{
        let $request = match decode($frame) {
            Ok(request) => request,
            Err(error) => return Answered::Broken(error.to_string()),
        };
        let mut response = $response;
        response.throttle_time_ms = $call.throttle_ms();
        $call.respond(&response)
    }};
    // A request whose answer is always the same.
    ($call:ident, $frame:ident, any $request:ty => $response:expr) => {{
        if let Err(error) = decode::<$request>($frame) {
            return Answered::Broken(error.to_string());
        }
        let mut response = $response;
        response.throttle_time_ms = $call.throttle_ms();
        $call.respond(&response)
    }};
}

/// Answers any request but those that move records, and says how long the client shall wait.
pub(crate) async fn answer(mut call: Call, frame: RequestFrame) -> (Answered, Duration) {
    call.charge(frame.body.len()).await;
    (look_up(&call, frame).await, call.throttle)
}

/// Answers requests about offsets and the cluster.
async fn look_up(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::ListOffsets => serve!(call, frame, it => call.list_offsets(it).await),
        ApiKey::OffsetForLeaderEpoch => {
            serve!(call, frame, it => call.offset_for_leader_epoch(it).await)
        }
        ApiKey::DeleteRecords => serve!(call, frame, it => call.delete_records(it).await),
        ApiKey::ApiVersions => serve!(call, frame, it => call.api_versions(it)),
        ApiKey::DescribeCluster => serve!(call, frame, it => call.describe_cluster(&it)),
        _ => administer(call, frame).await,
    }
}

/// Answers requests about topics.
async fn administer(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::Metadata => serve!(call, frame, it => call.metadata(it).await),
        ApiKey::DescribeTopicPartitions => {
            serve!(call, frame, it => call.describe_topic_partitions(it).await)
        }
        ApiKey::CreateTopics => serve!(call, frame, it => call.create_topics(it).await),
        ApiKey::DeleteTopics => serve!(call, frame, it => call.delete_topics(it).await),
        ApiKey::CreatePartitions => serve!(call, frame, it => call.create_partitions(it).await),
        ApiKey::DescribeConfigs => serve!(call, frame, it => call.describe_configs(it).await),
        ApiKey::AlterConfigs => serve!(call, frame, it => call.alter_configs(it).await),
        ApiKey::IncrementalAlterConfigs => {
            serve!(call, frame, it => call.incremental_alter_configs(it).await)
        }
        _ => coordinate(call, frame).await,
    }
}

/// Answers members of groups, and requests about groups.
async fn coordinate(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::FindCoordinator => serve!(call, frame, it => call.find_coordinator(it)),
        ApiKey::JoinGroup => serve!(call, frame, it => call.join_group(it).await),
        ApiKey::SyncGroup => serve!(call, frame, it => call.sync_group(it).await),
        ApiKey::Heartbeat => serve!(call, frame, it => call.heartbeat(it).await),
        ApiKey::LeaveGroup => serve!(call, frame, it => call.leave_group(it).await),
        ApiKey::ConsumerGroupHeartbeat => {
            serve!(call, frame, it => call.consumer_group_heartbeat(it).await)
        }
        ApiKey::OffsetCommit => serve!(call, frame, it => call.offset_commit(it).await),
        ApiKey::OffsetFetch => serve!(call, frame, it => call.offset_fetch(it).await),
        ApiKey::OffsetDelete => serve!(call, frame, it => call.offset_delete(it).await),
        ApiKey::ListGroups => serve!(call, frame, it => call.list_groups(it).await),
        ApiKey::DescribeGroups => serve!(call, frame, it => call.describe_groups(it).await),
        ApiKey::ConsumerGroupDescribe => {
            serve!(call, frame, it => call.consumer_group_describe(it).await)
        }
        ApiKey::DeleteGroups => serve!(call, frame, it => call.delete_groups(it).await),
        _ => transact(call, frame).await,
    }
}

/// Answers producers about their transactions, and operators about those of others.
async fn transact(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::InitProducerId => serve!(call, frame, it => call.init_producer_id(it).await),
        ApiKey::AddPartitionsToTxn => {
            serve!(call, frame, it => call.add_partitions_to_txn(it).await)
        }
        ApiKey::AddOffsetsToTxn => serve!(call, frame, it => call.add_offsets_to_txn(it).await),
        ApiKey::TxnOffsetCommit => serve!(call, frame, it => call.txn_offset_commit(it).await),
        ApiKey::EndTxn => serve!(call, frame, it => call.end_txn(it).await),
        ApiKey::WriteTxnMarkers => match decode(frame) {
            // Brokers of Kafka send it to each other, and do not let each other wait.
            Ok(request) => call.respond(&call.write_txn_markers(request).await),
            Err(error) => Answered::Broken(error.to_string()),
        },
        ApiKey::DescribeProducers => {
            serve!(call, frame, it => call.describe_producers(it).await)
        }
        ApiKey::DescribeTransactions => {
            serve!(call, frame, it => call.describe_transactions(it).await)
        }
        ApiKey::ListTransactions => serve!(call, frame, it => call.list_transactions(it).await),
        _ => oversee(call, frame).await,
    }
}

/// Answers tools about what a cluster of Kafka has.
async fn oversee(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::DescribeLogDirs => serve!(call, frame, it => call.describe_log_dirs(it).await),
        ApiKey::AlterReplicaLogDirs => {
            serve!(call, frame, it => call.alter_replica_log_dirs(it).await)
        }
        ApiKey::ElectLeaders => serve!(call, frame, it => call.elect_leaders(it).await),
        ApiKey::AlterPartitionReassignments => {
            serve!(call, frame, it => call.alter_partition_reassignments(it).await)
        }
        ApiKey::ListPartitionReassignments => {
            serve!(
                call,
                frame,
                any ListPartitionReassignmentsRequest => call.list_partition_reassignments()
            )
        }
        ApiKey::UnregisterBroker => serve!(call, frame, it => call.unregister_broker(&it)),
        ApiKey::UpdateFeatures => serve!(call, frame, it => call.update_features(&it)),
        ApiKey::ListConfigResources => {
            serve!(call, frame, it => call.list_config_resources(it).await)
        }
        ApiKey::GetTelemetrySubscriptions => {
            serve!(call, frame, it => call.get_telemetry_subscriptions(&it))
        }
        ApiKey::PushTelemetry => serve!(call, frame, it => call.push_telemetry(&it)),
        ApiKey::DescribeClientQuotas => {
            serve!(call, frame, it => call.describe_client_quotas(&it))
        }
        ApiKey::AlterClientQuotas => serve!(call, frame, it => call.alter_client_quotas(it)),
        _ => guard(call, frame),
    }
}

/// Answers tools about users and what they may do.
fn guard(call: &Call, frame: RequestFrame) -> Answered {
    match call.key {
        ApiKey::DescribeAcls => {
            serve!(call, frame, any DescribeAclsRequest => call.describe_acls())
        }
        ApiKey::CreateAcls => serve!(call, frame, it => call.create_acls(&it)),
        ApiKey::DeleteAcls => serve!(call, frame, it => call.delete_acls(&it)),
        ApiKey::DescribeUserScramCredentials => {
            serve!(call, frame, it => call.describe_user_scram_credentials(it))
        }
        ApiKey::AlterUserScramCredentials => {
            serve!(call, frame, it => call.alter_user_scram_credentials(it))
        }
        ApiKey::CreateDelegationToken => {
            serve!(call, frame, any CreateDelegationTokenRequest => call.create_delegation_token())
        }
        ApiKey::RenewDelegationToken => {
            serve!(call, frame, any RenewDelegationTokenRequest => call.renew_delegation_token())
        }
        ApiKey::ExpireDelegationToken => {
            serve!(call, frame, any ExpireDelegationTokenRequest => call.expire_delegation_token())
        }
        ApiKey::DescribeDelegationToken => serve!(
            call,
            frame,
            any DescribeDelegationTokenRequest => call.describe_delegation_token()
        ),
        key => Answered::Broken(format!("`{}` is not served", key.name())),
    }
}
