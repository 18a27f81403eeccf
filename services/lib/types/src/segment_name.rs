//! The name of a segment, from which its place in the bucket is computed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Incarnation;

/// Counts the segments that one writer process begins, from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SegmentSequence(u64);

impl SegmentSequence {
    /// Wraps the raw count.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw count.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SegmentSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A segment: which writer process put it, and as which of its segments. Never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SegmentName {
    /// The writer process.
    pub incarnation: Incarnation,
    /// Its count.
    pub sequence: SegmentSequence,
}

impl SegmentName {
    /// Names a segment.
    pub const fn new(incarnation: Incarnation, sequence: SegmentSequence) -> Self {
        Self {
            incarnation,
            sequence,
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.sequence)
    }
}
