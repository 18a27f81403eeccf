//! Writes messages into a rope: what is small is gathered, what is long is passed on as it is.

mod fields;
mod rope;

use smallvec::SmallVec;

pub use rope::Rope;

use crate::error::{EncodeError, EncodeErrorKind, Place};
use crate::path::{self, Step};
use rope::Gatherer;

/// The result of writing something.
pub(crate) type Result = std::result::Result<(), EncodeError>;

/// A place in a message that is being written. Only the codec itself makes one.
#[derive(Debug)]
pub struct Encoder {
    out: Gatherer,
    version: i16,
    flexible: bool,
    message: &'static str,
    path: SmallVec<[Step; path::DEPTH]>,
}

impl Encoder {
    /// Writes behind what the rope has.
    pub(crate) fn new() -> Self {
        Self::with(Gatherer::new())
    }

    /// Writes nothing and counts only.
    pub(crate) fn counting() -> Self {
        Self::with(Gatherer::counting())
    }

    fn with(out: Gatherer) -> Self {
        Self {
            out,
            version: 0,
            flexible: false,
            message: "",
            path: SmallVec::new(),
        }
    }

    /// From here on it is this message.
    pub(crate) fn begin(&mut self, message: &'static str, version: i16, flexible: bool) {
        self.message = message;
        self.version = version;
        self.flexible = flexible;
    }

    /// How many bytes have been written or counted.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// What has been written.
    pub(crate) fn finish(self) -> Rope {
        self.out.finish()
    }

    /// What has been written, behind its length as four bytes.
    pub(crate) fn finish_frame(self) -> std::result::Result<Rope, EncodeError> {
        let body = self.len().saturating_sub(FRAME_LENGTH_BYTES);
        match i32::try_from(body) {
            Ok(length) => Ok(self.out.finish_with_front(length.to_be_bytes())),
            Err(_) => Err(self.fail("", EncodeErrorKind::TooLong(body))),
        }
    }

    /// The version in which the message is written.
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn fail(&self, field: &str, kind: EncodeErrorKind) -> EncodeError {
        let place = Place {
            message: self.message,
            version: self.version,
            field: path::shown(&self.path, field),
        };
        EncodeError::new(place, kind)
    }
}

/// The length in front of each frame, which does not count itself.
pub(crate) const FRAME_LENGTH_BYTES: usize = 4;
