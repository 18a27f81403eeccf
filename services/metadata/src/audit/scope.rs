//! Which segments an audit looks at together.

use std::collections::BTreeSet;
use std::ops::Range;

use tidelog_blob::names::spread;
use tidelog_types::SegmentName;

/// How many values the byte has that spreads segments over the bucket.
pub(super) const SPREADS: u16 = 256;

/// Some of all segments.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// Those below some of the folders that they are spread over.
    Spreads(Range<u16>),
    /// These.
    Names(BTreeSet<SegmentName>),
}

impl Scope {
    pub(super) fn has(&self, segment: SegmentName) -> bool {
        match self {
            Self::Spreads(spreads) => spreads.contains(&u16::from(spread(segment))),
            Self::Names(names) => names.contains(&segment),
        }
    }
}
