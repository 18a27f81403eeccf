//! Reads the footer of a merged segment. What each field adds to the lists takes bytes of the input, so they stay in
//! proportion to it.

use tidelog_types::limits::{MERGED_BYTES_MAX, MERGED_SLICES_MAX, TOPIC_PARTITIONS_MAX};
use tidelog_types::{
    Offset, OffsetRange, PartitionIndex, ShardId, Timestamp, TopicId, TopicName, TopicNumber,
    TopicPartition,
};

use super::{MergedExtent, MergedFooter, MergedSlice, MergedTopic};
use crate::segment::{HEADER_BYTES, SegmentError};
use crate::wire::{DecodeError, Reader};

impl MergedFooter {
    /// Reads a footer whose CRC is right.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        let mut reader = Reader::new(bytes);
        let shard = ShardId::new(reader.narrow("shard")?);
        let committed_at = Timestamp::from_millis(reader.zigzag()?);
        let topic_count = reader.varint()?;
        let mut topics = Vec::new();
        let mut place = Place {
            slice: 0,
            position: HEADER_BYTES,
        };
        for _ in 0..topic_count {
            topics.push(read_topic(&mut reader, &mut place)?);
        }
        let extension = reader.varint()?;
        reader.take(extension)?;
        reader.finish()?;
        Self::new(shard, committed_at, topics)
    }
}

/// Where the next slice or extent is.
struct Place {
    slice: u32,
    position: u32,
}

fn read_topic(reader: &mut Reader<'_>, place: &mut Place) -> Result<MergedTopic, SegmentError> {
    let id = TopicId::from_bytes(reader.array()?);
    let number = TopicNumber::new(reader.varint()?);
    let name_bytes = reader.varint()?;
    let name = std::str::from_utf8(reader.take(name_bytes)?).ok();
    let name = name.and_then(|name| TopicName::new(name).ok());
    let name = name.ok_or(SegmentError::TopicName { slice: place.slice })?;
    let partition_count = reader.narrow("partition count")?;
    if partition_count > TOPIC_PARTITIONS_MAX {
        return Err(range("partition count", u64::from(partition_count)));
    }
    let count = at_least_one(reader, "slice count")?;
    let mut slices = Vec::new();
    for _ in 0..count {
        let total = place.slice.saturating_add(1);
        if total > MERGED_SLICES_MAX {
            return Err(SegmentError::SliceCount(u64::from(total)));
        }
        slices.push(read_slice(reader, number, place)?);
        place.slice = total;
    }
    Ok(MergedTopic {
        id,
        number,
        name,
        partition_count,
        slices,
    })
}

fn read_slice(
    reader: &mut Reader<'_>,
    topic: TopicNumber,
    place: &mut Place,
) -> Result<MergedSlice, SegmentError> {
    let partition = PartitionIndex::new(reader.narrow("partition")?);
    let key_id = reader.narrow("key id")?;
    let batch_count = reader.narrow("batch count")?;
    let min = reader.zigzag()?;
    let mut base = read_offset(reader)?;
    let count = at_least_one(reader, "extent count")?;
    let position = place.position;
    let mut crc32c = 0;
    let mut extents = Vec::new();
    for _ in 0..count {
        let extent = read_extent(reader, place.position, base, min)?;
        // Both have been checked to stay in range.
        place.position += extent.length;
        base = extent.offsets.next;
        crc32c = tidelog_crc32c::combine(crc32c, extent.crc32c, u64::from(extent.length));
        extents.push(extent);
    }
    Ok(MergedSlice {
        partition: TopicPartition::new(topic, partition),
        position,
        length: place.position - position,
        crc32c,
        key_id,
        batch_count,
        min_timestamp: Timestamp::from_millis(min),
        extents,
    })
}

fn read_extent(
    reader: &mut Reader<'_>,
    position: u32,
    base: Offset,
    min: i64,
) -> Result<MergedExtent, SegmentError> {
    let length: u32 = reader.narrow("extent length")?;
    let end = u64::from(position) + u64::from(length);
    if end > u64::from(MERGED_BYTES_MAX) {
        return Err(range("extent end", end));
    }
    let crc32c = reader.u32()?;
    let count = reader.varint()?;
    let next = base.checked_add(count);
    let next = next.ok_or_else(|| range("extent offsets", count))?;
    let max = min.wrapping_add(reader.zigzag()?);
    Ok(MergedExtent {
        position,
        length,
        crc32c,
        offsets: OffsetRange { base, next },
        max_timestamp: Timestamp::from_millis(max),
    })
}

fn read_offset(reader: &mut Reader<'_>) -> Result<Offset, SegmentError> {
    let raw = reader.varint()?;
    if raw > Offset::MAX.get() {
        return Err(range("base offset", raw));
    }
    Ok(Offset::new(raw))
}

fn at_least_one(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, SegmentError> {
    match reader.varint()? {
        0 => Err(range(field, 0)),
        count => Ok(count),
    }
}

fn range(field: &'static str, value: u64) -> SegmentError {
    DecodeError::Range { field, value }.into()
}
