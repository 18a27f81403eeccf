//! Messages inside the bytes of others, behind their own version: what members of a classic consumer
//! group tell each other.

use bytes::{BufMut, Bytes, BytesMut};

use crate::budget::Budget;
use crate::decode::Decoder;
use crate::error::{DecodeError, EncodeError};
use crate::message::{self, Message};

/// A message whose version stands in front of it.
///
/// Its writers only ever add to the end. So a version newer than any known one is read as the newest that
/// is known, and what then follows is left alone; this is how Kafka's clients read it.
pub trait Embedded: Message {
    /// Reads the version and the message: as which version it was read, and the message.
    fn decode_embedded(bytes: Bytes, budget: &mut Budget) -> Result<(i16, Self), DecodeError> {
        let mut front = Decoder::new(bytes, Self::NAME, 0, false, budget);
        let written = front.i16("version")?;
        let rest = front.rest();
        let version = written.min(Self::VERSIONS.max);
        let (message, decoder) = message::begin(rest, version, budget)?;
        if written == version {
            decoder.finish()?;
        }
        Ok((version, message))
    }

    /// Writes the version and the message.
    fn encode_embedded(&self, version: i16) -> Result<Bytes, EncodeError> {
        let rope = self.encode(version)?;
        let mut bytes = BytesMut::with_capacity(size_of::<i16>() + rope.len());
        bytes.put_i16(version);
        bytes.put(rope);
        Ok(bytes.freeze())
    }
}

impl Embedded for crate::messages::ConsumerProtocolSubscription {}
impl Embedded for crate::messages::ConsumerProtocolAssignment {}
// What an authenticated caller is, in delegation tokens and forwarded requests.
impl Embedded for crate::messages::DefaultPrincipalData {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeErrorKind;
    use crate::messages::ConsumerProtocolAssignment;

    #[test]
    fn a_newer_version_is_read_as_the_newest_that_is_known() {
        let assignment = ConsumerProtocolAssignment::default();
        let newest = ConsumerProtocolAssignment::VERSIONS.max;
        let mut bytes = assignment
            .encode_embedded(newest)
            .expect("no fields")
            .to_vec();
        let budget = &mut Budget::bytes(1 << 10);
        let read = ConsumerProtocolAssignment::decode_embedded(bytes.clone().into(), budget);
        assert_eq!(read, Ok((newest, assignment.clone())));
        bytes.push(1);
        let read = ConsumerProtocolAssignment::decode_embedded(bytes.clone().into(), budget);
        assert_eq!(
            read.expect_err("a byte too many").kind(),
            DecodeErrorKind::Trailing(1)
        );
        bytes[1] = 99;
        let read = ConsumerProtocolAssignment::decode_embedded(bytes.into(), budget);
        assert_eq!(read, Ok((newest, assignment)));
    }
}
