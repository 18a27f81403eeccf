//! One type for all versions: what happens to fields that a version lacks, or has otherwise.

use bytes::Bytes;
use tidelog_kafka_codec::messages::fetch_response::FetchableTopicResponse;
use tidelog_kafka_codec::messages::fetch_response::{
    FetchResponse, LeaderIdAndEpoch, PartitionData,
};
use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::{
    FetchRequest, InitProducerIdRequest, JoinGroupRequest, MetadataRequest, OffsetFetchRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use tidelog_kafka_codec::{Budget, EncodeErrorKind, Message};

fn refused<M: Message>(message: &M, version: i16) -> (EncodeErrorKind, String) {
    let error = message.encode(version).expect_err("cannot be written");
    assert_eq!(
        message.encoded_size(version),
        Err(error.clone()),
        "counting finds the same"
    );
    (error.kind(), error.field().to_owned())
}

fn again<M: Message>(message: &M, version: i16) -> M {
    let bytes = message
        .encode(version)
        .expect("can be written")
        .into_bytes();
    M::decode(bytes, version, &mut Budget::bytes(1 << 16)).expect("can be read")
}

#[test]
fn a_value_that_matters_is_not_lost_in_a_version_without_its_field() {
    let request = InitProducerIdRequest {
        producer_id: 7,
        ..Default::default()
    };
    assert_eq!(again(&request, 3).producer_id, 7);
    let refusal = (EncodeErrorKind::NotInVersion, "ProducerId".to_owned());
    assert_eq!(refused(&request, 2), refusal);

    // The definitions let this one be left out.
    let request = FetchRequest {
        rack_id: "zone".into(),
        ..Default::default()
    };
    assert_eq!(again(&request, 11).rack_id, "zone");
    assert_eq!(again(&request, 10).rack_id, "");

    let request = OffsetFetchRequest {
        group_id: "g".into(),
        ..Default::default()
    };
    assert_eq!(again(&request, 7), request);
    let refused = refused(&request, 8);
    assert_eq!(
        refused,
        (EncodeErrorKind::NotInVersion, "GroupId".to_owned())
    );
}

#[test]
fn what_a_version_lacks_has_its_default() {
    let empty = Bytes::from_static(&[0, 0, 0, 1, 0, 1, b'g', 0, 0]);
    let request = JoinGroupRequest::decode(empty, 0, &mut Budget::bytes(0));
    assert!(request.is_err(), "is cut");
    let request = FetchRequest::default();
    let read = again(&request, 4);
    assert_eq!(
        (read.session_epoch, read.max_bytes, read.replica_id),
        (-1, i32::MAX, -1)
    );
    assert_eq!(read, request);
}

#[test]
fn null_is_written_only_where_the_version_has_it() {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert_eq!(again(&all, 1).topics, None);
    assert_eq!(
        refused(&all, 0),
        (EncodeErrorKind::Null, "Topics".to_owned())
    );
    let unnamed = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: None,
            ..Default::default()
        }]),
        ..Default::default()
    };
    assert_eq!(
        refused(&unnamed, 9),
        (EncodeErrorKind::Null, "Topics[0].Name".to_owned())
    );
}

#[test]
fn strings_are_as_long_as_the_protocol_allows() {
    let long = SaslHandshakeRequest {
        mechanism: "x".repeat(0x7fff).into(),
    };
    assert_eq!(again(&long, 1), long);
    let longer = SaslHandshakeRequest {
        mechanism: "x".repeat(0x8000).into(),
    };
    let refused = refused(&longer, 1);
    assert_eq!(
        refused,
        (EncodeErrorKind::TooLong(0x8000), "Mechanism".to_owned())
    );
}

#[test]
fn a_version_that_is_not_known_is_not_written() {
    let kind = EncodeErrorKind::UnsupportedVersion(FetchRequest::VERSIONS);
    assert_eq!(refused(&FetchRequest::default(), 3), (kind, String::new()));
    assert_eq!(refused(&FetchRequest::default(), 99), (kind, String::new()));
}

#[test]
fn tagged_fields_are_written_when_they_differ_from_their_default() {
    let mut partition = PartitionData::default();
    let size = |partition: &PartitionData, version| {
        let topic = FetchableTopicResponse {
            partitions: vec![partition.clone()],
            ..Default::default()
        };
        let response = FetchResponse {
            responses: vec![topic],
            ..Default::default()
        };
        response.encoded_size(version)
    };
    let without = size(&partition, 12).expect("is good");
    partition.current_leader = LeaderIdAndEpoch {
        leader_id: 4,
        ..Default::default()
    };
    // Tag and size, two numbers, and the count of tags in it.
    assert_eq!(size(&partition, 12), Ok(without + 2 + 8 + 1));
    let error = size(&partition, 11).expect_err("has no tagged fields");
    assert_eq!(error.field(), "Responses[0].Partitions[0].CurrentLeader");
}

#[test]
fn long_bytes_are_passed_on_and_not_copied() {
    let token = Bytes::from(vec![1; 4096]);
    let request = SaslAuthenticateRequest {
        auth_bytes: token.clone(),
    };
    let rope = request.encode(2).expect("can be written");
    assert!(rope.pieces().any(|piece| piece.as_ptr() == token.as_ptr()));
    let bytes = rope.into_bytes();
    let read = SaslAuthenticateRequest::decode(bytes.clone(), 2, &mut Budget::bytes(0));
    let read = read.expect("can be read");
    assert!(
        bytes.as_ptr_range().contains(&read.auth_bytes.as_ptr()),
        "is a slice"
    );
}
