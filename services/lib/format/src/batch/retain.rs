//! What compaction leaves of a batch: `docs/format/record-batch.md`, "After compaction".

use std::io;

use bytes::Bytes;
use thiserror::Error;
use tidelog_types::{Offset, Timestamp};

use super::compress::compress;
use super::header::{ATTRIBUTES_AT, HEADER_BYTES, LENGTH_OVERHEAD, TimestampType};
use super::records::Raw;
use super::{
    Attributes, BatchHeader, BatchView, Compression, DecodeLimit, Record, RecordError, patched_head,
};

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// Every record: the batch stays byte for byte.
    All,
    /// Some records, or all of them with a time until which tombstones stay: this batch takes the place of the one
    /// before. It has the same offsets.
    Some(Bytes),
    /// No record.
    None,
}

/// Why a batch cannot be compacted.
#[derive(Debug, Error)]
pub enum RetainError {
    /// Its records cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is left of it cannot be compressed.
    #[error("what is left of a batch cannot be compressed with `{codec}`")]
    Compress {
        /// The codec.
        codec: Compression,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// What is left of it is larger than a batch can be.
    #[error("what is left of a batch has more than `{}` bytes", i32::MAX)]
    TooLarge,
}

impl BatchView {
    /// Leaves out records. Those that stay keep their bytes, offset and timestamp, and the batch its codec, its producer
    /// and its offsets. `horizon` is the time until which tombstones of the batch stay, for a batch that has some left
    /// and says none yet: as in Kafka, it takes the place of the base timestamp.
    pub fn retain(
        &self,
        base_offset: Offset,
        limit: DecodeLimit,
        horizon: Option<Timestamp>,
        mut keep: impl FnMut(&Record) -> bool,
    ) -> Result<Retained, RetainError> {
        let header = self.header();
        let mut records = self.records(base_offset, limit)?;
        let mut kept: Vec<Raw> = Vec::new();
        let (mut first, mut max) = (None, Timestamp::NONE);
        let (mut is_all, mut has_tombstones) = (true, false);
        while let Some(record) = records.next_raw() {
            let (record, raw) = record?;
            if keep(&record) {
                has_tombstones |= record.key.is_some() && record.value.is_none();
                first.get_or_insert(record.timestamp);
                max = max.max(record.timestamp);
                kept.push(raw);
            } else {
                is_all = false;
            }
        }
        let horizon = horizon.filter(|_| has_tombstones && !header.attributes.has_delete_horizon());
        if is_all && horizon.is_none() {
            return Ok(Retained::All);
        }
        if kept.is_empty() {
            return Ok(Retained::None);
        }
        let is_created = header.attributes.timestamp_type() == TimestampType::CreateTime;
        let keeps_base = header.attributes.has_delete_horizon() || !is_created;
        let first = first.filter(|_| !keeps_base);
        let base = horizon.or(first).unwrap_or(header.base_timestamp);
        let shift = header
            .base_timestamp
            .as_millis()
            .wrapping_sub(base.as_millis());
        let mut body = Vec::with_capacity(kept.iter().map(|raw| raw.bytes.len() + 10).sum());
        for raw in &kept {
            raw.put_shifted(shift, &mut body);
        }
        let mut attributes = header.attributes;
        if horizon.is_some() {
            attributes = attributes.delete_horizon();
        }
        let max_timestamp = if is_created {
            max
        } else {
            header.max_timestamp
        };
        let rebuilt = BatchHeader {
            attributes,
            base_timestamp: base,
            max_timestamp,
            record_count: i32::try_from(kept.len()).unwrap_or(i32::MAX),
            ..*header
        };
        finish(rebuilt, base_offset, &body).map(Retained::Some)
    }
}

fn finish(header: BatchHeader, base_offset: Offset, body: &[u8]) -> Result<Bytes, RetainError> {
    let codec = header.attributes.compression().unwrap_or_default();
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.resize(HEADER_BYTES, 0);
    compress(codec, body, &mut out).map_err(|source| RetainError::Compress { codec, source })?;
    let size = i32::try_from(out.len()).map_err(|_| RetainError::TooLarge)?;
    let batch_length = size.cast_unsigned() - LENGTH_OVERHEAD;
    Ok(sealed(
        BatchHeader {
            batch_length,
            ..header
        },
        base_offset,
        out,
    ))
}

/// Writes the header over the front of a batch, with its CRC.
fn sealed(header: BatchHeader, base_offset: Offset, mut out: Vec<u8>) -> Bytes {
    out[..HEADER_BYTES].copy_from_slice(&patched_head(&header, base_offset));
    let crc = tidelog_crc32c::crc32c(&out[ATTRIBUTES_AT..]);
    out[..HEADER_BYTES].copy_from_slice(&patched_head(&BatchHeader { crc, ..header }, base_offset));
    out.into()
}

/// A batch without records that takes `count` offsets, of which compaction has left nothing: with it the batches of an
/// extent follow each other without a gap, so that one that is missing is still seen (invariant I6). Kafka's clients
/// pass over such batches, since Kafka leaves them too.
pub fn gap_batch(base_offset: Offset, count: u32) -> Bytes {
    let header = BatchHeader {
        batch_length: HEADER_LENGTH,
        attributes: Attributes::new(Compression::None),
        last_offset_delta: count.clamp(1, GAP_OFFSETS_MAX).cast_signed() - 1,
        base_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp::NONE,
        base_sequence: -1,
        producer_id: tidelog_types::ProducerId::NONE,
        producer_epoch: tidelog_types::ProducerEpoch::NONE,
        ..BatchHeader::default()
    };
    sealed(header, base_offset, vec![0; HEADER_BYTES])
}

/// Offsets that one batch without records takes at most.
pub const GAP_OFFSETS_MAX: u32 = i32::MAX.cast_unsigned();
/// The length field of a batch without records.
const HEADER_LENGTH: u32 = 49;
