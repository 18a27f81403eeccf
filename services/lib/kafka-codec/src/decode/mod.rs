//! Reads messages out of bytes that anybody may have sent.
//!
//! Nothing here recurses on the input, trusts a length before it is compared with what remains, or takes
//! memory that is not in the budget. [`fields`] has a function for each type of the definitions.

mod fields;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::budget::Budget;
use crate::error::{DecodeError, DecodeErrorKind, Place};
use crate::path::{self, Step};

/// The result of reading something.
pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

/// A place in a message that is being read. Only the codec itself makes one.
#[derive(Debug)]
pub struct Decoder<'b> {
    bytes: Bytes,
    /// The next byte to read.
    at: usize,
    /// Where the message ends, or the tagged field that is being read.
    end: usize,
    version: i16,
    flexible: bool,
    message: &'static str,
    budget: &'b mut Budget,
    path: SmallVec<[Step; path::DEPTH]>,
}

impl<'b> Decoder<'b> {
    /// Begins to read a message at the first of the bytes.
    pub(crate) fn new(
        bytes: Bytes,
        message: &'static str,
        version: i16,
        flexible: bool,
        budget: &'b mut Budget,
    ) -> Self {
        Self {
            at: 0,
            end: bytes.len(),
            bytes,
            version,
            flexible,
            message,
            budget,
            path: SmallVec::new(),
        }
    }

    /// The version as which the message is read.
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    /// What has not been read.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    /// The message must end here.
    pub(crate) fn finish(self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            trailing => Err(self.fail("", DecodeErrorKind::Trailing(trailing))),
        }
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn fail(&self, field: &str, kind: DecodeErrorKind) -> DecodeError {
        let place = Place {
            message: self.message,
            version: self.version,
            field: path::shown(&self.path, field),
        };
        DecodeError::new(place, self.at, kind)
    }

    /// How many bytes remain.
    fn left(&self) -> usize {
        self.end - self.at
    }

    /// The next `N` bytes.
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let left = self.bytes.get(self.at..self.end).unwrap_or_default();
        let Some(chunk) = left.first_chunk::<N>() else {
            return Err(self.truncated(field, N));
        };
        self.at += N;
        Ok(*chunk)
    }

    /// The next bytes, as a slice of the frame.
    fn slice(&mut self, length: usize, field: &'static str) -> Result<Bytes> {
        if length > self.left() {
            return Err(self.truncated(field, length));
        }
        let slice = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(slice)
    }

    #[cold]
    fn truncated(&self, field: &str, needed: usize) -> DecodeError {
        let left = self.left();
        self.fail(field, DecodeErrorKind::Truncated { needed, left })
    }

    /// An unsigned integer of seven bits a byte, the lowest first. Like Kafka it takes one that is longer
    /// than it had to be, up to five bytes.
    fn uvarint(&mut self, field: &'static str) -> Result<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.take(field)?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.fail(field, DecodeErrorKind::Varint))
    }

    /// A length or count as flexible versions have it: one more than it is, and 0 for null.
    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>> {
        let raised = self.uvarint(field)?;
        if raised > COMPACT_MAX {
            return Err(self.fail(field, DecodeErrorKind::Length(i64::from(raised) - 1)));
        }
        Ok(raised.checked_sub(1).map(|length| length as usize))
    }

    /// A length or count of other versions: null is -1, and no other is negative.
    fn signed_length(&mut self, length: i32, field: &'static str) -> Result<Option<usize>> {
        match length {
            -1 => Ok(None),
            _ => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.fail(field, DecodeErrorKind::Length(length.into()))),
            },
        }
    }

    /// Makes sure that so many elements can be there, and pays for them.
    fn admit(
        &mut self,
        count: usize,
        wire_size: usize,
        memory_size: usize,
        field: &'static str,
    ) -> Result<()> {
        let needed = count.saturating_mul(wire_size);
        if needed > self.left() {
            return Err(self.truncated(field, needed));
        }
        let needed = count.saturating_mul(memory_size);
        if !self.budget.spend(needed) {
            let left = self.budget.left();
            return Err(self.fail(field, DecodeErrorKind::Budget { needed, left }));
        }
        Ok(())
    }
}

/// The largest count that Kafka, which has signed integers for them, can take, raised by one.
const COMPACT_MAX: u32 = i32::MAX.unsigned_abs();
