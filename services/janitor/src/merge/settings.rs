//! What merging may take.

use std::num::NonZeroU64;

/// Limits of merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeSettings {
    /// Bytes that all merges together hold in memory: inputs and outputs are the same bytes. What needs more is not
    /// merged.
    pub memory_bytes: u64,
    /// Bytes that are read and written in a second; none: as many as can be.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Merges at a time.
    pub at_once: usize,
    /// Reads at a time of one merge.
    pub reads_at_once: usize,
}

impl Default for MergeSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 96 << 20,
            bytes_per_second: None,
            at_once: 1,
            reads_at_once: 4,
        }
    }
}
