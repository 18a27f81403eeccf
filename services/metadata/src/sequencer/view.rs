//! What is durable of a shard, for readers: bounds and extents of each partition.

use std::collections::HashMap;

use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, OffsetAnswer, PartitionBounds};
use tidelog_types::{
    BucketId, GroupNumber, Offset, OffsetRange, SegmentName, Timestamp, TopicPartition,
};

/// An extent as it is kept in memory.
#[derive(Clone, Copy, Debug)]
struct Entry {
    base: u64,
    next: u64,
    segment: SegmentName,
    bucket: BucketId,
    position: u32,
    length: u32,
    crc32c: Option<u32>,
    max_timestamp: Timestamp,
    /// The largest timestamp up to and with this entry, so that a search by time can halve.
    max_timestamp_so_far: Timestamp,
}

impl Entry {
    fn to_extent(self) -> Extent {
        Extent {
            offsets: OffsetRange {
                base: Offset::new(self.base),
                next: Offset::new(self.next),
            },
            location: Location::Segment {
                bucket: self.bucket,
                segment: self.segment,
                position: self.position,
                length: self.length,
            },
            crc32c: self.crc32c,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionView {
    log_start: Offset,
    high_watermark: Offset,
    entries: Vec<Entry>,
}

impl PartitionView {
    /// The bounds. Without open transactions the last stable offset is the high watermark.
    pub(crate) const fn bounds(&self) -> PartitionBounds {
        PartitionBounds {
            log_start: self.log_start,
            last_stable: self.high_watermark,
            high_watermark: self.high_watermark,
        }
    }

    /// The extents from `offset` on, about `bytes_max` of them, at least one if there is one.
    pub(crate) fn extents(
        &self,
        offset: Offset,
        bytes_max: u64,
        extents_max: usize,
    ) -> Vec<Extent> {
        let first = self
            .entries
            .partition_point(|entry| entry.next <= offset.get());
        let mut bytes = 0_u64;
        let mut extents = Vec::new();
        for entry in &self.entries[first..] {
            if !extents.is_empty() && (bytes >= bytes_max || extents.len() >= extents_max) {
                break;
            }
            bytes += u64::from(entry.length);
            extents.push(entry.to_extent());
        }
        extents
    }

    /// The first extent in which a record of `time` or later can be.
    pub(crate) fn at_time(&self, time: Timestamp) -> OffsetAnswer {
        let live = self.live();
        let first = live.partition_point(|entry| entry.max_timestamp_so_far < time);
        live[first..]
            .iter()
            .find(|entry| entry.max_timestamp >= time)
            .map_or(OffsetAnswer::None, |entry| {
                OffsetAnswer::Within(entry.to_extent())
            })
    }

    /// The first extent with the largest timestamp.
    pub(crate) fn at_max_timestamp(&self) -> OffsetAnswer {
        let live = self.live();
        let Some(largest) = live.iter().map(|entry| entry.max_timestamp).max() else {
            return OffsetAnswer::None;
        };
        live.iter()
            .find(|entry| entry.max_timestamp == largest)
            .map_or(OffsetAnswer::None, |entry| {
                OffsetAnswer::Within(entry.to_extent())
            })
    }

    /// Entries that are not wholly below the log start.
    fn live(&self) -> &[Entry] {
        let first = self
            .entries
            .partition_point(|entry| entry.next <= self.log_start.get());
        &self.entries[first..]
    }

    fn append(&mut self, extent: &Extent) {
        let Location::Segment {
            bucket,
            segment,
            position,
            length,
        } = extent.location
        else {
            return;
        };
        let so_far = self
            .entries
            .last()
            .map_or(Timestamp::NONE, |last| last.max_timestamp_so_far);
        self.entries.push(Entry {
            base: extent.offsets.base.get(),
            next: extent.offsets.next.get(),
            segment,
            bucket,
            position,
            length,
            crc32c: extent.crc32c,
            max_timestamp: extent.max_timestamp,
            max_timestamp_so_far: so_far.max(extent.max_timestamp),
        });
        self.high_watermark = self.high_watermark.max(extent.offsets.next);
    }
}

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct ShardView {
    /// The last group whose effects are in the view.
    pub(crate) group: GroupNumber,
    partitions: HashMap<TopicPartition, PartitionView>,
}

impl ShardView {
    pub(crate) fn partition(&self, partition: TopicPartition) -> Option<&PartitionView> {
        self.partitions.get(&partition)
    }

    /// Adds an extent of a committed manifest.
    pub(crate) fn append(&mut self, partition: TopicPartition, extent: &Extent) {
        self.partitions.entry(partition).or_default().append(extent);
    }

    /// Sets bounds, which never go back.
    pub(crate) fn raise(
        &mut self,
        partition: TopicPartition,
        log_start: Offset,
        high_watermark: Offset,
    ) -> PartitionBounds {
        let view = self.partitions.entry(partition).or_default();
        view.log_start = view.log_start.max(log_start);
        view.high_watermark = view.high_watermark.max(high_watermark);
        view.bounds()
    }

    /// How many extents are held.
    pub(crate) fn extent_count(&self) -> usize {
        self.partitions
            .values()
            .map(|view| view.entries.len())
            .sum()
    }

    /// The partitions that have extents.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.keys().copied()
    }
}
