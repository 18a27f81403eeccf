//! Frames from length to body and back.

use bytes::Bytes;
use tidelog_kafka_codec::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, PartitionData,
};
use tidelog_kafka_codec::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
};
use tidelog_kafka_codec::{
    ApiKey, Budget, Caller, DecodeErrorKind, EncodeErrorKind, FrameError, Incoming, Kind, Records,
    Request, Response, read_response, request_frame, request_length, response_frame,
    response_frame_size, response_length,
};

fn caller() -> Caller {
    Caller {
        correlation_id: 77,
        client_id: Some("me".into()),
    }
}

/// The frame without the length, which must be right.
fn without_length(frame: &Bytes) -> Bytes {
    let prefix = frame[..4].try_into().expect("four bytes");
    assert_eq!(response_length(prefix, frame.len()), Ok(frame.len() - 4));
    frame.slice(4..)
}

#[test]
fn a_frame_is_as_long_as_it_may_be_and_no_longer() {
    let length = |claimed: i32| request_length(claimed.to_be_bytes(), 100);
    assert_eq!(length(100), Ok(100));
    assert_eq!(length(8), Ok(8));
    assert_eq!(
        length(101),
        Err(FrameError::TooLong {
            length: 101,
            max: 100
        })
    );
    let most = FrameError::TooLong {
        length: 0x7fff_ffff,
        max: 100,
    };
    assert_eq!(length(i32::MAX), Err(most));
    assert_eq!(length(7), Err(FrameError::TooShort(7)));
    for negative in [-1, i32::MIN] {
        assert_eq!(length(negative), Err(FrameError::TooShort(negative)));
    }
}

fn there_and_back<R: Request>(request: &R) {
    for version in R::VERSIONS.iter() {
        let frame = request_frame(request, version, caller()).expect("can be written");
        let frame = without_length(&frame.into_bytes());
        let Ok(Incoming::Request(read)) = Incoming::read(frame) else {
            panic!("version {version} is not read");
        };
        assert_eq!((read.key, read.version), (R::KEY, version));
        assert_eq!(read.caller, caller());
        assert_eq!(
            read.decode::<R>(&mut Budget::bytes(1 << 10)).as_ref(),
            Ok(request)
        );
    }
}

#[test]
fn requests_go_there_in_every_version() {
    there_and_back(&MetadataRequest::default());
    there_and_back(&ApiVersionsRequest::default());
    there_and_back(&ProduceRequest::default());
}

fn back<R: Response>(response: &R) {
    for version in R::VERSIONS.iter() {
        let frame = response_frame(response, version, 78).expect("can be written");
        assert_eq!(response_frame_size(response, version), Ok(frame.len()));
        let frame = without_length(&frame.into_bytes());
        let read = read_response::<R>(frame, version, &mut Budget::bytes(1 << 10));
        assert_eq!(read.expect("can be read"), (78, response.clone()));
    }
}

#[test]
fn responses_come_back_in_every_version() {
    back(&MetadataResponse::default());
    back(&ApiVersionsResponse::default());
    back(&FetchResponse::default());
}

#[test]
fn an_api_or_version_that_is_not_known_still_tells_who_asks() {
    let head = |key: i16, version: i16, tail: &[u8]| {
        let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
        frame.extend(77_i32.to_be_bytes());
        frame.extend(tail);
        Incoming::read(frame.into())
    };
    let expected = |key, version| Incoming::UnsupportedVersion {
        key,
        version,
        caller: caller(),
    };
    assert_eq!(
        head(18, 99, b"\0\x02me"),
        Ok(expected(ApiKey::ApiVersions, 99))
    );
    assert_eq!(head(0, 2, b"\0\x02me"), Ok(expected(ApiKey::Produce, 2)));
    assert_eq!(
        head(0, -1, b"\0\x02me\0\0"),
        Ok(expected(ApiKey::Produce, -1))
    );
    let anonymous = Caller {
        client_id: None,
        ..caller()
    };
    for code in [-1, 4, 83, 1000] {
        let unknown = Incoming::UnknownApi {
            code,
            version: 0,
            caller: anonymous.clone(),
        };
        assert_eq!(head(code, 0, b""), Ok(unknown.clone()));
        assert_eq!(head(code, 0, b"\0\x09me"), Ok(unknown));
    }
}

#[test]
fn a_header_that_is_cut_or_wrong_is_refused() {
    for cut in 0..8 {
        let error = Incoming::read(Bytes::from_static(&[0; 8]).slice(..cut));
        let error = error.expect_err("has no correlation id");
        assert_eq!(error.message(), "RequestHeader");
    }
    // A client id of three bytes that has two.
    let frame = Bytes::from_static(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 3, b'a', b'b']);
    let error = Incoming::read(frame).expect_err("is cut");
    assert_eq!(
        error.kind(),
        DecodeErrorKind::Truncated { needed: 3, left: 2 }
    );
    assert_eq!(error.field(), "ClientId");
}

#[test]
fn the_records_of_an_answer_are_pieces_of_the_frame() {
    let pages: Vec<Bytes> = (0..3)
        .map(|fill| Bytes::from(vec![fill; 1 << 20]))
        .collect();
    let partition = PartitionData {
        records: Some(pages.iter().cloned().collect::<Records>()),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition.clone(), partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    for version in [4, 11, 12, 18] {
        let rope = response_frame(&response, version, 1).expect("can be written");
        let passed = rope
            .pieces()
            .filter(|piece| pages.iter().any(|page| page.as_ptr() == piece.as_ptr()));
        assert_eq!(passed.count(), 6);
        let gathered: usize = rope
            .pieces()
            .map(Bytes::len)
            .filter(|len| *len < 1 << 20)
            .sum();
        assert_eq!(gathered, rope.len() - 6 * (1 << 20));
        assert!(gathered < 200);
        let length = i32::try_from(rope.len() - 4).expect("is small");
        let first = rope.pieces().next().expect("has a length");
        assert_eq!(first[..4], length.to_be_bytes());
    }
}

#[test]
fn a_frame_longer_than_its_length_can_say_is_refused() {
    let page = Bytes::from(vec![0; 1 << 20]);
    let partition = PartitionData {
        records: Some((0..1500).map(|_| page.clone()).collect()),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition.clone(), partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    let error = response_frame(&response, 12, 1).expect_err("has three GB");
    assert!(
        matches!(error.kind(), EncodeErrorKind::TooLong(_)),
        "{error}"
    );
}

#[test]
fn a_message_is_shown_a_field_a_line() {
    let kind = Kind::ALL.iter().find(|kind| kind.name == "ResponseHeader");
    let kind = kind.expect("every answer has it");
    let shown = kind.show(Bytes::from_static(&[0, 0, 0, 5]), 0, &mut Budget::bytes(0));
    let lines = "ResponseHeader {\n    correlation_id: 5,\n}";
    assert_eq!(shown.as_deref(), Ok(lines));
}
