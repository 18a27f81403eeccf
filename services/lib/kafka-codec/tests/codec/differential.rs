//! The same bytes through the crate `kafka-protocol`, where both know the message and the version.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use tidelog_kafka_codec::VersionRange;
use tidelog_kafka_codec::fuzzing::writer::message;
use tidelog_kafka_codec::fuzzing::{Seeded, Words, schema};

/// How many random messages of each version are compared.
const SAMPLES: usize = 12;

/// Compares one message and returns how many versions of it both know.
fn compare<M: Message + Encodable + Decodable + std::fmt::Debug>(name: &str) -> i16 {
    let schema = schema::of(name);
    let theirs = VersionRange::new(M::VERSIONS.min, M::VERSIONS.max);
    let common = schema.versions.intersect(theirs);
    let Some(common) = common else {
        return 0;
    };
    let mut random = Seeded::new(common.max.unsigned_abs().into());
    for version in common.iter() {
        for _ in 0..SAMPLES {
            let bytes = Bytes::from(message(&schema, version, &Words::default(), &mut random));
            let mut rest = bytes.clone();
            let read = M::decode(&mut rest, version);
            let read = read.unwrap_or_else(|error| panic!("`{name}` {version}: {error}"));
            assert!(
                rest.is_empty(),
                "`{name}` {version} has more bytes than they read"
            );
            let mut written = BytesMut::new();
            let result = read.encode(&mut written, version);
            result.unwrap_or_else(|error| panic!("`{name}` {version}: {error}"));
            assert_eq!(written, bytes, "`{name}` {version}: {read:?}");
        }
    }
    common.max - common.min + 1
}

/// Compares messages by their names, which are the same in both.
macro_rules! compare {
    ($($name:ident)*) => {
        [$((stringify!($name), compare::<kafka_protocol::messages::$name>(stringify!($name)))),*]
    };
}

#[test]
fn both_codecs_read_and_write_the_same_bytes() {
    let compared = compare! {
        AddOffsetsToTxnRequest AddOffsetsToTxnResponse AddPartitionsToTxnRequest
        AddPartitionsToTxnResponse AddRaftVoterRequest AddRaftVoterResponse
        AlterClientQuotasRequest AlterClientQuotasResponse AlterConfigsRequest
        AlterConfigsResponse AlterPartitionReassignmentsRequest
        AlterPartitionReassignmentsResponse AlterReplicaLogDirsRequest
        AlterReplicaLogDirsResponse AlterShareGroupOffsetsRequest
        AlterShareGroupOffsetsResponse AlterUserScramCredentialsRequest
        AlterUserScramCredentialsResponse ApiVersionsRequest ApiVersionsResponse
        ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse
        ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse
        ConsumerProtocolAssignment ConsumerProtocolSubscription CreateAclsRequest
        CreateAclsResponse CreateDelegationTokenRequest CreateDelegationTokenResponse
        CreatePartitionsRequest CreatePartitionsResponse CreateTopicsRequest
        CreateTopicsResponse DefaultPrincipalData DeleteAclsRequest DeleteAclsResponse
        DeleteGroupsRequest DeleteGroupsResponse DeleteRecordsRequest DeleteRecordsResponse
        DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse DeleteTopicsRequest
        DeleteTopicsResponse DescribeAclsRequest DescribeAclsResponse
        DescribeClientQuotasRequest DescribeClientQuotasResponse DescribeClusterRequest
        DescribeClusterResponse DescribeConfigsRequest DescribeConfigsResponse
        DescribeDelegationTokenRequest DescribeDelegationTokenResponse DescribeGroupsRequest
        DescribeGroupsResponse DescribeLogDirsRequest DescribeLogDirsResponse
        DescribeProducersRequest DescribeProducersResponse DescribeQuorumRequest
        DescribeQuorumResponse DescribeShareGroupOffsetsRequest
        DescribeShareGroupOffsetsResponse DescribeTopicPartitionsRequest
        DescribeTopicPartitionsResponse DescribeTransactionsRequest
        DescribeTransactionsResponse DescribeUserScramCredentialsRequest
        DescribeUserScramCredentialsResponse ElectLeadersRequest ElectLeadersResponse
        EndTxnMarker EndTxnRequest EndTxnResponse ExpireDelegationTokenRequest
        ExpireDelegationTokenResponse FetchRequest FetchResponse FindCoordinatorRequest
        FindCoordinatorResponse GetTelemetrySubscriptionsRequest
        GetTelemetrySubscriptionsResponse HeartbeatRequest HeartbeatResponse
        IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse InitProducerIdRequest
        InitProducerIdResponse JoinGroupRequest JoinGroupResponse LeaveGroupRequest
        LeaveGroupResponse ListConfigResourcesRequest ListConfigResourcesResponse
        ListGroupsRequest ListGroupsResponse ListOffsetsRequest ListOffsetsResponse
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse
        ListTransactionsRequest ListTransactionsResponse MetadataRequest MetadataResponse
        OffsetCommitRequest OffsetCommitResponse OffsetDeleteRequest OffsetDeleteResponse
        OffsetFetchRequest OffsetFetchResponse OffsetForLeaderEpochRequest
        OffsetForLeaderEpochResponse ProduceRequest ProduceResponse PushTelemetryRequest
        PushTelemetryResponse RemoveRaftVoterRequest RemoveRaftVoterResponse
        RenewDelegationTokenRequest RenewDelegationTokenResponse RequestHeader
        ResponseHeader SaslAuthenticateRequest SaslAuthenticateResponse SaslHandshakeRequest
        SaslHandshakeResponse ShareAcknowledgeRequest ShareAcknowledgeResponse
        ShareFetchRequest ShareFetchResponse ShareGroupDescribeRequest
        ShareGroupDescribeResponse ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse
        SyncGroupRequest SyncGroupResponse TxnOffsetCommitRequest TxnOffsetCommitResponse
        UnregisterBrokerRequest UnregisterBrokerResponse UpdateFeaturesRequest
        UpdateFeaturesResponse WriteTxnMarkersRequest WriteTxnMarkersResponse
    };
    let versions: i16 = compared.iter().map(|(_, versions)| versions).sum();
    for (name, versions) in compared {
        assert!(versions > 0, "no version of `{name}` was compared");
    }
    assert!(versions > 500, "only {versions} versions were compared");
}
