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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(incarnation: u64, sequence: u64) -> SegmentName {
        SegmentName::new(
            Incarnation::new(incarnation),
            SegmentSequence::new(sequence),
        )
    }

    #[test]
    fn names_order_by_writer_and_then_by_its_count() {
        let ordered = [name(1, 1), name(1, 2), name(1, 10), name(2, 0), name(2, 1)];
        assert!(ordered.is_sorted());
        assert!(ordered.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_name_reads_as_writer_and_count() {
        assert_eq!(name(5, 200).to_string(), "5-200");
        assert_eq!(name(0, u64::MAX).to_string(), "0-18446744073709551615");
    }
}
