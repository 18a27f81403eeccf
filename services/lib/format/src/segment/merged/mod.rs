//! Segments that a janitor makes of extents of other ones: `docs/format/segment.md`, "Merged".

mod decode;
mod encode;
mod footer;
mod reader;
mod size;
#[cfg(test)]
mod tests;
mod writer;

pub use footer::{MergedExtent, MergedFooter, MergedSlice, MergedTopic};
pub use reader::MergedReader;
pub use size::MergedSize;
pub use writer::{MergedWriter, NewSlice, SealedMerged, WriteError};
