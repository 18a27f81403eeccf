//! The object that holds slices of many partitions and describes itself: `docs/format/segment.md`.

mod any;
mod error;
mod footer;
mod frame;
mod header;
mod merged;
mod reader;
mod seal;
#[cfg(test)]
mod tests;
mod trailer;
mod writer;

pub use any::AnySegment;
pub use error::{Part, SegmentError};
pub use footer::{Footer, FooterSlice};
pub use header::{HEADER_BYTES, SegmentHeader, SegmentKind};
pub use merged::{
    MergedExtent, MergedFooter, MergedReader, MergedSize, MergedSlice, MergedTopic, MergedWriter,
    NewSlice, SealedMerged, WriteError,
};
pub use reader::{SegmentReader, check_slice};
pub use seal::{BatchPlace, SealedSegment};
pub use trailer::{Nonce, TRAILER_BYTES, Trailer};
pub use writer::{BatchHandle, PushError, SegmentIdentity, SegmentWriter};
