//! What arrives at once, and the records in it.

use std::iter::FusedIterator;

use bytes::Bytes;
use thiserror::Error;
use tidelog_format::batch::{
    BatchError, BatchView, BatchViews, DecodeLimit, Record, RecordError, Records,
};
use tidelog_types::{Offset, OffsetRange};

/// Whole record batches of one partition. They are decoded where [`Chunk::records`] is iterated, on the
/// caller's thread and without copies.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The partition.
    pub partition: u32,
    /// The offsets that this chunk covers: no record outside is handed out. Offsets without a record belonged to
    /// markers of transactions or to aborted ones, or were removed by compaction.
    pub offsets: OffsetRange,
    /// The offset that the next record of the partition will get, as far as the service knew.
    pub high_watermark: Offset,
    pub(crate) batches: Bytes,
    pub(crate) limit: DecodeLimit,
}

/// Why a chunk cannot be decoded. The bytes were damaged on the way, or written by a broken client.
#[derive(Debug, Error)]
pub enum ChunkError {
    /// A batch is broken.
    #[error("a record batch cannot be read")]
    Batch(#[from] BatchError),
    /// The records of a batch are broken.
    #[error("the records of a batch cannot be read")]
    Record(#[from] RecordError),
}

impl Chunk {
    /// The bytes of the batches, for those who pass them on or decode them by themselves. The first batch
    /// may begin before [`Chunk::offsets`].
    pub const fn batches(&self) -> &Bytes {
        &self.batches
    }

    /// The records in the order of their offsets. After an error it ends.
    pub fn records(&self) -> ChunkRecords {
        ChunkRecords {
            batches: BatchView::all(self.batches.clone()),
            current: None,
            offsets: self.offsets,
            limit: self.limit,
            failed: false,
        }
    }
}

/// Iterates over the records of a chunk, see [`Chunk::records`].
#[derive(Clone, Debug)]
pub struct ChunkRecords {
    batches: BatchViews,
    current: Option<Records>,
    offsets: OffsetRange,
    limit: DecodeLimit,
    failed: bool,
}

impl ChunkRecords {
    /// The records of the next batch that has any for us; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<Records>, ChunkError> {
        for view in self.batches.by_ref() {
            let view = view?;
            let header = view.header();
            let base = Offset::from_i64(header.base_offset).unwrap_or_default();
            let next = base
                .checked_add(u64::from(header.offset_count()))
                .unwrap_or(Offset::MAX);
            // No service sends control batches now, but older ones may.
            if header.attributes.is_control() || next <= self.offsets.base {
                continue;
            }
            view.check_crc()?;
            return Ok(Some(view.records(base, self.limit)?));
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<Option<Record>, ChunkError> {
        loop {
            if let Some(records) = &mut self.current {
                for record in records {
                    let record = record?;
                    if self.offsets.contains(record.offset) {
                        return Ok(Some(record));
                    }
                }
            }
            self.current = self.next_batch()?;
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Iterator for ChunkRecords {
    type Item = Result<Record, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance().transpose();
        self.failed = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for ChunkRecords {}
