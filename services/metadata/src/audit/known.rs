//! What metadata says of segments and partitions.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_types::{SegmentName, ShardId, TopicName, TopicNumber};

use super::difference::{Difference, Part};
use super::writers::Writers;

/// An extent that names bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) part: Part,
    pub(super) shard: ShardId,
    pub(super) position: u32,
    pub(super) length: u32,
    pub(super) crc32c: Option<u32>,
}

impl Named {
    pub(super) const fn end(&self) -> u64 {
        self.position as u64 + self.length as u64
    }
}

/// What metadata says of one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Live bytes as they were read first and last.
    pub(super) before: BTreeMap<ShardId, u64>,
    pub(super) after: BTreeMap<ShardId, u64>,
    pub(super) is_dying: bool,
    /// Whether extents name bytes of it in the store, and not in the bucket.
    pub(super) in_store: bool,
    pub(super) extents: Vec<Named>,
}

impl Known {
    /// How many bytes extents of each shard name.
    pub(super) fn named(&self) -> BTreeMap<ShardId, u64> {
        let mut named = BTreeMap::new();
        for extent in &self.extents {
            *named.entry(extent.shard).or_default() += u64::from(extent.length);
        }
        named
    }
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) partitions: u64,
    pub(super) extents: u64,
}

/// Everything that metadata says of the segments of a scope, and the faults of all of it.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) segments: BTreeMap<SegmentName, Known>,
    /// Segments without live bytes that somebody will look at all the same.
    pub(super) dying: BTreeSet<SegmentName>,
    /// Segments that lie in the store, and how long they are.
    pub(super) inline: BTreeMap<SegmentName, u64>,
    pub(super) faults: BTreeSet<Difference>,
    pub(super) writers: Writers,
    pub(super) names: BTreeMap<TopicNumber, TopicName>,
    /// The backup that was restored and not accepted yet.
    pub(super) restored: Option<String>,
    pub(super) counts: Counts,
}
