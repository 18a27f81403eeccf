//! What the generated code needs.

pub(crate) use bytes::Bytes;
pub(crate) use bytestring::ByteString;
pub(crate) use uuid::Uuid;

pub(crate) use crate::api::ApiKey;
pub(crate) use crate::decode::Decoder;
pub(crate) use crate::encode::Encoder;
pub(crate) use crate::error::{DecodeError, EncodeError};
pub(crate) use crate::message::{Message, Request, Response, Wire};
pub(crate) use crate::records::Records;
pub(crate) use crate::version::VersionRange;
