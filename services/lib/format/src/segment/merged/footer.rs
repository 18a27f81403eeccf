//! What a merged segment says of itself.

use tidelog_types::limits::{MERGED_BYTES_MAX, MERGED_SLICES_MAX};
use tidelog_types::{
    Offset, OffsetRange, ShardId, Timestamp, TopicId, TopicName, TopicNumber, TopicPartition,
};

use crate::batch;
use crate::segment::{HEADER_BYTES, SegmentError, Trailer};

/// Which offsets of which partition each byte between header and footer belongs to. Slices are contiguous and in the
/// order of topic id and partition, and so are the extents of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedFooter {
    /// The shard of all partitions.
    pub shard: ShardId,
    /// When the last of what was merged was committed.
    pub committed_at: Timestamp,
    topics: Vec<MergedTopic>,
}

/// A topic in a merged segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedTopic {
    /// The topic, by the name that is never reused.
    pub id: TopicId,
    /// Its number.
    pub number: TopicNumber,
    /// Its name when the segment was made.
    pub name: TopicName,
    /// How many partitions it had then.
    pub partition_count: u32,
    /// Its slices, ascending by partition; at least one.
    pub slices: Vec<MergedSlice>,
}

/// The bytes of one partition in a merged segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedSlice {
    /// The partition.
    pub partition: TopicPartition,
    /// The first byte in the segment.
    pub position: u32,
    /// How many bytes.
    pub length: u32,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    /// The key that they are encrypted with; 0: not encrypted.
    pub key_id: u32,
    /// How many batches.
    pub batch_count: u32,
    /// The smallest timestamp that a batch header states.
    pub min_timestamp: Timestamp,
    /// Its extents; at least one. Each begins where the one before ends, in bytes and in offsets.
    pub extents: Vec<MergedExtent>,
}

/// A run of whole batches, which carry their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedExtent {
    /// The first byte in the segment.
    pub position: u32,
    /// How many bytes.
    pub length: u32,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    /// The offsets. There may be gaps between those of the batches.
    pub offsets: OffsetRange,
    /// The largest timestamp that a batch header states.
    pub max_timestamp: Timestamp,
}

impl MergedFooter {
    /// Indexes slices that begin behind the header; order, lengths and counts are checked.
    pub(super) fn new(
        shard: ShardId,
        committed_at: Timestamp,
        topics: Vec<MergedTopic>,
    ) -> Result<Self, SegmentError> {
        let count = topics.iter().map(|topic| topic.slices.len() as u64).sum();
        if count == 0 || count > u64::from(MERGED_SLICES_MAX) {
            return Err(SegmentError::SliceCount(count));
        }
        let mut index = 0;
        let mut topic_before = None;
        for topic in &topics {
            if topic_before >= Some(topic.id) {
                return Err(SegmentError::Order { slice: index });
            }
            topic_before = Some(topic.id);
            let mut before = None;
            for slice in &topic.slices {
                check_fields(index, topic, slice)?;
                if before >= Some(slice.partition.partition) {
                    return Err(SegmentError::Order { slice: index });
                }
                before = Some(slice.partition.partition);
                index += 1;
            }
        }
        Ok(Self {
            shard,
            committed_at,
            topics,
        })
    }

    /// The topics, ascending by id.
    pub fn topics(&self) -> &[MergedTopic] {
        &self.topics
    }

    /// The slices in the order of their bytes, each with its topic.
    pub fn slices(&self) -> impl Iterator<Item = (&MergedTopic, &MergedSlice)> {
        self.topics
            .iter()
            .flat_map(|topic| topic.slices.iter().map(move |slice| (topic, slice)))
    }

    /// Where the last slice ends, which is where the footer begins.
    pub fn slices_end(&self) -> u64 {
        let last = self.topics.last().and_then(|topic| topic.slices.last());
        last.map_or(u64::from(HEADER_BYTES), MergedSlice::end)
    }

    /// Checks the CRC of a footer and reads it; the slices must end where the trailer says that the footer begins.
    pub fn decode(bytes: &[u8], trailer: &Trailer) -> Result<Self, SegmentError> {
        trailer.check_footer(bytes)?;
        let footer = Self::read(bytes)?;
        trailer.check_layout(footer.slices_end())?;
        Ok(footer)
    }
}

impl MergedSlice {
    /// The position behind the last byte.
    pub fn end(&self) -> u64 {
        u64::from(self.position) + u64::from(self.length)
    }

    /// The offsets of all its extents.
    pub fn offsets(&self) -> OffsetRange {
        let first = self.extents.first().map(|extent| extent.offsets.base);
        let last = self.extents.last().map(|extent| extent.offsets.next);
        OffsetRange {
            base: first.unwrap_or(Offset::ZERO),
            next: last.unwrap_or(Offset::ZERO),
        }
    }

    /// The largest timestamp that a batch header states.
    pub fn max_timestamp(&self) -> Timestamp {
        let times = self.extents.iter().map(|extent| extent.max_timestamp);
        times.max().unwrap_or_default()
    }
}

fn check_fields(index: u32, topic: &MergedTopic, slice: &MergedSlice) -> Result<(), SegmentError> {
    let length = u64::from(slice.length);
    let batch_count = u64::from(slice.batch_count);
    let extent_count = slice.extents.len() as u64;
    let partition = slice.partition.partition.get();
    let header_bytes = batch::HEADER_BYTES as u64;
    let rules = [
        (
            "end",
            slice.end(),
            slice.end() > u64::from(MERGED_BYTES_MAX),
        ),
        ("key id", u64::from(slice.key_id), slice.key_id != 0),
        ("extent count", extent_count, extent_count == 0),
        (
            "partition",
            u64::from(partition),
            partition >= topic.partition_count,
        ),
        (
            "batch count",
            batch_count,
            batch_count < extent_count || batch_count > length / header_bytes,
        ),
    ];
    let broken_extent = slice.extents.iter().find_map(|extent| {
        let (length, offsets) = (u64::from(extent.length), extent.offsets.count());
        let short = (length < header_bytes).then_some(("extent length", length));
        short.or((offsets == 0).then_some(("extent offsets", offsets)))
    });
    let broken = rules.into_iter().find(|(_, _, broken)| *broken);
    let broken = broken.map(|(field, value, _)| (field, value));
    match broken.or(broken_extent) {
        None => Ok(()),
        Some((field, value)) => Err(SegmentError::Slice {
            slice: index,
            field,
            value,
        }),
    }
}
