//! Segments of any kind.

use bytes::Bytes;

use super::frame::Frame;
use super::{MergedReader, SegmentError, SegmentKind, SegmentReader, Trailer};

/// A whole segment in memory, of whichever kind its header says. For inspection and audits.
#[derive(Clone, Debug)]
pub enum AnySegment {
    /// By a broker.
    Written(SegmentReader),
    /// By a janitor.
    Merged(MergedReader),
}

impl AnySegment {
    /// Opens a whole object. Nothing is copied; slices are not hashed yet.
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        let frame = Frame::open(bytes)?;
        match frame.header.kind {
            SegmentKind::Written => SegmentReader::read(frame).map(Self::Written),
            SegmentKind::Merged => MergedReader::read(frame).map(Self::Merged),
        }
    }

    /// The trailer.
    pub const fn trailer(&self) -> &Trailer {
        match self {
            Self::Written(reader) => reader.trailer(),
            Self::Merged(reader) => reader.trailer(),
        }
    }

    /// Checks every slice.
    pub fn check(&self) -> Result<(), SegmentError> {
        match self {
            Self::Written(reader) => reader.check(),
            Self::Merged(reader) => reader.check(),
        }
    }
}
