//! What an audit finds.

use std::fmt;

use tidelog_types::{OffsetRange, SegmentName, ShardId, Timestamp, TopicPartition};

/// Offsets of a partition that cannot be read, or of which that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The partition.
    pub partition: TopicPartition,
    /// Its offsets.
    pub offsets: OffsetRange,
}

/// How extents of a partition fail to follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFault {
    /// No row says where these offsets are.
    Hole,
    /// One extent ends inside another one.
    Overlap,
}

/// Something in which bucket and metadata differ, or in which one of them is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A row of the metadata store cannot be read.
    Row {
        /// Its kind.
        kind: &'static str,
        /// Its key, as hex digits.
        key: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Extents of a partition do not follow each other.
    Log {
        /// Which offsets.
        part: Part,
        /// How.
        fault: LogFault,
    },
    /// A segment that extents name is not in the bucket: what they name is lost.
    Missing {
        /// The segment.
        segment: SegmentName,
        /// What is lost.
        lost: Vec<Part>,
    },
    /// A segment is shorter than what extents name of it: what lies beyond its end is lost.
    Short {
        /// The segment.
        segment: SegmentName,
        /// Its bytes.
        bytes: u64,
        /// Where the last extent ends.
        needed: u64,
        /// What is lost.
        lost: Vec<Part>,
    },
    /// The header, index or trailer of a segment is damaged, or is of another segment. What extents name may be whole.
    Index {
        /// The segment.
        segment: SegmentName,
        /// What is wrong with it.
        fault: String,
    },
    /// An extent is not what the segment's own index says, or its bytes are not those that were written: what it names
    /// is lost.
    Extent {
        /// The segment.
        segment: SegmentName,
        /// What it names.
        part: Part,
        /// The first byte in the segment, and how many.
        bytes: (u32, u32),
        /// What is wrong with it.
        fault: String,
    },
    /// The live bytes of a segment are not those that extents name: it goes too early, or never.
    LiveBytes {
        /// The segment.
        segment: SegmentName,
        /// The shard.
        shard: ShardId,
        /// What its row says; none without a row.
        stored: Option<u64>,
        /// What extents name.
        named: u64,
    },
    /// Nothing names a segment any more, and no row says so to those who look for dead segments: it never goes, neither
    /// out of the bucket nor out of the store, if it lies there.
    Forgotten {
        /// The segment.
        segment: SegmentName,
    },
    /// A segment that metadata never named and never will, and that nobody else looks for.
    Orphan {
        /// The segment.
        segment: SegmentName,
        /// Its bytes.
        bytes: u64,
        /// When it was put.
        modified: Timestamp,
        /// Whether a backup may need it: it stays until that backup has gone.
        pinned: bool,
    },
    /// An object under a name that nobody of this cluster gives.
    Unknown {
        /// Its name.
        path: String,
        /// Its bytes.
        bytes: u64,
    },
}

impl Difference {
    /// The segment that it is about.
    pub const fn segment(&self) -> Option<SegmentName> {
        match self {
            Self::Missing { segment, .. }
            | Self::Short { segment, .. }
            | Self::Index { segment, .. }
            | Self::Extent { segment, .. }
            | Self::LiveBytes { segment, .. }
            | Self::Forgotten { segment }
            | Self::Orphan { segment, .. } => Some(*segment),
            Self::Row { .. } | Self::Log { .. } | Self::Unknown { .. } => None,
        }
    }

    /// What cannot be read because of it.
    pub fn lost(&self) -> &[Part] {
        match self {
            Self::Missing { lost, .. } | Self::Short { lost, .. } => lost,
            Self::Extent { part, .. }
            | Self::Log {
                part,
                fault: LogFault::Hole,
            } => std::slice::from_ref(part),
            _ => &[],
        }
    }

    /// A word for it that stays the same, for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Row { .. } => "row",
            Self::Log {
                fault: LogFault::Hole,
                ..
            } => "hole",
            Self::Log {
                fault: LogFault::Overlap,
                ..
            } => "overlap",
            Self::Missing { .. } => "missing",
            Self::Short { .. } => "short",
            Self::Index { .. } => "index",
            Self::Extent { .. } => "extent",
            Self::LiveBytes { .. } => "live-bytes",
            Self::Forgotten { .. } => "forgotten",
            Self::Orphan { .. } => "orphan",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether a second look found the same as the first. What is named of a segment may become less meanwhile, and a
    /// bucket tells times more exactly where it lists objects than where it is asked for one.
    pub(super) fn is_still(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Missing { segment, .. }, Self::Missing { segment: first, .. })
            | (Self::Short { segment, .. }, Self::Short { segment: first, .. })
            | (Self::Orphan { segment, .. }, Self::Orphan { segment: first, .. }) => {
                segment == first
            }
            _ => self == before,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { kind, key, fault } => {
                write!(f, "a row of kind `{kind}` at `{key}`: {fault}")
            }
            Self::Log {
                fault: LogFault::Hole,
                ..
            } => f.write_str("no row says where these offsets are"),
            Self::Log {
                fault: LogFault::Overlap,
                ..
            } => f.write_str("two extents have these offsets, and neither all of the other"),
            Self::Missing { .. } => f.write_str("not in the bucket: what it held is lost"),
            Self::Short { bytes, needed, .. } => write!(
                f,
                "has {bytes} bytes of at least {needed}: what lies beyond is lost"
            ),
            Self::Index { fault, .. } => write!(f, "its header, index or trailer: {fault}"),
            Self::Extent {
                bytes: (at, length),
                fault,
                ..
            } => write!(f, "{length} bytes at {at}: {fault}"),
            Self::LiveBytes {
                shard,
                stored,
                named,
                ..
            } => match stored {
                Some(stored) => write!(
                    f,
                    "shard {shard} counts {stored} live bytes, extents name {named}"
                ),
                None => write!(
                    f,
                    "shard {shard} counts no live bytes, extents name {named}"
                ),
            },
            Self::Forgotten { .. } => {
                f.write_str("nothing names it, and nobody will look whether it may go")
            }
            Self::Orphan { bytes, pinned, .. } => {
                let why = if *pinned { ", kept for a backup" } else { "" };
                write!(f, "{bytes} bytes that nothing names or ever will{why}")
            }
            Self::Unknown { bytes, .. } => {
                write!(
                    f,
                    "{bytes} bytes under a name that this cluster does not give"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_the_same_however_exactly_its_time_is_told() {
        let orphan = |millis, segment| Difference::Orphan {
            segment,
            bytes: 3,
            modified: Timestamp::from_millis(millis),
            pinned: false,
        };
        let (one, other) = (SegmentName::default(), {
            let incarnation = tidelog_types::Incarnation::new(7);
            SegmentName::new(incarnation, tidelog_types::SegmentSequence::new(1))
        });
        assert!(orphan(1_000, one).is_still(&orphan(1_234, one)));
        assert!(!orphan(1_000, one).is_still(&orphan(1_000, other)));
    }
}
