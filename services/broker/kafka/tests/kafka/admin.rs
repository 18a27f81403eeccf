//! Facts about what tools ask of a cluster of Kafka and there is not here.

use tidelog_kafka_codec::messages::alter_client_quotas_request::EntryData;
use tidelog_kafka_codec::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use tidelog_kafka_codec::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use tidelog_kafka_codec::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use tidelog_kafka_codec::messages::describe_client_quotas_request::ComponentData;
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::describe_log_dirs_request::DescribableLogDirTopic;
use tidelog_kafka_codec::messages::describe_user_scram_credentials_request::UserName;
use tidelog_kafka_codec::messages::elect_leaders_request::TopicPartitions;
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::update_features_request::FeatureUpdateKey;
use tidelog_kafka_codec::messages::*;

use crate::world::{World, name};

#[tokio::test]
async fn there_are_no_access_control_lists() {
    let (_world, mut client) = World::with_topic(1).await;
    let answer = client.call(&DescribeAclsRequest::default(), 3).await;
    assert_eq!(name(answer.error_code), "SECURITY_DISABLED");
    let create = CreateAclsRequest {
        creations: vec![create_acls_request::AclCreation::default(); 2],
    };
    let results = client.call(&create, 3).await.results;
    let codes = results.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["SECURITY_DISABLED"; 2]);
    let delete = DeleteAclsRequest {
        filters: vec![delete_acls_request::DeleteAclsFilter::default()],
    };
    let results = client.call(&delete, 3).await.filter_results;
    let codes = results.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["SECURITY_DISABLED"]);
}

#[tokio::test]
async fn features_are_as_they_are() {
    let (_world, mut client) = World::with_topic(1).await;
    let update = |feature: &'static str, level| FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        ..FeatureUpdateKey::default()
    };
    let refused = "INVALID_UPDATE_VERSION";
    for (updates, expected) in [
        (vec![update("transaction.version", 2)], "NONE"),
        (vec![update("transaction.version", 1)], refused),
        (vec![update("share.version", 1)], refused),
        // All of them, or none.
        (
            vec![update("transaction.version", 2), update("odd", 1)],
            refused,
        ),
    ] {
        let request = UpdateFeaturesRequest {
            feature_updates: updates,
            ..UpdateFeaturesRequest::default()
        };
        for version in 1..=2 {
            let answer = client.call(&request, version).await;
            assert_eq!(name(answer.error_code), expected);
            // The older version also names what is as it is wanted.
            let named = usize::from(version == 1 && expected == "NONE");
            assert_eq!(answer.results.len(), named);
        }
    }
}

#[tokio::test]
async fn the_bucket_stands_for_a_folder_that_has_everything() {
    let (_world, mut client) = World::with_topic(3).await;
    let told = async |client: &mut crate::world::Client, topics, version| {
        let request = DescribeLogDirsRequest { topics };
        let answer = client.call(&request, version).await;
        assert_eq!((answer.error_code, answer.results.len()), (0, 1));
        let topics = answer.results[0].topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|it| {
                (
                    topic.name.to_string(),
                    it.partition_index,
                    it.partition_size,
                )
            })
        });
        topics.collect::<Vec<_>>()
    };
    let of_t = |index| ("t".to_owned(), index, -1);
    for version in 1..=5 {
        let all = told(&mut client, None, version).await;
        assert_eq!(all, [of_t(0), of_t(1), of_t(2)]);
    }
    let some = ["t", "nowhere"].map(|topic| DescribableLogDirTopic {
        topic: topic.into(),
        partitions: vec![1, 9],
    });
    let some = told(&mut client, Some(some.to_vec()), 5).await;
    assert_eq!(some, [of_t(1)]);
    let to = |path: &'static str| AlterReplicaLogDir {
        path: path.into(),
        topics: vec![AlterReplicaLogDirTopic {
            name: "t".into(),
            partitions: vec![0, 9],
        }],
    };
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![to("/bucket"), to("/other")],
    };
    let results = client.call(&request, 2).await.results;
    let partitions = results.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = partitions.map(|it| name(it.error_code)).collect();
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    assert_eq!(codes, ["NONE", unknown, "LOG_DIR_NOT_FOUND", unknown]);
}

#[tokio::test]
async fn clients_have_no_quotas() {
    let (_world, mut client) = World::with_topic(1).await;
    let by = |kind: &'static str, match_type, name: Option<&'static str>| ComponentData {
        entity_type: kind.into(),
        match_type,
        match_: name.map(Into::into),
    };
    let any_user = by("user", 2, None);
    for (components, expected) in [
        (vec![any_user.clone()], "NONE"),
        (vec![any_user.clone(), by("client-id", 1, None)], "NONE"),
        (vec![by("ip", 0, Some("127.0.0.1"))], "NONE"),
        (Vec::new(), "NONE"),
        (vec![by("user", 3, None)], "INVALID_REQUEST"),
        (vec![by("user", 2, Some("u"))], "INVALID_REQUEST"),
        (vec![by("user", 0, None)], "INVALID_REQUEST"),
        (vec![by("", 2, None)], "INVALID_REQUEST"),
        (vec![by("zone", 2, None)], "UNSUPPORTED_VERSION"),
        (vec![any_user.clone(), any_user.clone()], "INVALID_REQUEST"),
        (vec![any_user, by("ip", 2, None)], "INVALID_REQUEST"),
    ] {
        let request = DescribeClientQuotasRequest {
            components,
            strict: false,
        };
        let answer = client.call(&request, 1).await;
        assert_eq!(name(answer.error_code), expected, "{request:?}");
        let entries = answer.entries.map(|entries| entries.len());
        assert_eq!(entries, (expected == "NONE").then_some(0));
    }
    let alter = AlterClientQuotasRequest {
        entries: vec![EntryData::default()],
        validate_only: true,
    };
    let entries = client.call(&alter, 1).await.entries;
    assert_eq!(name(entries[0].error_code), "INVALID_REQUEST");
    assert!(entries[0].error_message.is_some());
}

#[tokio::test]
async fn leaders_and_replicas_stay_where_they_are() {
    let (world, mut client) = World::with_topic(1).await;
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    let elect = ElectLeadersRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic: "t".into(),
            partitions: vec![0, 9],
        }]),
        ..ElectLeadersRequest::default()
    };
    for version in 0..=2 {
        let answer = client.call(&elect, version).await;
        let results = &answer.replica_election_results[0].partition_result;
        let codes = results.iter().map(|it| name(it.error_code));
        assert_eq!(codes.collect::<Vec<_>>(), ["ELECTION_NOT_NEEDED", unknown]);
    }
    let all = ElectLeadersRequest {
        topic_partitions: None,
        ..elect.clone()
    };
    assert!(
        client
            .call(&all, 2)
            .await
            .replica_election_results
            .is_empty()
    );
    let odd = ElectLeadersRequest {
        election_type: 7,
        ..elect
    };
    let code = client.call(&odd, 2).await.error_code;
    assert_eq!(name(code), "INVALID_REQUEST");
    let to = |partition_index, replicas| ReassignablePartition {
        partition_index,
        replicas,
    };
    let own = i32::try_from(world.engine.incarnation().get()).unwrap();
    let partitions = vec![
        to(0, Some(vec![own + 1])),
        to(0, Some(vec![own])),
        to(0, None),
        to(9, None),
        to(-1, Some(vec![own])),
    ];
    let alter = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "t".into(),
            partitions,
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let partitions = client.call(&alter, 1).await.responses.remove(0).partitions;
    let codes = partitions.iter().map(|it| name(it.error_code));
    let expected = [
        "INVALID_REPLICA_ASSIGNMENT",
        // Where it is already.
        "NONE",
        "NO_REASSIGNMENT_IN_PROGRESS",
        unknown,
        unknown,
    ];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    let list = ListPartitionReassignmentsRequest::default();
    let answer = client.call(&list, 0).await;
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
    for (broker_id, code) in [(own, "INVALID_REQUEST"), (99, "BROKER_ID_NOT_REGISTERED")] {
        let request = UnregisterBrokerRequest { broker_id };
        assert_eq!(name(client.call(&request, 0).await.error_code), code);
    }
}

#[tokio::test]
async fn topics_and_brokers_have_a_configuration_and_others_an_empty_one() {
    let (world, mut client) = World::with_topic(1).await;
    let own = world.engine.incarnation().get().to_string();
    let listed = async |client: &mut crate::world::Client, types: &[i8], version| {
        let request = ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        };
        let answer = client.call(&request, version).await;
        let listed = answer.config_resources.into_iter();
        let listed = listed.map(|it| (it.resource_type, it.resource_name.to_string()));
        (name(answer.error_code), listed.collect::<Vec<_>>())
    };
    assert_eq!(listed(&mut client, &[], 0).await, ("NONE", Vec::new()));
    let all = [(2, "t".to_owned()), (4, own.clone()), (8, own.clone())];
    assert_eq!(listed(&mut client, &[], 1).await, ("NONE", all.to_vec()));
    let told = listed(&mut client, &[4, 16], 1).await;
    assert_eq!(told, ("NONE", all[1..2].to_vec()));
    let told = listed(&mut client, &[2, 77], 1).await;
    assert_eq!(told, ("UNSUPPORTED_VERSION", Vec::new()));
    let resource = |resource_type, resource_name: &str| DescribeConfigsResource {
        resource_type,
        resource_name: resource_name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(8, &own), resource(16, "x"), resource(32, "g")],
        ..DescribeConfigsRequest::default()
    };
    for result in client.call(&request, 4).await.results {
        assert_eq!((result.error_code, result.configs.len()), (0, 0));
    }
}

#[tokio::test]
async fn nobody_wants_metrics_of_clients() {
    let (_world, mut client) = World::with_topic(1).await;
    let nobody = GetTelemetrySubscriptionsRequest::default();
    let answer = client.call(&nobody, 0).await;
    assert_eq!((answer.error_code, answer.push_interval_ms), (0, 3_600_000));
    assert!(answer.requested_metrics.is_empty() && !answer.client_instance_id.is_nil());
    let again = client.call(&nobody, 0).await.client_instance_id;
    assert_ne!(again, answer.client_instance_id);
    let known = GetTelemetrySubscriptionsRequest {
        client_instance_id: again,
    };
    let told = client.call(&known, 0).await.client_instance_id;
    assert_eq!(told, again);
    let push = PushTelemetryRequest {
        client_instance_id: again,
        subscription_id: answer.subscription_id,
        metrics: b"any".as_slice().into(),
        ..PushTelemetryRequest::default()
    };
    let nameless = PushTelemetryRequest {
        client_instance_id: tidelog_kafka_codec::Uuid::nil(),
        ..push.clone()
    };
    let stranger = PushTelemetryRequest {
        subscription_id: 5,
        ..push.clone()
    };
    let squeezed = PushTelemetryRequest {
        compression_type: 9,
        ..push.clone()
    };
    let large = PushTelemetryRequest {
        metrics: vec![0; (1 << 20) + 1].into(),
        ..push.clone()
    };
    for (request, code) in [
        (push, "NONE"),
        (nameless, "INVALID_REQUEST"),
        (stranger, "UNKNOWN_SUBSCRIPTION_ID"),
        (squeezed, "UNSUPPORTED_COMPRESSION_TYPE"),
        (large, "TELEMETRY_TOO_LARGE"),
    ] {
        assert_eq!(name(client.call(&request, 0).await.error_code), code);
    }
}

#[tokio::test]
async fn there_are_no_users() {
    let (_world, mut client) = World::with_topic(1).await;
    let all = DescribeUserScramCredentialsRequest::default();
    let answer = client.call(&all, 0).await;
    assert_eq!((answer.error_code, answer.results.len()), (0, 0));
    let one = DescribeUserScramCredentialsRequest {
        users: Some(vec![UserName { name: "u".into() }]),
    };
    let results = client.call(&one, 0).await.results;
    assert_eq!(name(results[0].error_code), "RESOURCE_NOT_FOUND");
    let alter = AlterUserScramCredentialsRequest {
        deletions: vec![ScramCredentialDeletion::default()],
        upsertions: vec![ScramCredentialUpsertion::default()],
    };
    let results = client.call(&alter, 0).await.results;
    let codes = results.iter().map(|it| name(it.error_code));
    let expected = ["RESOURCE_NOT_FOUND", "SECURITY_DISABLED"];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    let refused = "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED";
    let codes = [
        client
            .call(&CreateDelegationTokenRequest::default(), 3)
            .await
            .error_code,
        client
            .call(&RenewDelegationTokenRequest::default(), 2)
            .await
            .error_code,
        client
            .call(&ExpireDelegationTokenRequest::default(), 2)
            .await
            .error_code,
        client
            .call(&DescribeDelegationTokenRequest::default(), 3)
            .await
            .error_code,
    ];
    assert_eq!(codes.map(name), [refused; 4]);
}

#[tokio::test]
async fn topics_that_clients_know_as_internal_are_there_for_who_asks_by_name_and_have_no_partitions()
 {
    let (_world, mut client) = World::with_topic(1).await;
    let named = |name: &'static str| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    for internal in ["__consumer_offsets", "__transaction_state"] {
        let topic = client.call(&named(internal), 12).await.topics.remove(0);
        assert_eq!((topic.error_code, topic.is_internal), (0, true));
        assert!(topic.partitions.is_empty());
    }
    let topic = client.call(&named("__other"), 12).await.topics.remove(0);
    assert_eq!(name(topic.error_code), "UNKNOWN_TOPIC_OR_PARTITION");
    let all = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    assert_eq!(client.call(&all, 12).await.topics.len(), 1);
}
