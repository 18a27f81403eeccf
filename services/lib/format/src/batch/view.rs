//! A batch whose frame is whole.

use bytes::Bytes;

use super::decompress::decompress;
use super::header::{ATTRIBUTES_AT, BatchHeader, HEADER_BYTES};
use super::patch::patched_head;
use super::{BatchBuf, BatchError, BatchRules, DecodeLimit, RecordError, Records};
use tidelog_types::Offset;

/// A batch with a whole frame: a header and as many bytes as it states. Neither its other fields nor
/// its CRC have been checked; that is enough for bytes of a slice whose CRC has been.
#[derive(Clone, Debug)]
pub struct BatchView {
    header: BatchHeader,
    bytes: Bytes,
}

impl BatchView {
    /// Takes the batch at the front of `bytes`; answers it and the rest. Nothing is copied.
    pub fn split(mut bytes: Bytes) -> Result<(Self, Bytes), BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let size = header.size() as usize;
        if size > bytes.len() {
            let remaining = bytes.len() as u64;
            return Err(BatchError::Truncated {
                needed: u64::from(header.size()),
                remaining,
            });
        }
        let rest = bytes.split_off(size);
        Ok((Self { header, bytes }, rest))
    }

    /// Iterates over batches that stand one behind the other. After an error it ends.
    pub const fn all(bytes: Bytes) -> BatchViews {
        BatchViews { rest: bytes }
    }

    /// The header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All bytes of the batch.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes behind the header.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Hashes the batch and compares with its header.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        compare_crc(&self.header, &self.bytes)
    }

    /// Applies all checks, the CRC last.
    pub fn check(self, rules: &BatchRules) -> Result<BatchBuf, BatchError> {
        let compression = rules.check(&self.header)?;
        self.check_crc()?;
        Ok(BatchBuf::checked(self.header, compression, self.bytes))
    }

    /// The batch as it is read at `base_offset`: a new header and the records, which are not copied.
    pub fn at_offset(&self, base_offset: Offset) -> (Bytes, Bytes) {
        (
            Bytes::copy_from_slice(&patched_head(&self.header, base_offset)),
            self.body(),
        )
    }

    /// Iterates over the records, whose offsets count from `base_offset`.
    pub fn records(&self, base_offset: Offset, limit: DecodeLimit) -> Result<Records, RecordError> {
        let number = (self.header.attributes.bits() & 0b111) as u8;
        let compression = self
            .header
            .attributes
            .compression()
            .ok_or(RecordError::Codec(number))?;
        let body = decompress(compression, self.body(), limit)?;
        Ok(Records::new(&self.header, base_offset, body))
    }
}

/// Hashes the batch at the front of `bytes` and compares with its header. Answers its size.
pub(crate) fn check_crc(bytes: &[u8]) -> Result<usize, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let size = header.size() as usize;
    let remaining = bytes.len() as u64;
    let batch = bytes.get(..size).ok_or(BatchError::Truncated {
        needed: u64::from(header.size()),
        remaining,
    })?;
    compare_crc(&header, batch)?;
    Ok(size)
}

fn compare_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let stored = header.crc;
    let computed = tidelog_crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    if stored == computed {
        Ok(())
    } else {
        Err(BatchError::Crc { stored, computed })
    }
}

/// Batches one behind the other, see [`BatchView::all`].
#[derive(Clone, Debug)]
pub struct BatchViews {
    rest: Bytes,
}

impl Iterator for BatchViews {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(
            BatchView::split(std::mem::take(&mut self.rest)).map(|(view, rest)| {
                self.rest = rest;
                view
            }),
        )
    }
}
