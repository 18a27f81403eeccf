//! The index of the slices.

use tidelog_types::limits::SEGMENT_SLICES_MAX;
use tidelog_types::{PartitionIndex, ShardId, Timestamp, TopicId, TopicNumber, TopicPartition};

use super::{HEADER_BYTES, SegmentError, Trailer};
use crate::batch;
use crate::wire::{DecodeError, Reader, put_varint, put_zigzag};

/// Which partition each byte between header and footer belongs to. The slices are contiguous and in
/// the order of topic id and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    slices: Vec<FooterSlice>,
}

/// The bytes of one partition in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterSlice {
    /// The topic, by the name that is never reused.
    pub topic_id: TopicId,
    /// The partition, by the number of its topic.
    pub partition: TopicPartition,
    /// The shard whose manifest the slice was in.
    pub shard: ShardId,
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
    /// How many offsets they take.
    pub record_count: u64,
    /// The smallest timestamp that a batch header states.
    pub min_timestamp: Timestamp,
    /// The largest timestamp that a batch header states.
    pub max_timestamp: Timestamp,
}

impl Footer {
    /// Indexes slices that begin behind the header; their order and lengths are checked.
    pub(super) fn new(slices: Vec<FooterSlice>) -> Result<Self, SegmentError> {
        let count = slices.len() as u64;
        if count == 0 || count > u64::from(SEGMENT_SLICES_MAX) {
            return Err(SegmentError::SliceCount(count));
        }
        for (index, slice) in (0_u32..).zip(&slices) {
            check_fields(index, slice)?;
        }
        for (index, pair) in (1_u32..).zip(slices.windows(2)) {
            if let [before, behind] = pair
                && order(before) >= order(behind)
            {
                return Err(SegmentError::Order { slice: index });
            }
        }
        Ok(Self { slices })
    }

    /// The slices in the order of their bytes.
    pub fn slices(&self) -> &[FooterSlice] {
        &self.slices
    }

    /// The slice of a partition, with its number.
    pub fn find(&self, topic: TopicId, partition: PartitionIndex) -> Option<(u32, &FooterSlice)> {
        let wanted = (topic, partition);
        let index = self.slices.binary_search_by_key(&wanted, order).ok()?;
        Some((u32::try_from(index).ok()?, self.slices.get(index)?))
    }

    /// The slice that a byte of the segment belongs to, with its number.
    pub fn find_position(&self, position: u32) -> Option<(u32, &FooterSlice)> {
        let behind = self
            .slices
            .partition_point(|slice| slice.position <= position);
        let index = behind.checked_sub(1)?;
        let slice = self.slices.get(index)?;
        let inside = position - slice.position < slice.length;
        inside.then_some((u32::try_from(index).ok()?, slice))
    }

    /// Where the last slice ends, which is where the footer begins.
    pub fn slices_end(&self) -> u64 {
        self.slices
            .last()
            .map_or(u64::from(HEADER_BYTES), FooterSlice::end)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.slices.len() * 40);
        let topics = || self.slices.chunk_by(|a, b| a.topic_id == b.topic_id);
        put_varint(&mut out, topics().count() as u64);
        for slices in topics() {
            let Some(first) = slices.first() else {
                continue;
            };
            out.extend_from_slice(&first.topic_id.to_bytes());
            put_varint(&mut out, first.partition.topic.get());
            put_varint(&mut out, slices.len() as u64);
            for slice in slices {
                put_slice(&mut out, slice);
            }
        }
        // No ignorable feature writes an extension yet.
        put_varint(&mut out, 0);
        out
    }

    /// Checks the CRC of a footer and reads it; the slices must end where the trailer says that the
    /// footer begins.
    pub fn decode(bytes: &[u8], trailer: &Trailer) -> Result<Self, SegmentError> {
        trailer.check_footer(bytes)?;
        let footer = Self::read(bytes)?;
        trailer.check_layout(footer.slices_end())?;
        Ok(footer)
    }

    /// Reads a footer whose CRC is right.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        let mut reader = Reader::new(bytes);
        let topic_count = reader.varint()?;
        let mut slices = Vec::new();
        for _ in 0..topic_count {
            read_topic(&mut reader, &mut slices)?;
        }
        let extension = reader.varint()?;
        reader.take(extension)?;
        reader.finish()?;
        Self::new(slices)
    }
}

impl FooterSlice {
    /// The position behind the last byte.
    pub fn end(&self) -> u64 {
        u64::from(self.position) + u64::from(self.length)
    }
}

const fn order(slice: &FooterSlice) -> (TopicId, PartitionIndex) {
    (slice.topic_id, slice.partition.partition)
}

fn put_slice(out: &mut Vec<u8>, slice: &FooterSlice) {
    put_varint(out, u64::from(slice.partition.partition.get()));
    put_varint(out, u64::from(slice.shard.get()));
    put_varint(out, u64::from(slice.length));
    out.extend_from_slice(&slice.crc32c.to_be_bytes());
    put_varint(out, u64::from(slice.key_id));
    put_varint(out, u64::from(slice.batch_count));
    put_varint(out, slice.record_count);
    let (min, max) = (
        slice.min_timestamp.as_millis(),
        slice.max_timestamp.as_millis(),
    );
    put_zigzag(out, min);
    put_zigzag(out, max.wrapping_sub(min));
}

fn read_topic(reader: &mut Reader<'_>, slices: &mut Vec<FooterSlice>) -> Result<(), SegmentError> {
    let topic_id = TopicId::from_bytes(reader.array()?);
    let topic = TopicNumber::new(reader.varint()?);
    let count = reader.varint()?;
    if count == 0 {
        return Err(DecodeError::Range {
            field: "slice count",
            value: count,
        }
        .into());
    }
    for _ in 0..count {
        let total = slices.len() as u64 + 1;
        if total > u64::from(SEGMENT_SLICES_MAX) {
            return Err(SegmentError::SliceCount(total));
        }
        let position = slices
            .last()
            .map_or(u64::from(HEADER_BYTES), FooterSlice::end);
        let position = u32::try_from(position).map_err(|_| DecodeError::Range {
            field: "position",
            value: position,
        })?;
        slices.push(read_slice(reader, topic_id, topic, position)?);
    }
    Ok(())
}

fn read_slice(
    reader: &mut Reader<'_>,
    topic_id: TopicId,
    topic: TopicNumber,
    position: u32,
) -> Result<FooterSlice, SegmentError> {
    let partition = PartitionIndex::new(reader.narrow("partition")?);
    let shard = ShardId::new(reader.narrow("shard")?);
    let length = reader.narrow("length")?;
    let crc32c = reader.u32()?;
    let key_id = reader.narrow("key id")?;
    let batch_count = reader.narrow("batch count")?;
    let record_count = reader.varint()?;
    let min = reader.zigzag()?;
    let max = min.wrapping_add(reader.zigzag()?);
    Ok(FooterSlice {
        topic_id,
        partition: TopicPartition::new(topic, partition),
        shard,
        position,
        length,
        crc32c,
        key_id,
        batch_count,
        record_count,
        min_timestamp: Timestamp::from_millis(min),
        max_timestamp: Timestamp::from_millis(max),
    })
}

fn check_fields(index: u32, slice: &FooterSlice) -> Result<(), SegmentError> {
    let batch_count = u64::from(slice.batch_count);
    let batches_max = u64::from(slice.length) / batch::HEADER_BYTES as u64;
    let rules = [
        (
            "length",
            u64::from(slice.length),
            (slice.length as usize) < batch::HEADER_BYTES,
        ),
        ("end", slice.end(), slice.end() > u64::from(u32::MAX)),
        ("key id", u64::from(slice.key_id), slice.key_id != 0),
        (
            "batch count",
            batch_count,
            batch_count == 0 || batch_count > batches_max,
        ),
        (
            "record count",
            slice.record_count,
            slice.record_count < batch_count,
        ),
    ];
    match rules.into_iter().find(|(_, _, broken)| *broken) {
        None => Ok(()),
        Some((field, value, _)) => Err(SegmentError::Slice {
            slice: index,
            field,
            value,
        }),
    }
}
