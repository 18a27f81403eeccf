//! What can be wrong with a segment.

use std::fmt;

use thiserror::Error;
use tidelog_types::{ClusterId, SegmentName};

use super::SegmentKind;
use crate::batch::BatchError;
use crate::{DecodeError, UnknownFeatures};

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first 40 bytes.
    Header,
    /// The index of the slices.
    Footer,
    /// The last 88 bytes.
    Trailer,
    /// The slice with this number, counted from 0 in the order of the bytes.
    Slice(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Footer => f.write_str("footer"),
            Self::Trailer => f.write_str("trailer"),
            Self::Slice(index) => write!(f, "slice {index}"),
        }
    }
}

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// The object is shorter than the part needs.
    #[error("the {part} needs `{needed}` bytes, `{remaining}` are there")]
    Truncated {
        /// The part.
        part: Part,
        /// What it needs.
        needed: u64,
        /// What is there.
        remaining: u64,
    },
    /// These are not the bytes of a segment.
    #[error("the {part} has magic `{:?}`, this is not a segment", String::from_utf8_lossy(.magic))]
    Magic {
        /// The part.
        part: Part,
        /// What stands there.
        magic: [u8; 8],
    },
    /// Another version wrote it.
    #[error("the {part} has the unknown version `{version}`")]
    Version {
        /// The part.
        part: Part,
        /// Its version.
        version: u16,
    },
    /// No such kind of segment.
    #[error("the {part} has the unknown kind `{kind}`")]
    Kind {
        /// The part.
        part: Part,
        /// Its kind.
        kind: u16,
    },
    /// It is of a known kind, but not of the one looked for.
    #[error("the segment is of kind `{found:?}`, not `{expected:?}`")]
    OtherKind {
        /// The kind looked for.
        expected: SegmentKind,
        /// Its kind.
        found: SegmentKind,
    },
    /// A newer version wrote it.
    #[error("the {part} was written by a newer version")]
    Features {
        /// The part.
        part: Part,
        /// The features.
        source: UnknownFeatures,
    },
    /// The bytes are damaged.
    #[error("the {part} should have crc `{stored:#010x}`, its bytes have `{computed:#010x}`")]
    Crc {
        /// The part.
        part: Part,
        /// What it should be.
        stored: u32,
        /// What the bytes have.
        computed: u32,
    },
    /// The object belongs to another cluster.
    #[error("the {part} names cluster `{found}`, not `{expected}`")]
    Cluster {
        /// The part.
        part: Part,
        /// Whose it should be.
        expected: ClusterId,
        /// Whose it is.
        found: ClusterId,
    },
    /// The object is not the one that its place says.
    #[error("the trailer names segment `{found}`, not `{expected}`")]
    Name {
        /// The one looked for.
        expected: SegmentName,
        /// The one found.
        found: SegmentName,
    },
    /// Header and trailer do not belong together.
    #[error("header and trailer differ in {field}")]
    Mismatch {
        /// The field.
        field: &'static str,
    },
    /// The layout of the footer is broken.
    #[error("the footer is broken")]
    Footer(#[from] DecodeError),
    /// Topics or partitions do not ascend.
    #[error("slice `{slice}` is not behind the one before by topic id and partition")]
    Order {
        /// The slice, counted from 0.
        slice: u32,
    },
    /// A count or length contradicts the others.
    #[error("slice `{slice}`: `{field}` is `{value}`")]
    Slice {
        /// The slice, counted from 0.
        slice: u32,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// No slice, or more than a segment may have.
    #[error("`{0}` slices are none, or more than a segment of its kind may have")]
    SliceCount(u64),
    /// A topic's name cannot be one.
    #[error("slice `{slice}` has an invalid topic name")]
    TopicName {
        /// The first slice of the topic, counted from 0.
        slice: u32,
    },
    /// The parts do not fill the object.
    #[error("slices end at `{slices_end}`, the footer begins at `{footer_position}`")]
    Layout {
        /// Where the last slice ends.
        slices_end: u64,
        /// Where the footer begins.
        footer_position: u64,
    },
    /// Footer and trailer do not fill the object.
    #[error("the footer ends at `{footer_end}`, the trailer begins at `{trailer_position}`")]
    FooterEnd {
        /// Where the footer ends.
        footer_end: u64,
        /// Where the trailer begins.
        trailer_position: u64,
    },
    /// A batch in a slice is broken.
    #[error("batch `{batch}` of slice `{slice}` is broken")]
    Batch {
        /// The slice, counted from 0.
        slice: u32,
        /// The batch in the slice, counted from 0.
        batch: u32,
        /// What is wrong with it.
        source: BatchError,
    },
}
