//! What metadata says of segments and partitions.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_types::{BucketId, SegmentName, ShardId, TopicName, TopicNumber};

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
    /// Where it lies, by its extents: in one bucket, or something is wrong with them.
    pub(super) buckets: BTreeSet<BucketId>,
    pub(super) extents: Vec<Named>,
}

impl Known {
    /// Whether an object in a bucket may be the one that is meant.
    pub(super) fn is_in(&self, bucket: BucketId) -> bool {
        self.extents.is_empty() || self.buckets.iter().all(|told| *told == bucket)
    }

    /// Whether its extents say that it lies in the store, and not in a bucket.
    pub(super) fn is_in_store(&self) -> bool {
        self.buckets.iter().any(|bucket| bucket.is_store())
    }

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

#[cfg(test)]
mod tests {
    use tidelog_types::{Offset, OffsetRange, PartitionIndex, TopicPartition};

    use super::*;

    #[test]
    fn a_segment_lies_in_the_one_bucket_that_its_extents_say() {
        let [here, there] = [0, 1].map(BucketId::new);
        let mut known = Known::default();
        assert!(known.is_in(here) && known.is_in(there), "its name says all");
        let partition = TopicPartition::new(TopicNumber::new(1), PartitionIndex::new(0));
        let offsets = OffsetRange {
            base: Offset::ZERO,
            next: Offset::new(1),
        };
        known.extents.push(Named {
            part: Part { partition, offsets },
            shard: ShardId::new(0),
            position: 40,
            length: 61,
            crc32c: None,
        });
        known.buckets.insert(there);
        assert!(known.is_in(there) && !known.is_in(here));
        // Some of them do not find it wherever it is.
        known.buckets.insert(here);
        assert!(!known.is_in(there) && !known.is_in(here));
    }
}
