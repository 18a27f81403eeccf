//! Kafka's wire protocol: every message that clients and tools exchange with a broker, in every version.
//!
//! The messages are generated from the definitions in Kafka's own clients jar (`cargo xtask codegen`); what
//! reads and writes them is here. There is no I/O, and no decision: what a server answers is its business.
//!
//! # A server
//!
//! ```
//! use bytes::Bytes;
//! use tidelog_kafka_codec::messages::produce_response::{
//!     PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
//! };
//! use tidelog_kafka_codec::messages::{ApiVersionsResponse, ProduceRequest};
//! use tidelog_kafka_codec::{ApiKey, Budget, ErrorCode, Incoming, Rope, response_frame};
//!
//! /// `frame` is what followed the four bytes that `request_length` has judged.
//! fn answer(frame: Bytes) -> Result<Option<Rope>, Box<dyn std::error::Error>> {
//!     // A few bytes of memory for each byte of the frame is plenty for an honest client.
//!     let mut budget = Budget::bytes(16 * frame.len() + 4096);
//!     let request = match Incoming::read(frame)? {
//!         Incoming::Request(request) => request,
//!         Incoming::UnsupportedVersion { key: ApiKey::ApiVersions, caller, .. } => {
//!             let error_code = ErrorCode::UnsupportedVersion.code();
//!             let response = ApiVersionsResponse { error_code, ..Default::default() };
//!             return Ok(Some(response_frame(&response, 0, caller.correlation_id)?));
//!         }
//!         // Nothing that this client could read: log it and close.
//!         _ => return Ok(None),
//!     };
//!     let (version, correlation_id) = (request.version, request.caller.correlation_id);
//!     match request.key {
//!         ApiKey::Produce => {
//!             let produce: ProduceRequest = request.decode(&mut budget)?;
//!             let mut response = ProduceResponse::default();
//!             for topic in produce.topic_data {
//!                 let mut partition_responses = Vec::new();
//!                 for partition in topic.partition_data {
//!                     // A slice of the frame: hand it to the engine as it is.
//!                     let _batches: Option<Bytes> = partition.records.map(|all| all.to_bytes());
//!                     partition_responses.push(PartitionProduceResponse {
//!                         index: partition.index,
//!                         ..Default::default()
//!                     });
//!                 }
//!                 response.responses.push(TopicProduceResponse {
//!                     name: topic.name,
//!                     topic_id: topic.topic_id,
//!                     partition_responses,
//!                 });
//!             }
//!             Ok(Some(response_frame(&response, version, correlation_id)?))
//!         }
//!         _ => Ok(None),
//!     }
//! }
//! # let mut request = vec![0, 0, 0, 3, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 1];
//! # request.extend([0, 0, 0, 0]);
//! # let rope = answer(request.into()).unwrap().unwrap();
//! # assert_eq!(rope.into_bytes(), &[0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0][..]);
//! ```
//!
//! The answer to a fetch takes its records in as many pieces as they are in, and passes each on:
//!
//! ```
//! use bytes::Bytes;
//! use tidelog_kafka_codec::messages::fetch_response::{
//!     FetchResponse, FetchableTopicResponse, PartitionData,
//! };
//! use tidelog_kafka_codec::{Records, response_frame};
//!
//! let page = Bytes::from(vec![7; 1 << 20]);
//! let records = Records::from_iter([page.slice(..1000), page.slice(4096..)]);
//! let partition = PartitionData { records: Some(records), ..Default::default() };
//! let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
//! let response = FetchResponse { responses: vec![topic], ..Default::default() };
//!
//! let rope = response_frame(&response, 12, 1).unwrap();
//! let sent: Vec<&Bytes> = rope.pieces().collect();
//! assert_eq!(sent.len(), 4);
//! assert_eq!(sent[1].as_ptr(), page.as_ptr());
//! assert_eq!(sent[2].as_ptr(), page[4096..].as_ptr());
//! ```
//!
//! # What is guaranteed
//!
//! - **Nothing panics** on any bytes, and nothing recurses on them.
//! - **Memory is bounded**: a count is compared with the bytes that remain and charged to a [`Budget`]
//!   before anything is allocated for it.
//! - **Nothing is copied**: strings, bytes and records are slices of the frame; records and long bytes that
//!   are encoded become pieces of a [`Rope`].
//! - **Nothing is lost silently**: a field with a value that a version lacks is an error, unless the
//!   definitions allow it to be left out.
//! - **Errors say where**: message, version, path of the field and byte.
//!
//! Fields with unknown tags are skipped and forgotten. A boolean other than 0 and 1 is refused, which Kafka
//! is not as strict about. Integers of variable length may be longer than needed, up to five bytes, as in
//! Kafka.

mod api;
mod budget;
mod decode;
mod embedded;
mod encode;
mod error;
mod error_code;
mod frame;
pub mod fuzzing;
#[expect(
    clippy::match_same_arms,
    clippy::too_many_lines,
    reason = "the definitions decide what is in a message"
)]
mod generated;
mod kind;
mod message;
mod path;
mod prelude;
mod records;
mod version;

pub use api::ApiKey;
pub use budget::Budget;
pub use bytestring::ByteString;
pub use embedded::Embedded;
pub use encode::Rope;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use error_code::ErrorCode;
pub use frame::{
    Caller, FrameError, Incoming, RequestFrame, read_response, request_frame, request_length,
    response_frame, response_frame_size, response_length,
};
pub use kind::{Kind, Recoded};
pub use message::{Message, Request, Response, Wire};
pub use records::Records;
pub use uuid::Uuid;
pub use version::VersionRange;

/// Every message, in a module of its own with the structures inside it.
pub mod messages {
    pub use crate::generated::messages::*;
}
