//! What must come of the bytes that a connection sends, as far as the codec tells.

use std::collections::VecDeque;

use bytes::Bytes;
use tidelog_broker_kafka::KafkaSettings;
use tidelog_kafka_codec::messages::ProduceRequest;
use tidelog_kafka_codec::{
    ApiKey, Budget, DecodeErrorKind, Incoming, Kind, RequestFrame, request_length,
};

use super::sent::Apis;

/// Memory that a decoded answer may take here.
const ANSWER_BUDGET_BYTES: usize = 64 << 20;

/// A request that may be answered.
struct Request {
    id: i32,
    key: ApiKey,
    /// The version of the answer.
    version: i16,
    /// Whether it may be left without an answer.
    is_silent: bool,
}

/// What must come, in this order.
pub(super) struct Expected {
    left: VecDeque<Request>,
    /// Something cannot be read, so that the connection ends, maybe before what came before it is answered.
    is_refused: bool,
    may_wait: bool,
    may_be_silent: bool,
}

/// What must come of these bytes.
pub(super) fn expected(bytes: &[u8], apis: &Apis) -> Expected {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut expected = Expected {
        left: VecDeque::new(),
        is_refused: false,
        may_wait: false,
        may_be_silent: false,
    };
    while let Some(prefix) = bytes.first_chunk() {
        let Ok(length) = request_length(*prefix, KafkaSettings::default().request_bytes_max) else {
            expected.is_refused = true;
            break;
        };
        if bytes.len() < 4 + length {
            break;
        }
        let frame = bytes.split_to(4 + length).slice(4..);
        let Some(request) = read(frame, apis) else {
            expected.is_refused = true;
            break;
        };
        // They wait for news, or for other members.
        let waits = [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup];
        expected.may_wait |= waits.contains(&request.key);
        expected.may_be_silent |= request.is_silent;
        expected.left.push_back(request);
    }
    expected
}

/// A request that must be answered; nothing if its connection must end.
fn read(frame: Bytes, apis: &Apis) -> Option<Request> {
    let request = |id, key, version| Request {
        id,
        key,
        version,
        is_silent: false,
    };
    match Incoming::read(frame).ok()? {
        Incoming::UnsupportedVersion { key, caller, .. } if key == ApiKey::ApiVersions => {
            Some(request(caller.correlation_id, key, 0))
        }
        Incoming::Request(frame) if apis.are_served(frame.key, frame.version) => {
            let id = frame.caller.correlation_id;
            let read = request(id, frame.key, frame.version);
            is_readable(&frame).then(|| Request {
                is_silent: frame.key == ApiKey::Produce && wants_no_answer(frame),
                ..read
            })
        }
        _ => None,
    }
}

/// The budget of the server.
fn budget(frame: &RequestFrame) -> Budget {
    Budget::bytes((frame.body.len() * 16 + 4096).min(8 << 20))
}

fn is_readable(frame: &RequestFrame) -> bool {
    let kind = kind(frame.key, "Request");
    match kind.decode(frame.body.clone(), frame.version, &mut budget(frame)) {
        Ok(()) => true,
        // What is behind a request is left alone.
        Err(error) => matches!(error.kind(), DecodeErrorKind::Trailing(_)),
    }
}

fn wants_no_answer(frame: RequestFrame) -> bool {
    let mut budget = budget(&frame);
    let request = frame.decode::<ProduceRequest>(&mut budget);
    request.is_ok_and(|request| request.acks == 0)
}

pub(super) fn kind(key: ApiKey, role: &str) -> &'static Kind {
    let is_it = |kind: &&Kind| kind.name.strip_suffix(role) == Some(key.name());
    Kind::ALL.iter().find(is_it).unwrap()
}

impl Expected {
    /// Whether the connection has not done all that it must.
    pub(super) fn is_more_to_come(&self) -> bool {
        self.is_refused || !self.left.is_empty()
    }

    /// Whether what must come may take as long as the client wants.
    pub(super) const fn may_wait(&self) -> bool {
        self.may_wait || self.may_be_silent
    }

    /// The connection has ended.
    pub(super) fn assert_may_close(&self) {
        assert!(
            self.is_refused || self.may_be_silent,
            "a good request of `{}` has ended its connection",
            self.left.front().map_or("nothing", |it| it.key.name())
        );
    }

    /// An answer has come: it is that of the next request, and can be read.
    pub(super) fn take(&mut self, frame: &Bytes) {
        let id = i32::from_be_bytes(*frame.first_chunk().unwrap());
        let request = loop {
            let next = self.left.pop_front();
            let next = next.unwrap_or_else(|| panic!("nothing is left that has the number {id}"));
            if next.id == id {
                break next;
            }
            assert!(next.is_silent, "no answer to `{}`", next.key.name());
        };
        let Request { key, version, .. } = request;
        // The number, and where there are tagged fields that there are none.
        let header = match key.response_header_version(version) {
            0 => 4,
            _ => 5,
        };
        assert!(frame.len() >= header);
        let body = frame.slice(header..);
        let answer = kind(key, "Response");
        let read = answer.decode(body, version, &mut Budget::bytes(ANSWER_BUDGET_BYTES));
        if let Err(error) = read {
            panic!("an answer cannot be read: {error}");
        }
    }
}
