//! Each way in which bytes can be wrong has its own error, which says where.

use bytes::Bytes;
use tidelog_kafka_codec::messages::{
    ApiVersionsRequest, FetchResponse, MetadataRequest, OffsetDeleteRequest, ProduceRequest,
    ProduceResponse, SaslHandshakeRequest, StreamsGroupHeartbeatRequest,
};
use tidelog_kafka_codec::{Budget, DecodeErrorKind, Message};

/// What is wrong, in which field, at which byte.
fn fault<M: Message>(version: i16, bytes: &[u8]) -> (DecodeErrorKind, String, usize) {
    let budget = &mut Budget::bytes(1 << 16);
    let Err(error) = M::decode(Bytes::copy_from_slice(bytes), version, budget) else {
        panic!("`{}` takes it", M::NAME);
    };
    (error.kind(), error.field().to_owned(), error.position())
}

fn at(kind: DecodeErrorKind, field: &str, position: usize) -> (DecodeErrorKind, String, usize) {
    (kind, field.to_owned(), position)
}

#[test]
fn lengths_below_null_are_refused() {
    let length = DecodeErrorKind::Length;
    assert_eq!(
        fault::<SaslHandshakeRequest>(0, &[0xff, 0xfe]),
        at(length(-2), "Mechanism", 2)
    );
    let bytes = [0xff, 0xff, 0xff, 0xfe];
    assert_eq!(
        fault::<MetadataRequest>(1, &bytes),
        at(length(-2), "Topics", 4)
    );
}

#[test]
fn lengths_beyond_the_end_are_refused_before_anything_is_allocated() {
    let truncated = |needed, left| DecodeErrorKind::Truncated { needed, left };
    let bytes = [0x7f, 0xff, b'a'];
    assert_eq!(
        fault::<SaslHandshakeRequest>(0, &bytes),
        at(truncated(32767, 1), "Mechanism", 2)
    );
    // Topics of at least six bytes each.
    let bytes = [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        fault::<OffsetDeleteRequest>(0, &bytes),
        at(truncated(12, 9), "Topics", 6)
    );
    let bytes = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0];
    let needed = 6 * 0x7fff_ffff;
    assert_eq!(
        fault::<OffsetDeleteRequest>(0, &bytes),
        at(truncated(needed, 2), "Topics", 6)
    );
}

#[test]
fn a_compact_length_that_is_no_integer_of_kafka_is_refused() {
    let name = "ClientSoftwareName";
    let bytes = [0x80, 0x80, 0x80, 0x80, 0x08];
    let length = DecodeErrorKind::Length(0x7fff_ffff);
    assert_eq!(fault::<ApiVersionsRequest>(3, &bytes), at(length, name, 5));
    // A string longer than any may be, whether its bytes are there or not.
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.resize(0x8000 + 10, b'a');
    assert_eq!(
        fault::<ApiVersionsRequest>(3, &bytes),
        at(DecodeErrorKind::Length(0x8000), name, 3)
    );
}

#[test]
fn integers_of_variable_length_end_after_32_bits() {
    let name = "ClientSoftwareName";
    let bytes = [0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(
        fault::<ApiVersionsRequest>(3, &bytes),
        at(DecodeErrorKind::Varint, name, 5)
    );
    let bytes = [0xff; 9];
    assert_eq!(
        fault::<ApiVersionsRequest>(3, &bytes),
        at(DecodeErrorKind::Varint, name, 5)
    );
    // One that is longer than it had to be is taken, as Kafka does.
    let bytes = Bytes::from_static(&[0x82, 0x80, 0x00, b'a', 0x01, 0x00]);
    let read = ApiVersionsRequest::decode(bytes, 3, &mut Budget::bytes(0)).expect("is good");
    assert_eq!(read.client_software_name, "a");
}

#[test]
fn null_is_refused_where_it_means_nothing() {
    let null = DecodeErrorKind::Null;
    assert_eq!(
        fault::<SaslHandshakeRequest>(0, &[0xff, 0xff]),
        at(null, "Mechanism", 2)
    );
    assert_eq!(
        fault::<ApiVersionsRequest>(3, &[0]),
        at(null, "ClientSoftwareName", 1)
    );
    // In version 0 nothing means all topics, and null came later.
    let bytes = [0xff, 0xff, 0xff, 0xff];
    assert_eq!(fault::<MetadataRequest>(0, &bytes), at(null, "Topics", 4));
    let read = MetadataRequest::decode(Bytes::copy_from_slice(&bytes), 1, &mut Budget::bytes(0));
    assert_eq!(read.expect("all topics").topics, None);
}

#[test]
fn strings_are_utf8_and_the_path_says_which_is_not() {
    // Acks 1, timeout 0, two topics without partitions, the second with a bad name.
    let mut bytes = vec![0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    bytes.extend([0, 1, b'a', 0, 0, 0, 0]);
    bytes.extend([0, 2, 0xc3, 0x28, 0, 0, 0, 0]);
    let fault = fault::<ProduceRequest>(3, &bytes);
    assert_eq!(fault, at(DecodeErrorKind::Utf8, "TopicData[1].Name", 23));
}

#[test]
fn booleans_and_marks_of_presence_are_one_of_two_values() {
    // All topics, and a flag of 2.
    let bytes = [0xff, 0xff, 0xff, 0xff, 2];
    let flag = at(DecodeErrorKind::Flag(2), "AllowAutoTopicCreation", 5);
    assert_eq!(fault::<MetadataRequest>(4, &bytes), flag);
    // Group "g", member "m", two epochs, no instance and rack, timeout, and a topology that is "2".
    let mut bytes = vec![2, b'g', 2, b'm'];
    bytes.extend([0; 8]);
    bytes.extend([0, 0, 0, 0, 0, 0, 2]);
    let (kind, field, _) = fault::<StreamsGroupHeartbeatRequest>(0, &bytes);
    assert_eq!(
        (kind, field.as_str()),
        (DecodeErrorKind::Flag(2), "Topology")
    );
}

#[test]
fn tags_ascend_and_values_fill_their_tagged_fields() {
    let tags = |tail: &[u8]| {
        let mut bytes = vec![1, 1];
        bytes.extend(tail);
        fault::<ApiVersionsRequest>(3, &bytes)
    };
    let name = "tagged fields";
    assert_eq!(
        tags(&[2, 5, 0, 5, 0]),
        at(DecodeErrorKind::TagOrder(5), name, 6)
    );
    assert_eq!(
        tags(&[2, 5, 0, 4, 0]),
        at(DecodeErrorKind::TagOrder(4), name, 6)
    );
    let truncated = DecodeErrorKind::Truncated { needed: 9, left: 1 };
    assert_eq!(tags(&[1, 5, 9, 0]), at(truncated, name, 5));
    let truncated = DecodeErrorKind::Truncated { needed: 1, left: 0 };
    assert_eq!(
        tags(&[0xff, 0xff, 0xff, 0xff, 0x0f, 5, 0]),
        at(truncated, name, 9)
    );
    // No topics, not throttled, and endpoints (tag 0) that take less, or more, than they claim.
    let (kind, ..) = fault::<ProduceResponse>(10, &[1, 0, 0, 0, 0, 1, 0, 3, 1, 0, 0]);
    assert_eq!(kind, DecodeErrorKind::TagSize(2));
    let (kind, field, _) = fault::<ProduceResponse>(10, &[1, 0, 0, 0, 0, 1, 0, 1, 2, 0, 0, 0, 0]);
    assert!(
        matches!(kind, DecodeErrorKind::Truncated { left: 0, .. }),
        "{kind}"
    );
    assert_eq!(field, "NodeEndpoints");
}

#[test]
fn fields_of_unknown_tags_are_skipped() {
    let bytes = Bytes::from_static(&[1, 1, 2, 3, 2, 0xff, 0xff, 9, 0]);
    let read = ApiVersionsRequest::decode(bytes, 3, &mut Budget::bytes(0)).expect("is good");
    assert_eq!(
        read.encode(3).expect("is good").into_bytes(),
        &[1, 1, 0][..]
    );
}

#[test]
fn tiny_elements_do_not_become_much_memory() {
    // Twenty thousand topics of two bytes each on the wire: no id or name, no partitions.
    let mut bytes = vec![0; 11];
    bytes.extend([0xa1, 0x9c, 0x01]);
    bytes.extend([1, 1, 0].repeat(20_000));
    let (kind, field, _) = fault::<FetchResponse>(12, &{
        let mut body = bytes[..10].to_vec();
        body.extend(&bytes[11..]);
        body
    });
    assert!(matches!(kind, DecodeErrorKind::Budget { .. }), "{kind}");
    assert_eq!(field, "Responses");
}

#[test]
fn an_error_tells_message_version_field_byte_and_reason() {
    let bytes = Bytes::from_static(&[0, 0, 0, 1, 0, 1]);
    let error = MetadataRequest::decode(bytes, 1, &mut Budget::bytes(1 << 10));
    assert_eq!(
        error.expect_err("no name").to_string(),
        "`MetadataRequest` version 1, field `Topics[0].Name`, byte 6: needs 1 bytes, and 0 remain"
    );
}
