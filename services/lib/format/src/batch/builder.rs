//! Makes a batch of records.

use std::io;

use thiserror::Error;
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp};

use super::compress::compress;
use super::header::{ATTRIBUTES_AT, BatchHeader, HEADER_BYTES, LENGTH_OVERHEAD};
use super::{Attributes, BatchBuf, Compression, varint};

/// What an idempotent producer puts on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer; not [`ProducerId::NONE`].
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

/// Why a batch cannot be made.
#[derive(Debug, Error)]
pub enum BuilderError {
    /// A batch has at least one record.
    #[error("a record batch needs a record")]
    Empty,
    /// The batch or one of its parts would pass what the format can count.
    #[error("a record batch would have more than `{}` bytes", i32::MAX)]
    TooLarge,
    /// The producer's id, epoch or sequence is negative.
    #[error("producer id `{}`, epoch `{}` or sequence `{}` is negative", .0.id, .0.epoch, .0.base_sequence)]
    Producer(ProducerStamp),
    /// A timestamp below -1.
    #[error("a record has timestamp `{0}`")]
    Timestamp(Timestamp),
    /// The codec failed.
    #[error("the records cannot be compressed with `{codec}`")]
    Compress {
        /// The codec.
        codec: Compression,
        /// What it says.
        #[source]
        source: io::Error,
    },
}

/// Appends records to one buffer and makes a batch of them.
///
/// Records are written once, in their final form; without compression the buffer becomes the batch.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// A builder without records; `capacity` bytes are reserved for the batch.
    pub fn new(compression: Compression, capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity.max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            compression,
            buffer,
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Appends a record. After an error the builder is as it was.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BuilderError> {
        let millis = timestamp.as_millis();
        if millis < -1 {
            return Err(BuilderError::Timestamp(timestamp));
        }
        let base = if self.count == 0 {
            millis
        } else {
            self.base_timestamp
        };
        let delta = millis - base;
        let offset_delta = i64::from(self.count);
        let length = 1
            + varint::len(delta)
            + varint::len(offset_delta)
            + optional_len(key)
            + optional_len(value)
            + headers_len(headers);
        let size = self.buffer.len().saturating_add(length).saturating_add(5);
        if size > SIZE_MAX || self.count == i32::MAX {
            return Err(BuilderError::TooLarge);
        }
        let out = &mut self.buffer;
        varint::put(out, len_i64(length));
        out.push(0);
        varint::put(out, delta);
        varint::put(out, offset_delta);
        put_optional(out, key);
        put_optional(out, value);
        varint::put(out, len_i64(headers.len()));
        for (name, value) in headers {
            put_optional(out, Some(name));
            put_optional(out, *value);
        }
        self.count += 1;
        self.base_timestamp = base;
        self.max_timestamp = self.max_timestamp.max(millis);
        Ok(())
    }

    /// How many records there are.
    pub const fn record_count(&self) -> u32 {
        self.count.cast_unsigned()
    }

    /// Whether there are no records.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the batch as it stands, before compression: exact without it. With
    /// [`record_bytes_max`] a producer knows whether one more record fits.
    pub const fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Makes the batch. Its base offset is 0; its CRC is computed here, once.
    pub fn finish(self, producer: Option<ProducerStamp>) -> Result<BatchBuf, BuilderError> {
        if self.count == 0 {
            return Err(BuilderError::Empty);
        }
        let mut header = self.header();
        if let Some(stamp) = producer {
            stamp_producer(&mut header, stamp)?;
        }
        let mut buffer = match self.compression {
            Compression::None => self.buffer,
            codec => compressed(codec, &self.buffer)?,
        };
        if buffer.len() > SIZE_MAX {
            return Err(BuilderError::TooLarge);
        }
        let size = u32::try_from(buffer.len()).map_err(|_| BuilderError::TooLarge)?;
        header.batch_length = size - LENGTH_OVERHEAD;
        buffer[..HEADER_BYTES].copy_from_slice(&header.encode());
        header.crc = tidelog_crc32c::crc32c(&buffer[ATTRIBUTES_AT..]);
        buffer[..HEADER_BYTES].copy_from_slice(&header.encode());
        Ok(BatchBuf::checked(header, self.compression, buffer.into()))
    }

    const fn header(&self) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::new(self.compression),
            last_offset_delta: self.count - 1,
            base_timestamp: Timestamp::from_millis(self.base_timestamp),
            max_timestamp: Timestamp::from_millis(self.max_timestamp),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            record_count: self.count,
        }
    }
}

/// The largest batch that the signed length field can count.
const SIZE_MAX: usize = i32::MAX as usize;

/// The most bytes that a record adds to a batch before compression.
pub fn record_bytes_max(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&[u8], Option<&[u8]>)],
) -> usize {
    // Length, attributes, timestamp delta, offset delta.
    5 + 1 + 10 + 5 + optional_len(key) + optional_len(value) + headers_len(headers)
}

fn stamp_producer(header: &mut BatchHeader, stamp: ProducerStamp) -> Result<(), BuilderError> {
    if !stamp.id.is_idempotent() || stamp.epoch.get() < 0 || stamp.base_sequence < 0 {
        return Err(BuilderError::Producer(stamp));
    }
    header.producer_id = stamp.id;
    header.producer_epoch = stamp.epoch;
    header.base_sequence = stamp.base_sequence;
    if stamp.transactional {
        header.attributes = header.attributes.transactional();
    }
    Ok(())
}

fn compressed(codec: Compression, buffer: &[u8]) -> Result<Vec<u8>, BuilderError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + buffer.len() / 2);
    out.resize(HEADER_BYTES, 0);
    compress(codec, &buffer[HEADER_BYTES..], &mut out)
        .map_err(|source| BuilderError::Compress { codec, source })?;
    Ok(out)
}

/// A length as a varint's value; no slice is longer than `i64::MAX`.
fn len_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn optional_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(len_i64(bytes.len())) + bytes.len())
}

fn headers_len(headers: &[(&[u8], Option<&[u8]>)]) -> usize {
    let parts: usize = headers
        .iter()
        .map(|(name, value)| optional_len(Some(name)) + optional_len(*value))
        .sum();
    varint::len(len_i64(headers.len())) + parts
}

#[inline]
fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, len_i64(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}
