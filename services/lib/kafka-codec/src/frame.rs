//! Frames: four bytes of length, a header, a body. No I/O: the caller has the socket.
//!
//! ```text
//!   length   request header                                       body
//!   +------+---------+---------+----------------+-----------+--------------------+
//!   | i32  | key i16 | ver i16 | correlation i32| client id | by key and version |
//!   +------+---------+---------+----------------+-----------+--------------------+
//!          |<------------------------- length bytes -------------------------->|
//! ```

use bytes::Bytes;
use bytestring::ByteString;

use crate::api::ApiKey;
use crate::budget::Budget;
use crate::decode::Decoder;
use crate::encode::{Encoder, FRAME_LENGTH_BYTES, Rope};
use crate::error::{DecodeError, EncodeError, EncodeErrorKind};
use crate::message::{self, Message, Request, Response};
use crate::messages::{RequestHeader, ResponseHeader};

/// A length in front of a frame that no frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than the shortest header, or negative.
    #[error("a frame of {0} bytes has no room for a header")]
    TooShort(i32),
    /// Longer than the reader allows.
    #[error("a frame of {length} bytes is longer than the {max} that are allowed")]
    TooLong {
        /// What the frame claims.
        length: usize,
        /// What is allowed.
        max: usize,
    },
}

/// The fields that every request begins with: API key, version and correlation id.
const REQUEST_BYTES_MIN: usize = 8;
/// Every response begins with its correlation id.
const RESPONSE_BYTES_MIN: usize = 4;

/// How long the request is that follows these four bytes, if it may be that long.
pub fn request_length(prefix: [u8; FRAME_LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    length(prefix, REQUEST_BYTES_MIN, max)
}

/// How long the response is that follows these four bytes, if it may be that long.
pub fn response_length(prefix: [u8; FRAME_LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    length(prefix, RESPONSE_BYTES_MIN, max)
}

fn length(prefix: [u8; FRAME_LENGTH_BYTES], min: usize, max: usize) -> Result<usize, FrameError> {
    let claimed = i32::from_be_bytes(prefix);
    match usize::try_from(claimed) {
        Ok(length) if length > max => Err(FrameError::TooLong { length, max }),
        Ok(length) if length >= min => Ok(length),
        _ => Err(FrameError::TooShort(claimed)),
    }
}

/// Who asks, and how the answer is told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// To be sent back with the answer.
    pub correlation_id: i32,
    /// What the client calls itself. It is a slice of the frame.
    pub client_id: Option<ByteString>,
}

/// A frame that a server has received, as far as its header tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A request that the codec can decode.
    Request(RequestFrame),
    /// An API that the codec knows, in a version that it does not. Answer it with
    /// `UNSUPPORTED_VERSION` in a version that the client can read; for `ApiVersions` that is version 0,
    /// with the versions of `ApiVersions` in it, and the client asks again.
    UnsupportedVersion {
        /// What is asked for.
        key: ApiKey,
        /// In which version.
        version: i16,
        /// Who asks.
        caller: Caller,
    },
    /// An API that the codec does not know. There is no answer that the client could read.
    UnknownApi {
        /// The number of the API.
        code: i16,
        /// In which version.
        version: i16,
        /// Who asks.
        caller: Caller,
    },
}

/// A request whose body has not been decoded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFrame {
    /// What is asked for.
    pub key: ApiKey,
    /// In which version, one of [`ApiKey::versions`].
    pub version: i16,
    /// Who asks.
    pub caller: Caller,
    /// What comes behind the header.
    pub body: Bytes,
}

impl Incoming {
    /// Reads the header of a frame that has no length in front of it any more.
    ///
    /// The header of an API or version that is not known is read as far as all headers are the same: its
    /// client id is left out if it does not look like one.
    pub fn read(frame: Bytes) -> Result<Self, DecodeError> {
        let mut nothing = Budget::bytes(0);
        let mut head = Decoder::new(frame.clone(), RequestHeader::NAME, 1, false, &mut nothing);
        let code = head.i16("RequestApiKey")?;
        let version = head.i16("RequestApiVersion")?;
        let correlation_id = head.i32("CorrelationId")?;
        let key = ApiKey::from_code(code);
        if let Some(key) = key.filter(|key| key.versions().contains(version)) {
            let header_version = key.request_header_version(version);
            let (header, decoder) =
                message::begin::<RequestHeader>(frame, header_version, &mut nothing)?;
            return Ok(Self::Request(RequestFrame {
                key,
                version,
                caller: Caller {
                    correlation_id,
                    client_id: header.client_id,
                },
                body: decoder.rest(),
            }));
        }
        let client_id = head.classic_str_opt(true, "ClientId").ok().flatten();
        let caller = Caller {
            correlation_id,
            client_id,
        };
        Ok(match key {
            Some(key) => Self::UnsupportedVersion {
                key,
                version,
                caller,
            },
            None => Self::UnknownApi {
                code,
                version,
                caller,
            },
        })
    }
}

impl RequestFrame {
    /// Decodes the body. `R` must be the request of this frame's key: [`Request::KEY`] tells.
    ///
    /// Bytes behind the request are left alone, as Kafka leaves them: librdkafka has sent some, for one behind a
    /// `Metadata` request for all topics.
    pub fn decode<R: Request>(self, budget: &mut Budget) -> Result<R, DecodeError> {
        debug_assert_eq!(R::KEY, self.key, "another API's request");
        let (request, _behind) = message::begin(self.body, self.version, budget)?;
        Ok(request)
    }
}

/// A whole frame with a request, its length in front.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    caller: Caller,
) -> Result<Rope, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id: caller.correlation_id,
        client_id: caller.client_id,
    };
    frame(
        &header,
        R::KEY.request_header_version(version),
        request,
        version,
    )
}

/// A whole frame with a response, its length in front. Records in it are pieces of their own.
pub fn response_frame<R: Response>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Rope, EncodeError> {
    let header = ResponseHeader { correlation_id };
    frame(
        &header,
        R::KEY.response_header_version(version),
        response,
        version,
    )
}

/// How long [`response_frame`] will be, with the length in front of it, without memory for it.
pub fn response_frame_size<R: Response>(response: &R, version: i16) -> Result<usize, EncodeError> {
    let header = ResponseHeader { correlation_id: 0 };
    let header = header.encoded_size(R::KEY.response_header_version(version))?;
    Ok(FRAME_LENGTH_BYTES + header + response.encoded_size(version)?)
}

/// Reads a response from a frame that has no length in front of it any more: its correlation id and it.
pub fn read_response<R: Response>(
    frame: Bytes,
    version: i16,
    budget: &mut Budget,
) -> Result<(i32, R), DecodeError> {
    let header_version = R::KEY.response_header_version(version);
    let (header, decoder) = message::begin::<ResponseHeader>(frame, header_version, budget)?;
    let body = decoder.rest();
    Ok((header.correlation_id, R::decode(body, version, budget)?))
}

fn frame<H: Message, M: Message>(
    header: &H,
    header_version: i16,
    message: &M,
    version: i16,
) -> Result<Rope, EncodeError> {
    let mut encoder = Encoder::new();
    // The length's place; it is known only at the end.
    encoder.i32(0);
    if !M::VERSIONS.contains(version) {
        encoder.begin(M::NAME, version, false);
        let kind = EncodeErrorKind::UnsupportedVersion(M::VERSIONS);
        return Err(encoder.fail("", kind));
    }
    header.encode_into(header_version, &mut encoder)?;
    message.encode_into(version, &mut encoder)?;
    encoder.finish_frame()
}
