//! Facts about what is served: every version of every API is answered, and nothing else.

use tidelog_kafka_codec::messages::{ApiVersionsRequest, ApiVersionsResponse, *};
use tidelog_kafka_codec::{ApiKey, Budget, Request, VersionRange, read_response};
use tokio::io::AsyncWriteExt as _;

use crate::world::{Client, World, name};

fn asks() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "world".into(),
        client_software_version: "1.0".into(),
        ..ApiVersionsRequest::default()
    }
}

async fn told(client: &mut Client) -> Vec<(ApiKey, VersionRange)> {
    let answer = client.call(&asks(), 4).await;
    assert_eq!(answer.error_code, 0);
    let told = answer.api_keys.iter().map(|api| {
        let key = ApiKey::from_code(api.api_key).unwrap();
        (key, VersionRange::new(api.min_version, api.max_version))
    });
    told.collect()
}

/// Sends a request in each version and reads the answer.
async fn all_versions<R: Request>(
    client: &mut Client,
    told: &[(ApiKey, VersionRange)],
    request: R,
) {
    let (_, versions) = told.iter().find(|(key, _)| *key == R::KEY).unwrap();
    // Produce is told from version 0 for the sake of one client.
    let versions = versions.intersect(R::VERSIONS).unwrap();
    for version in versions.iter() {
        client.call(&request, version).await;
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "every API has its line")]
async fn every_version_that_is_told_of_is_answered() {
    let (_world, mut client) = World::with_topic(1).await;
    let told = told(&mut client).await;
    let c = &mut client;
    // Without a word about acknowledgements there is no answer.
    let produce = ProduceRequest {
        acks: -1,
        ..ProduceRequest::default()
    };
    all_versions(c, &told, produce).await;
    let mut count = 1;
    macro_rules! each {
        ($($request:ident),* $(,)?) => {$(
            all_versions(c, &told, $request::default()).await;
            count += 1;
        )*};
    }
    each!(
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        DeleteGroupsRequest,
        OffsetDeleteRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        CreatePartitionsRequest,
        IncrementalAlterConfigsRequest,
        DescribeClusterRequest,
        DescribeTopicPartitionsRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        WriteTxnMarkersRequest,
        TxnOffsetCommitRequest,
        DescribeProducersRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        DescribeAclsRequest,
        CreateAclsRequest,
        DeleteAclsRequest,
        AlterReplicaLogDirsRequest,
        DescribeLogDirsRequest,
        CreateDelegationTokenRequest,
        RenewDelegationTokenRequest,
        ExpireDelegationTokenRequest,
        DescribeDelegationTokenRequest,
        ElectLeadersRequest,
        AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest,
        DescribeClientQuotasRequest,
        AlterClientQuotasRequest,
        DescribeUserScramCredentialsRequest,
        AlterUserScramCredentialsRequest,
        UpdateFeaturesRequest,
        UnregisterBrokerRequest,
        GetTelemetrySubscriptionsRequest,
        PushTelemetryRequest,
        ListConfigResourcesRequest,
    );
    assert_eq!(count, told.len(), "another API is served: name it here");
}

#[tokio::test]
async fn a_client_from_the_future_hears_of_the_versions_of_versions_in_the_oldest_words() {
    let world = World::new().await;
    let mut client = world.client().await;
    let (frame, id) = client.frame(&asks(), 4);
    let mut frame = frame.to_vec();
    frame[7] = 99;
    client.stream.write_all(&frame).await.unwrap();
    let answer = client.receive_frame().await.unwrap();
    let budget = &mut Budget::bytes(4096);
    let (answered, answer): (i32, ApiVersionsResponse) = read_response(answer, 0, budget).unwrap();
    assert_eq!(
        (answered, name(answer.error_code)),
        (id, "UNSUPPORTED_VERSION")
    );
    assert_eq!(answer.api_keys.len(), 1);
    assert_eq!(answer.api_keys[0].api_key, ApiKey::ApiVersions.code());
    // And it asks again on the same connection.
    told(&mut client).await;
}

#[tokio::test]
async fn a_client_that_was_on_its_way_to_another_cluster_is_told_so_and_any_broker_will_do() {
    let world = World::new().await;
    let mut client = world.client().await;
    let other = ApiVersionsRequest {
        cluster_id: Some("another".into()),
        node_id: -1,
        ..asks()
    };
    let answer = client.call(&other, 5).await;
    assert_eq!(name(answer.error_code), "REBOOTSTRAP_REQUIRED");
    let node_id = 77;
    let answer = client
        .call(&ApiVersionsRequest { node_id, ..asks() }, 5)
        .await;
    assert_eq!(name(answer.error_code), "NONE");
    let ours = ApiVersionsRequest {
        cluster_id: Some(world.engine.cluster().to_string().into()),
        node_id: -1,
        ..asks()
    };
    assert_eq!(client.call(&ours, 5).await.error_code, 0);
    let nameless = ApiVersionsRequest {
        client_software_name: "a b".into(),
        ..asks()
    };
    let answer = client.call(&nameless, 3).await;
    assert_eq!(name(answer.error_code), "INVALID_REQUEST");
}

#[tokio::test]
async fn apis_and_versions_that_are_not_served_end_the_connection() {
    let world = World::new().await;
    for (key, version) in [(17, 0), (0, 2), (22, 6), (9_999, 0)] {
        let mut client = world.client().await;
        let (frame, _) = client.frame(&asks(), 4);
        let mut frame = frame.to_vec();
        frame[4..6].copy_from_slice(&i16::to_be_bytes(key));
        frame[6..8].copy_from_slice(&i16::to_be_bytes(version));
        client.stream.write_all(&frame).await.unwrap();
        assert!(client.is_closed().await, "{key} {version}");
    }
}
