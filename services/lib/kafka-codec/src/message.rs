//! What every message can do.

use std::fmt::Debug;

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::api::ApiKey;
use crate::budget::Budget;
use crate::decode::{self, Decoder};
use crate::encode::{self, Encoder, Rope};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use crate::version::VersionRange;

/// Something that has bytes in a message: a structure, or an element of an array.
///
/// Only the codec can use it, since only the codec makes a decoder or an encoder.
pub trait Wire: Sized {
    /// The least number of bytes that a value takes in this version.
    #[doc(hidden)]
    fn min_size(version: i16, flexible: bool) -> usize;

    /// Reads a value.
    #[doc(hidden)]
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// Writes a value.
    #[doc(hidden)]
    fn write(&self, encoder: &mut Encoder) -> Result<(), EncodeError>;
}

/// A whole message, in all versions that the codec knows.
///
/// One type serves every version. A field that a version lacks has its default after decoding; if it has
/// another value when it is to be encoded, that is an error, unless the definitions say that it may be
/// left out.
pub trait Message: Wire + Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    /// Its name, such as `FetchRequest`.
    const NAME: &'static str;
    /// The versions that can be decoded and encoded.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields; above all others if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads a message that takes all of the bytes.
    ///
    /// Strings, bytes and records are slices of `bytes` and keep all of them alive: copy what is kept for
    /// longer than the request. The budget is charged for every array before it is allocated.
    fn decode(bytes: Bytes, version: i16, budget: &mut Budget) -> Result<Self, DecodeError> {
        let (message, decoder) = begin::<Self>(bytes, version, budget)?;
        decoder.finish()?;
        Ok(message)
    }

    /// Writes the message. Records and long bytes are not copied.
    fn encode(&self, version: i16) -> Result<Rope, EncodeError> {
        let mut encoder = Encoder::new();
        self.encode_into(version, &mut encoder)?;
        Ok(encoder.finish())
    }

    /// How many bytes [`Message::encode`] would write, exactly. It walks through the message as encoding
    /// does, but takes no memory: for those who need the size before they have memory for the rest.
    fn encoded_size(&self, version: i16) -> Result<usize, EncodeError> {
        let mut encoder = Encoder::counting();
        self.encode_into(version, &mut encoder)?;
        Ok(encoder.len())
    }

    /// Writes the message behind what the encoder has already.
    #[doc(hidden)]
    fn encode_into(&self, version: i16, encoder: &mut Encoder) -> Result<(), EncodeError> {
        encoder.begin(Self::NAME, version, version >= Self::FLEXIBLE_FROM);
        if !Self::VERSIONS.contains(version) {
            let kind = EncodeErrorKind::UnsupportedVersion(Self::VERSIONS);
            return Err(encoder.fail("", kind));
        }
        self.write(encoder)
    }
}

/// Reads a message from the front of the bytes, and returns the place behind it.
pub(crate) fn begin<M: Message>(
    bytes: Bytes,
    version: i16,
    budget: &mut Budget,
) -> Result<(M, Decoder<'_>), DecodeError> {
    let flexible = version >= M::FLEXIBLE_FROM;
    let mut decoder = Decoder::new(bytes, M::NAME, version, flexible, budget);
    if !M::VERSIONS.contains(version) {
        let kind = DecodeErrorKind::UnsupportedVersion(M::VERSIONS);
        return Err(decoder.fail("", kind));
    }
    let message = M::read(&mut decoder)?;
    Ok((message, decoder))
}

/// A message that a client sends.
pub trait Request: Message {
    /// What it asks for.
    const KEY: ApiKey;
    /// What it is answered with, in the same version.
    type Response: Response<Request = Self>;
}

/// A message that a server answers with.
pub trait Response: Message {
    /// What was asked for.
    const KEY: ApiKey;
    /// What it answers.
    type Request: Request<Response = Self>;
}

/// Elements of arrays that are not structures.
macro_rules! plain {
    ($($kind:ty, $size:expr, $function:ident;)*) => {$(
        impl Wire for $kind {
            fn min_size(_: i16, _: bool) -> usize {
                $size
            }

            fn read(decoder: &mut Decoder<'_>) -> decode::Result<Self> {
                decoder.$function("")
            }

            fn write(&self, encoder: &mut Encoder) -> encode::Result {
                encoder.$function(*self);
                Ok(())
            }
        }
    )*};
}

plain! {
    i8, 1, i8;
    i16, 2, i16;
    i32, 4, i32;
    i64, 8, i64;
    Uuid, 16, uuid;
}

impl Wire for ByteString {
    fn min_size(_: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 2 }
    }

    fn read(decoder: &mut Decoder<'_>) -> decode::Result<Self> {
        decoder.str("")
    }

    fn write(&self, encoder: &mut Encoder) -> encode::Result {
        encoder.str(self, "")
    }
}
