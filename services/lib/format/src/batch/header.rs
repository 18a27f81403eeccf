//! The 61 bytes before the records.

use std::fmt;

use tidelog_types::{ProducerEpoch, ProducerId, Timestamp};

use super::BatchError;

/// Bytes of a batch before its records; Kafka's number.
pub const HEADER_BYTES: usize = 61;
/// Bytes of base offset and batch length, which the length field does not count.
pub(super) const LENGTH_OVERHEAD: u32 = 12;
/// What the length field counts of a batch without records.
const LENGTH_MIN: u32 = 49;
const _: () = assert!((LENGTH_MIN + LENGTH_OVERHEAD) as usize == HEADER_BYTES);
/// The version of the format that this is.
pub(super) const MAGIC: u8 = 2;

// Where fields stand; Kafka's numbers.
pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_END: usize = 43;

/// The header of a batch, all 61 bytes of it but for the magic, which is always 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record as stored; patched when it is read.
    pub base_offset: i64,
    /// Bytes behind the length field; at least 49.
    pub batch_length: u32,
    /// The leader epoch as stored; patched when it is read.
    pub partition_leader_epoch: i32,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// The offset of the last record, relative to the first.
    pub last_offset_delta: i32,
    /// The timestamp that those of the records are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp, or when the batch was appended.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

/// The attributes of a batch. Bits without a meaning are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Attributes(u16);

/// How the records of a batch are compressed. The numbers are Kafka's and must not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// As a gzip stream.
    Gzip = 1,
    /// As snappy blocks, framed as Java's clients do.
    Snappy = 2,
    /// As an lz4 frame.
    Lz4 = 3,
    /// As a zstd frame.
    Zstd = 4,
}

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// When the producer made each record.
    CreateTime,
    /// When the batch was appended to the log.
    LogAppendTime,
}

impl BatchHeader {
    /// Reads a header. Only the frame is checked: 61 bytes, the magic, a length that holds a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let short = BatchError::Truncated {
            needed: HEADER_BYTES as u64,
            remaining: bytes.len() as u64,
        };
        let head = bytes.first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let magic = head[16];
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let batch_length = u32::from_be_bytes(field(head, 8));
        // A negative length is one above `i32::MAX` here.
        if batch_length < LENGTH_MIN || batch_length > i32::MAX.cast_unsigned() - LENGTH_OVERHEAD {
            return Err(BatchError::Length(batch_length.cast_signed()));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(field(head, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: Attributes(u16::from_be_bytes(field(head, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(head, 27))),
            max_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(head, 35))),
            producer_id: ProducerId::new(i64::from_be_bytes(field(head, 43))),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(field(head, 51))),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        })
    }

    /// The 61 bytes: the inverse of [`BatchHeader::parse`].
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        head[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        head[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        head[16] = MAGIC;
        head[17..21].copy_from_slice(&self.crc.to_be_bytes());
        head[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.as_millis().to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.as_millis().to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.get().to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.get().to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        head
    }

    /// The bytes of the whole batch.
    pub const fn size(&self) -> u32 {
        self.batch_length.saturating_add(LENGTH_OVERHEAD)
    }

    /// How many offsets the batch takes: last offset delta + 1; 0 if that is negative.
    pub const fn offset_count(&self) -> u32 {
        if self.last_offset_delta < 0 {
            0
        } else {
            self.last_offset_delta.cast_unsigned() + 1
        }
    }
}

/// The `N` bytes at `at`; the callers name fields inside the header.
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

impl Attributes {
    const CODEC_MASK: u16 = 0b111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;
    const DELETE_HORIZON: u16 = 1 << 6;

    /// The attributes of a batch that a producer makes.
    pub const fn new(compression: Compression) -> Self {
        Self(compression as u16)
    }

    /// Wraps the stored bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The stored bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The codec; `None` for a number that has no meaning.
    pub const fn compression(self) -> Option<Compression> {
        Compression::from_number((self.0 & Self::CODEC_MASK) as u8)
    }

    /// What the timestamps mean.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which consumers do not see.
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp says until when tombstones are kept.
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same, part of a transaction.
    #[must_use]
    pub const fn transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// The same, with control records.
    #[must_use]
    pub const fn control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// The same, with a base timestamp that says until when tombstones are kept.
    #[must_use]
    pub const fn delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// The same, with log append time.
    #[must_use]
    pub const fn log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:#06x})", self.0)
    }
}

impl Compression {
    /// Every codec, in the order of the numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// The name that settings and messages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
