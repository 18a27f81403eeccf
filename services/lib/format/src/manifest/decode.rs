//! Reading a manifest.

use smallvec::SmallVec;
use tidelog_types::limits::SEGMENT_SLICES_MAX;
use tidelog_types::{
    BucketId, Incarnation, PartitionIndex, ProducerEpoch, ProducerId, SegmentName, SegmentSequence,
    ShardId, Timestamp, TopicNumber, TopicPartition,
};

use super::encode::{
    FEATURE_IN_STORE, FLAG_CONTINUES, FLAG_CONTROL, FLAG_IDEMPOTENT, FLAG_TRANSACTIONAL,
    FLAGS_KNOWN, VERSION, check_slice,
};
use super::{BatchEntry, Manifest, ManifestError, SliceEntry};
use crate::Features;
use crate::wire::{DecodeError, Reader, split_crc};

impl Manifest {
    /// Reads the stored form; all of `bytes` must be it. What comes back satisfies
    /// [`Manifest::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let version = Reader::new(bytes).u8()?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        let (covered, stored, computed) = split_crc(bytes)?;
        if stored != computed {
            return Err(ManifestError::Crc { stored, computed });
        }
        let mut reader = Reader::new(covered);
        reader.u8()?;
        let required: u32 = reader.narrow("required features")?;
        let ignorable = reader.narrow("ignorable features")?;
        Features {
            required: required & !FEATURE_IN_STORE,
            ignorable,
        }
        .check()?;
        let incarnation = Incarnation::new(reader.varint()?);
        let sequence = SegmentSequence::new(reader.varint()?);
        let bucket = BucketId::new(reader.narrow("bucket")?);
        if bucket.is_store() != (required & FEATURE_IN_STORE != 0) {
            return Err(ManifestError::Bucket(bucket));
        }
        let shard = ShardId::new(reader.narrow("shard")?);
        let slices = read_slices(&mut reader)?;
        let extension = reader.varint()?;
        reader.take(extension)?;
        reader.finish()?;
        Ok(Self {
            segment: SegmentName::new(incarnation, sequence),
            bucket,
            shard,
            slices,
        })
    }
}

fn read_slices(reader: &mut Reader<'_>) -> Result<Vec<SliceEntry>, ManifestError> {
    let count = reader.varint()?;
    if count == 0 || count > u64::from(SEGMENT_SLICES_MAX) {
        return Err(ManifestError::SliceCount(count));
    }
    let mut slices = Vec::new();
    let mut end = 0_u64;
    for index in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        let slice = read_slice(reader, index, end)?;
        end = check_slice(index, &slice, end)?;
        slices.push(slice);
    }
    Ok(slices)
}

fn read_slice(
    reader: &mut Reader<'_>,
    index: u32,
    end_before: u64,
) -> Result<SliceEntry, ManifestError> {
    let topic = TopicNumber::new(reader.varint()?);
    let partition = PartitionIndex::new(reader.narrow("partition")?);
    let gap = reader.varint()?;
    let crc32c = reader.u32()?;
    let count = reader.varint()?;
    let position = end_before.saturating_add(gap);
    let out_of_range = ManifestError::SlicePosition {
        slice: index,
        position,
    };
    let mut batches = SmallVec::new();
    let mut sum = 0_u64;
    for _ in 0..count {
        let batch = read_batch(reader, batches.last())?;
        sum += u64::from(batch.length);
        batches.push(batch);
    }
    Ok(SliceEntry {
        partition: TopicPartition::new(topic, partition),
        position: u32::try_from(position).map_err(|_| out_of_range)?,
        length: u32::try_from(sum).map_err(|_| out_of_range)?,
        crc32c,
        batches,
    })
}

fn read_batch(
    reader: &mut Reader<'_>,
    before: Option<&BatchEntry>,
) -> Result<BatchEntry, ManifestError> {
    let flags = reader.u8()?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(ManifestError::Flags(flags));
    }
    let length = reader.narrow("length")?;
    let record_count: u32 = reader.narrow("record count")?;
    let producer = read_producer(reader, flags, before)?;
    let min_before = before.map_or(0, |before| before.min_timestamp.as_millis());
    let min = min_before.wrapping_add(reader.zigzag()?);
    let max = min.wrapping_add(reader.zigzag()?);
    let tail: u32 = reader.narrow("tail")?;
    let last = record_count.checked_sub(1);
    let max_timestamp_offset_delta =
        last.and_then(|last| last.checked_sub(tail))
            .ok_or(DecodeError::Range {
                field: "tail",
                value: u64::from(tail),
            })?;
    Ok(BatchEntry {
        length,
        record_count,
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: producer.2,
        min_timestamp: Timestamp::from_millis(min),
        max_timestamp: Timestamp::from_millis(max),
        max_timestamp_offset_delta,
        transactional: flags & FLAG_TRANSACTIONAL != 0,
        control: flags & FLAG_CONTROL != 0,
    })
}

fn read_producer(
    reader: &mut Reader<'_>,
    flags: u8,
    before: Option<&BatchEntry>,
) -> Result<(ProducerId, ProducerEpoch, i32), ManifestError> {
    let idempotent = flags & FLAG_IDEMPOTENT != 0;
    let continues = flags & FLAG_CONTINUES != 0;
    match (idempotent, continues, before) {
        (false, false, _) => Ok((ProducerId::NONE, ProducerEpoch::NONE, -1)),
        (true, true, Some(before)) if before.producer_id.is_idempotent() => Ok((
            before.producer_id,
            before.producer_epoch,
            before.next_sequence(),
        )),
        (true, false, _) => {
            let id: i64 = reader.narrow("producer id")?;
            let epoch: i16 = reader.narrow("producer epoch")?;
            let next: u32 = reader.narrow("base sequence")?;
            let sequence = i32::try_from(i64::from(next) - 1).map_err(|_| DecodeError::Range {
                field: "base sequence",
                value: u64::from(next),
            })?;
            Ok((ProducerId::new(id), ProducerEpoch::new(epoch), sequence))
        }
        (_, true, _) => Err(ManifestError::Flags(flags)),
    }
}
