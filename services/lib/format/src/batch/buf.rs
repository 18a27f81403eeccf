//! A batch that has passed all checks.

use bytes::Bytes;
use tidelog_types::{Offset, Timestamp};

use super::decompress::decompress;
use super::header::{ATTRIBUTES_AT, BatchHeader, Compression, HEADER_BYTES};
use super::patch::stamped;
use super::{BatchError, BatchRules, BatchView, DecodeLimit, RecordError, Records};

/// A batch that has passed all checks, its CRC among them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchBuf {
    header: BatchHeader,
    compression: Compression,
    /// The header if it is not the one in `bytes`.
    head: Option<Bytes>,
    bytes: Bytes,
}

impl BatchBuf {
    /// Takes the batch at the front of `bytes`, checks it, and answers it with the rest. The size is
    /// checked before the records are hashed. Nothing is copied.
    pub fn parse(bytes: Bytes, rules: &BatchRules) -> Result<(Self, Bytes), BatchError> {
        let (view, rest) = BatchView::split(bytes)?;
        Ok((view.check(rules)?, rest))
    }

    /// Iterates over batches that stand one behind the other, each checked. After an error it ends.
    pub const fn parse_all(bytes: Bytes, rules: BatchRules) -> Batches {
        Batches { rest: bytes, rules }
    }

    /// Wraps what has been checked.
    pub(super) const fn checked(
        header: BatchHeader,
        compression: Compression,
        bytes: Bytes,
    ) -> Self {
        Self {
            header,
            compression,
            head: None,
            bytes,
        }
    }

    /// The header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The codec.
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// The bytes of the whole batch; at least 61.
    pub const fn size(&self) -> u32 {
        self.header.size()
    }

    /// How many records it has.
    pub const fn record_count(&self) -> u32 {
        if self.header.record_count < 0 {
            0
        } else {
            self.header.record_count.cast_unsigned()
        }
    }

    /// The same batch with log append time, its CRC renewed by combination: neither copied nor hashed.
    #[must_use]
    pub fn with_log_append_time(self, time: Timestamp) -> Self {
        let header = stamped(&self.header, time);
        Self {
            header,
            head: Some(Bytes::copy_from_slice(&header.encode())),
            ..self
        }
    }

    /// The bytes of the batch in one or two pieces; nothing is copied.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + use<> {
        let (first, second) = match &self.head {
            None => (self.bytes.clone(), None),
            Some(head) => (head.clone(), Some(self.body())),
        };
        std::iter::once(first).chain(second)
    }

    /// The bytes behind the header.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// The bytes of the batch in one piece; copied only after [`BatchBuf::with_log_append_time`].
    pub fn to_bytes(&self) -> Bytes {
        match &self.head {
            None => self.bytes.clone(),
            Some(head) => [head.as_ref(), &self.bytes[HEADER_BYTES..]].concat().into(),
        }
    }

    /// CRC-32C of all bytes of the batch, from the one in its header: the records are not hashed.
    pub fn whole_crc32c(&self) -> u32 {
        let front = tidelog_crc32c::crc32c(&self.header.encode()[..ATTRIBUTES_AT]);
        let covered = u64::from(self.size()).saturating_sub(ATTRIBUTES_AT as u64);
        tidelog_crc32c::combine(front, self.header.crc, covered)
    }

    /// Iterates over the records, whose offsets count from `base_offset`.
    pub fn records(&self, base_offset: Offset, limit: DecodeLimit) -> Result<Records, RecordError> {
        let body = decompress(self.compression, self.body(), limit)?;
        Ok(Records::new(&self.header, base_offset, body))
    }
}

/// Checked batches one behind the other, see [`BatchBuf::parse_all`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    rules: BatchRules,
}

impl Iterator for Batches {
    type Item = Result<BatchBuf, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(
            BatchBuf::parse(std::mem::take(&mut self.rest), &self.rules).map(|(batch, rest)| {
                self.rest = rest;
                batch
            }),
        )
    }
}
