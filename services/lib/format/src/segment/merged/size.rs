//! How large a merged segment becomes, for those who plan one.

use tidelog_types::limits::MERGED_EXTENT_BYTES;

use crate::segment::{HEADER_BYTES, TRAILER_BYTES};

/// What the footer takes at most for its own fields: shard, commit time, topic count and extension length.
const FOOTER_BYTES_MAX: u64 = 5 + 10 + 10 + 1;
/// What it takes for a topic at most, beside the name: id, number, name length, partition count, slice count.
const TOPIC_BYTES_MAX: u64 = 16 + 10 + 2 + 5 + 3;
/// What it takes for a slice at most, beside its extents: partition, key id, batch count, min timestamp, base offset,
/// extent count.
const SLICE_BYTES_MAX: u64 = 5 + 1 + 4 + 10 + 9 + 4;
/// What it takes for an extent at most: length, CRC, offsets, max timestamp.
const EXTENT_BYTES_MAX: u64 = 4 + 4 + 9 + 10;

/// Bounds the length of a merged segment while its parts are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedSize {
    bytes: u64,
}

impl Default for MergedSize {
    fn default() -> Self {
        Self::new()
    }
}

impl MergedSize {
    /// A segment without slices.
    pub const fn new() -> Self {
        Self {
            bytes: HEADER_BYTES as u64 + TRAILER_BYTES as u64 + FOOTER_BYTES_MAX,
        }
    }

    /// The length that the object has at most.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// Adds a topic, without slices yet.
    pub const fn add_topic(&mut self, name_bytes: usize) {
        self.bytes += TOPIC_BYTES_MAX + name_bytes as u64;
    }

    /// Adds a slice of so many bytes to a topic that was added.
    pub const fn add_slice(&mut self, bytes: u64) {
        // An extent and the next one are together larger than the size that they are cut at.
        let extents = 2 * bytes / MERGED_EXTENT_BYTES as u64 + 1;
        self.bytes += SLICE_BYTES_MAX + extents * EXTENT_BYTES_MAX + bytes;
    }
}
