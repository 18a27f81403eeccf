//! The object that holds slices of many partitions and describes itself: `docs/format/segment.md`.

mod error;
mod footer;
mod header;
mod reader;
mod seal;
#[cfg(test)]
mod tests;
mod trailer;
mod writer;

pub use error::{Part, SegmentError};
pub use footer::{Footer, FooterSlice};
pub use header::{HEADER_BYTES, SegmentHeader, SegmentKind};
pub use reader::{SegmentReader, check_slice};
pub use seal::{BatchPlace, SealedSegment};
pub use trailer::{Nonce, TRAILER_BYTES, Trailer};
pub use writer::{BatchHandle, PushError, SegmentIdentity, SegmentWriter};
