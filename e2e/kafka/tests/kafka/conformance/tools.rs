//! Of what tools ask about: users, quotas, replicas, features.

use anyhow::{Context as _, Result};
use tidelog_kafka_codec::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use tidelog_kafka_codec::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use tidelog_kafka_codec::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use tidelog_kafka_codec::messages::describe_client_quotas_request::ComponentData;
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::describe_producers_request::TopicRequest;
use tidelog_kafka_codec::messages::describe_user_scram_credentials_request::UserName;
use tidelog_kafka_codec::messages::elect_leaders_request::TopicPartitions;
use tidelog_kafka_codec::messages::update_features_request::FeatureUpdateKey;
use tidelog_kafka_codec::messages::*;

use super::peer::Peer;

/// The number of filters that any name passes.
const ANY: i8 = 2;

pub(super) async fn ask(peer: &mut Peer) -> Result<()> {
    users(peer).await?;
    replicas(peer).await?;
    quotas(peer).await?;
    let quota = AlterClientQuotasRequest {
        entries: vec![EntryData {
            entity: vec![EntityData {
                entity_type: "user".into(),
                entity_name: Some("u".into()),
            }],
            ops: vec![OpData {
                key: "producer_byte_rate".into(),
                value: 1e6,
                remove: false,
            }],
        }],
        validate_only: true,
    };
    peer.ask("a quota is set", quota, 1).await?;
    let request = ListConfigResourcesRequest::default();
    peer.ask("subscriptions to metrics", request, 0).await?;
    for types in [vec![2], vec![16], vec![32], vec![2, 77]] {
        let what = format!("resources of the types {types:?}");
        let request = ListConfigResourcesRequest {
            resource_types: types,
        };
        peer.ask(&what, request, 1).await?;
    }
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 77,
            resource_name: "x".into(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    peer.ask("an odd resource", request, 4).await?;
    features(peer).await
}

async fn quotas(peer: &mut Peer) -> Result<()> {
    let by = |kind: &'static str, match_type, name: Option<&'static str>| ComponentData {
        entity_type: kind.into(),
        match_type,
        match_: name.map(Into::into),
    };
    let any_user = by("user", ANY, None);
    for (what, components) in [
        ("all quotas", Vec::new()),
        ("quotas of users", vec![any_user.clone()]),
        ("the quota of a user", vec![by("user", 0, Some("u"))]),
        ("the quota of nobody", vec![by("user", 0, None)]),
        ("quotas of any user u", vec![by("user", ANY, Some("u"))]),
        ("quotas matched oddly", vec![by("user", 7, None)]),
        ("quotas of nothing", vec![by("", ANY, None)]),
        ("quotas of zones", vec![by("zone", ANY, None)]),
        (
            "quotas of users twice",
            vec![any_user.clone(), any_user.clone()],
        ),
        (
            "quotas of users and addresses",
            vec![any_user, by("ip", ANY, None)],
        ),
    ] {
        for version in 0..=1 {
            let request = DescribeClientQuotasRequest {
                components: components.clone(),
                strict: true,
            };
            peer.ask(what, request, version).await?;
        }
    }
    Ok(())
}

async fn features(peer: &mut Peer) -> Result<()> {
    for (feature, level) in [("transaction.version", 2), ("odd.version", 1)] {
        for version in 1..=2 {
            let request = UpdateFeaturesRequest {
                feature_updates: vec![FeatureUpdateKey {
                    feature: feature.into(),
                    max_version_level: level,
                    ..Default::default()
                }],
                validate_only: true,
                ..Default::default()
            };
            peer.ask(&format!("{feature} at {level}"), request, version)
                .await?;
        }
    }
    Ok(())
}

async fn users(peer: &mut Peer) -> Result<()> {
    for version in 1..=3 {
        let any = DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        peer.ask("no access control", any, version).await?;
        let create = CreateAclsRequest {
            creations: vec![create_acls_request::AclCreation {
                resource_type: 2,
                resource_name: "t".into(),
                principal: "User:u".into(),
                host: "*".into(),
                operation: 3,
                permission_type: 3,
                ..Default::default()
            }],
        };
        peer.ask("one may read", create, version).await?;
        let delete = DeleteAclsRequest {
            filters: vec![delete_acls_request::DeleteAclsFilter {
                resource_type_filter: 1,
                pattern_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            }],
        };
        peer.ask("one may not read", delete, version).await?;
    }
    let request = DescribeUserScramCredentialsRequest::default();
    peer.ask("all users", request, 0).await?;
    let request = DescribeUserScramCredentialsRequest {
        users: Some(vec![UserName { name: "u".into() }]),
    };
    peer.ask("one user", request, 0).await?;
    for version in 1..=3 {
        let request = CreateDelegationTokenRequest::default();
        peer.ask("a token", request, version).await?;
        let request = DescribeDelegationTokenRequest::default();
        peer.ask("tokens", request, version).await?;
    }
    let request = RenewDelegationTokenRequest::default();
    peer.ask("a token is renewed", request, 2).await?;
    let request = ExpireDelegationTokenRequest::default();
    peer.ask("a token ends", request, 2).await?;
    Ok(())
}

async fn replicas(peer: &mut Peer) -> Result<()> {
    for version in 0..=2 {
        let request = ElectLeadersRequest {
            topic_partitions: Some(vec![TopicPartitions {
                topic: "t".into(),
                partitions: vec![0, 9],
            }]),
            ..Default::default()
        };
        peer.ask("leaders are elected", request, version).await?;
    }
    let request = ElectLeadersRequest {
        topic_partitions: None,
        ..Default::default()
    };
    peer.ask("all leaders are elected", request, 2).await?;
    let list = ListPartitionReassignmentsRequest::default();
    peer.ask("what is on the move", list, 0).await?;
    let partition = |partition_index| ReassignablePartition {
        partition_index,
        replicas: None,
    };
    for version in 0..=1 {
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: "t".into(),
                partitions: vec![partition(0), partition(9)],
            }],
            ..Default::default()
        };
        peer.ask("moves are ended", request, version).await?;
    }
    moved(peer).await?;
    for version in 1..=2 {
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![AlterReplicaLogDir {
                path: "/nowhere".into(),
                topics: vec![AlterReplicaLogDirTopic {
                    name: "t".into(),
                    partitions: vec![0],
                }],
            }],
        };
        peer.ask("to another folder", request, version).await?;
    }
    let request = UnregisterBrokerRequest { broker_id: 99 };
    peer.ask("a broker that is not there", request, 0).await?;
    let request = DescribeProducersRequest {
        topics: ["t", "nowhere"]
            .map(|name| TopicRequest {
                name: name.into(),
                partition_indexes: vec![0, 9],
            })
            .to_vec(),
    };
    peer.ask("producers", request, 0).await?;
    Ok(())
}

/// A partition is sent to where it is, and to where it cannot be.
async fn moved(peer: &mut Peer) -> Result<()> {
    let leader = peer.answer(&DescribeClusterRequest::default(), 1).await?;
    let leader = leader.brokers.first().context("one broker")?.broker_id;
    for (what, replicas) in [
        ("a partition stays", vec![leader]),
        ("a partition goes elsewhere", vec![leader + 1]),
        ("a partition goes nowhere", Vec::new()),
    ] {
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: "t".into(),
                partitions: vec![ReassignablePartition {
                    partition_index: 0,
                    replicas: Some(replicas),
                }],
            }],
            ..Default::default()
        };
        peer.ask(what, request, 1).await?;
    }
    Ok(())
}
