//! Every message, for those who do not care which.

use bytes::Bytes;

use crate::budget::Budget;
use crate::encode::Rope;
use crate::error::{DecodeError, EncodeError};
use crate::message::Message;
use crate::version::VersionRange;

/// What became of a message that was decoded and encoded again.
pub type Recoded = Result<Result<Rope, EncodeError>, DecodeError>;

/// A message as data: for tests, tools and tables.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name, such as `FetchRequest`.
    pub name: &'static str,
    /// The versions that can be decoded and encoded.
    pub versions: VersionRange,
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: i16,
    decode: fn(Bytes, i16, &mut Budget) -> Result<(), DecodeError>,
    show: fn(Bytes, i16, &mut Budget) -> Result<String, DecodeError>,
    recode: fn(Bytes, i16, &mut Budget) -> Recoded,
}

impl Kind {
    /// Every message of the codec, in the order of their names.
    pub const ALL: &'static [Self] = crate::generated::kinds::KINDS;

    pub(crate) const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            versions: M::VERSIONS,
            flexible_from: M::FLEXIBLE_FROM,
            decode: |bytes, version, budget| M::decode(bytes, version, budget).map(|_| ()),
            show: |bytes, version, budget| {
                M::decode(bytes, version, budget).map(|message| format!("{message:#?}"))
            },
            recode: recode::<M>,
        }
    }

    /// Whether the bytes can be decoded.
    pub fn decode(
        &self,
        bytes: Bytes,
        version: i16,
        budget: &mut Budget,
    ) -> Result<(), DecodeError> {
        (self.decode)(bytes, version, budget)
    }

    /// The message as text for people, a field a line, in the order of the definitions. Of records it
    /// tells only how many bytes they have.
    pub fn show(
        &self,
        bytes: Bytes,
        version: i16,
        budget: &mut Budget,
    ) -> Result<String, DecodeError> {
        (self.show)(bytes, version, budget)
    }

    /// Decodes the bytes and encodes what they say. Fields that the codec does not know are lost; what
    /// could be decoded can be encoded in the same version.
    pub fn recode(&self, bytes: Bytes, version: i16, budget: &mut Budget) -> Recoded {
        (self.recode)(bytes, version, budget)
    }
}

fn recode<M: Message>(bytes: Bytes, version: i16, budget: &mut Budget) -> Recoded {
    let message = M::decode(bytes, version, budget)?;
    let rope = message.encode(version);
    debug_assert_eq!(
        rope.as_ref().map(Rope::len),
        message.encoded_size(version).as_ref().copied(),
        "what is counted is what is written"
    );
    Ok(rope)
}
