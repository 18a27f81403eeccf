//! Bytes put down by hand from the protocol's documentation.

use bytes::Bytes;
use tidelog_kafka_codec::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use tidelog_kafka_codec::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use tidelog_kafka_codec::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use tidelog_kafka_codec::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use tidelog_kafka_codec::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use tidelog_kafka_codec::messages::{ApiVersionsRequest, ResponseHeader};
use tidelog_kafka_codec::{
    Budget, Caller, Embedded, Incoming, Message, Request, Response, Uuid, request_frame,
    response_frame,
};

/// Bytes of hexadecimal digits, with a word of text here and there in quotes.
fn hex(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('\'') {
            Some(letters) => bytes.extend(letters.trim_end_matches('\'').bytes()),
            None => bytes.extend(
                word.as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16))
                    .map(|byte| byte.expect("hexadecimal")),
            ),
        }
    }
    bytes.into()
}

fn request<R: Request>(message: &R, version: i16, client: Option<&'static str>, golden: &str) {
    let golden = hex(golden);
    let caller = Caller {
        correlation_id: 0x0102_0304,
        client_id: client.map(Into::into),
    };
    let frame = request_frame(message, version, caller.clone()).expect("can be written");
    assert_eq!(frame.into_bytes(), golden);
    let Ok(Incoming::Request(read)) = Incoming::read(golden.slice(4..)) else {
        panic!("is not read");
    };
    assert_eq!(read.caller, caller);
    assert_eq!(
        &read
            .decode::<R>(&mut Budget::bytes(1 << 12))
            .expect("is read"),
        message
    );
}

fn response<R: Response>(message: &R, version: i16, golden: &str) {
    let golden = hex(golden);
    let frame = response_frame(message, version, 0x0102_0304).expect("can be written");
    assert_eq!(frame.into_bytes(), golden);
    let budget = &mut Budget::bytes(1 << 12);
    let read = tidelog_kafka_codec::read_response::<R>(golden.slice(4..), version, budget);
    assert_eq!(read.expect("is read"), (0x0102_0304, message.clone()));
}

#[test]
fn api_versions() {
    let old = ApiVersionsRequest::default();
    request(&old, 0, Some("c"), "0000000b 0012 0000 01020304 0001 'c'");
    request(&old, 0, None, "0000000a 0012 0000 01020304 ffff");
    let new = ApiVersionsRequest {
        client_software_name: "java".into(),
        client_software_version: "4.4".into(),
        ..Default::default()
    };
    // The client id keeps its old length; then the tags of the header, the body, its tags.
    request(
        &new,
        3,
        Some("c"),
        "00000016 0012 0003 01020304 0001 'c' 00 05 'java' 04 '4.4' 00",
    );
    let answer = ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![ApiVersion {
            api_key: 18,
            min_version: 0,
            max_version: 4,
        }],
        ..Default::default()
    };
    response(&answer, 0, "00000010 01020304 0023 00000001 0012 0000 0004");
    // The header of this answer has no tags, though its body has.
    response(
        &answer,
        3,
        "00000013 01020304 0023 02 0012 0000 0004 00 00000000 00",
    );
}

#[test]
fn metadata_request() {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    request(
        &all,
        1,
        Some(""),
        "0000000e 0003 0001 01020304 0000 ffffffff",
    );
    let one = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            topic_id: Uuid::from_u128(1),
        }]),
        ..Default::default()
    };
    request(
        &one,
        12,
        None,
        "00000022 0003 000c 01020304 ffff 00
         02 00000000000000000000000000000001 02 't' 00 01 00 00",
    );
}

#[test]
fn produce_request() {
    let topic = |name: &'static str, topic_id| ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: name.into(),
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: 5,
                records: Some(Bytes::from_static(b"batch").into()),
            }],
        }],
    };
    request(
        &topic("t", Uuid::nil()),
        3,
        Some("c"),
        "0000002b 0000 0003 01020304 0001 'c'
         ffff ffff 00007530 00000001 0001 't' 00000001 00000005 00000005 'batch'",
    );
    request(
        &topic("t", Uuid::nil()),
        9,
        Some("c"),
        "00000024 0000 0009 01020304 0001 'c' 00
         00 ffff 00007530 02 02 't' 02 00000005 06 'batch' 00 00 00",
    );
    request(
        &topic("", Uuid::from_u128(0xff)),
        13,
        Some("c"),
        "00000032 0000 000d 01020304 0001 'c' 00
         00 ffff 00007530 02 000000000000000000000000000000ff 02 00000005 06 'batch' 00 00 00",
    );
}

#[test]
fn fetch_response() {
    let answer = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".into(),
            partitions: vec![PartitionData {
                partition_index: 1,
                high_watermark: 9,
                last_stable_offset: 8,
                aborted_transactions: Some(vec![AbortedTransaction {
                    producer_id: 6,
                    first_offset: 7,
                }]),
                records: Some(Bytes::from_static(b"batch").into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    response(
        &answer,
        4,
        "00000046 01020304 00000000 00000001 0001 't' 00000001
         00000001 0000 0000000000000009 0000000000000008
         00000001 0000000000000006 0000000000000007 00000005 'batch'",
    );
    response(
        &answer,
        12,
        "00000050 01020304 00 00000000 0000 00000000 02 02 't' 02
         00000001 0000 0000000000000009 0000000000000008 ffffffffffffffff
         02 0000000000000006 0000000000000007 00 ffffffff 06 'batch' 00 00 00",
    );
}

#[test]
fn headers_alone() {
    let header = ResponseHeader { correlation_id: 3 };
    assert_eq!(
        header.encode(0).expect("is good").into_bytes(),
        hex("00000003")
    );
    assert_eq!(
        header.encode(1).expect("is good").into_bytes(),
        hex("00000003 00")
    );
}

#[test]
fn a_subscription_is_embedded_behind_its_version() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".into()],
        ..Default::default()
    };
    let golden = hex("0001 00000001 0001 't' ffffffff 00000000");
    assert_eq!(subscription.encode_embedded(1), Ok(golden.clone()));
    let read = ConsumerProtocolSubscription::decode_embedded(golden, &mut Budget::bytes(1 << 10));
    assert_eq!(read, Ok((1, subscription)));
}
