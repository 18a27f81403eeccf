//! What can be wrong with a message.

use std::fmt;

use crate::version::VersionRange;

/// A message that cannot be decoded: which, where, and why.
///
/// Whoever sent it does not speak the protocol, or wants harm: what follows on the same connection cannot
/// be trusted to be a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(Box<DecodeFault>);

impl DecodeError {
    /// An error at a place.
    pub(crate) fn new(place: Place, position: usize, kind: DecodeErrorKind) -> Self {
        Self(Box::new(DecodeFault {
            place,
            position,
            kind,
        }))
    }

    /// Name of the message, such as `FetchRequest`: the API and the direction.
    pub fn message(&self) -> &'static str {
        self.0.place.message
    }

    /// The version as which it was read.
    pub fn version(&self) -> i16 {
        self.0.place.version
    }

    /// Where in the message: fields by their names in the definitions, such as `Topics[3].Name`.
    pub fn field(&self) -> &str {
        &self.0.place.field
    }

    /// The byte of the body or frame at which reading stopped.
    pub fn position(&self) -> usize {
        self.0.position
    }

    /// What is wrong there.
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }
}

/// A message, its version and a field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the message.
    pub(crate) message: &'static str,
    /// As which version it is read or written.
    pub(crate) version: i16,
    /// The path of the field, empty for the whole.
    pub(crate) field: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` version {}", self.message, self.version)?;
        if self.field.is_empty() {
            return Ok(());
        }
        write!(f, ", field `{}`", self.field)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}, byte {position}: {kind}")]
struct DecodeFault {
    place: Place,
    position: usize,
    kind: DecodeErrorKind,
}

/// What is wrong with bytes that should be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The codec knows no such version of the message.
    #[error("only versions {0} are known")]
    UnsupportedVersion(VersionRange),
    /// A value needs more bytes than remain.
    #[error("needs {needed} bytes, and {left} remain")]
    Truncated {
        /// The least that the value takes.
        needed: usize,
        /// What remains of the message, or of the tagged field.
        left: usize,
    },
    /// A length or count that no value can have.
    #[error("the length {0} is out of range")]
    Length(i64),
    /// Null where there must be a value.
    #[error("must not be null")]
    Null,
    /// A variable-length integer of more than 32 bits.
    #[error("the variable-length integer is too long")]
    Varint,
    /// A boolean that is neither 0 nor 1, or a mark of presence that is neither -1 nor 1.
    #[error("the byte {0} is neither yes nor no")]
    Flag(u8),
    /// A string that is not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
    /// Tags must ascend, so none can be there twice.
    #[error("the tag {0} is not above the one before it")]
    TagOrder(u32),
    /// A tagged field whose value is shorter than it claims.
    #[error("the value ends {0} bytes before its tagged field does")]
    TagSize(usize),
    /// Bytes behind the end of the message.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// The message would take more memory than it may.
    #[error("takes {needed} bytes of memory, and {left} are left for it")]
    Budget {
        /// What the array would take.
        needed: usize,
        /// What is left of the budget.
        left: usize,
    },
}

/// A message that cannot be encoded as it is in this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct EncodeError {
    place: Box<Place>,
    kind: EncodeErrorKind,
}

impl EncodeError {
    /// An error at a place.
    pub(crate) fn new(place: Place, kind: EncodeErrorKind) -> Self {
        Self {
            place: Box::new(place),
            kind,
        }
    }

    /// Name of the message.
    pub fn message(&self) -> &'static str {
        self.place.message
    }

    /// The version in which it was to be written.
    pub fn version(&self) -> i16 {
        self.place.version
    }

    /// Where in the message, as in [`DecodeError::field`].
    pub fn field(&self) -> &str {
        &self.place.field
    }

    /// What is wrong there.
    pub fn kind(&self) -> EncodeErrorKind {
        self.kind
    }
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The codec knows no such version of the message.
    #[error("only versions {0} are known")]
    UnsupportedVersion(VersionRange),
    /// The field has a value that matters, and this version has no such field.
    #[error("has a value, but this version has no such field")]
    NotInVersion,
    /// Null where this version must have a value.
    #[error("must not be null in this version")]
    Null,
    /// Longer than the protocol can say.
    #[error("a length of {0} is more than the protocol can say")]
    TooLong(usize),
}
