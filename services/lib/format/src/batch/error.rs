//! Why bytes are not a batch, or not records.

use std::io;

use thiserror::Error;

use super::Compression;

/// Why bytes are not a batch that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("a record batch is truncated: `{needed}` bytes needed, `{remaining}` left")]
    Truncated {
        /// What the batch needs.
        needed: u64,
        /// What is there.
        remaining: u64,
    },
    /// A format that is not offered: only version 2 is.
    #[error("a record batch has magic `{0}`, only `2` is supported")]
    Magic(u8),
    /// The length field cannot be right.
    #[error("a record batch states the length `{0}`")]
    Length(i32),
    /// The batch is larger than is allowed.
    #[error("a record batch has `{size}` bytes, at most `{limit}` are allowed")]
    TooLarge {
        /// Its size.
        size: u32,
        /// The limit.
        limit: u32,
    },
    /// No such codec.
    #[error("a record batch has the unknown compression codec `{0}`")]
    Codec(u8),
    /// No records, or fewer.
    #[error("a record batch states `{0}` records")]
    RecordCount(i32),
    /// The last offset delta contradicts the record count.
    #[error("a record batch has last offset delta `{delta}` with `{count}` records")]
    LastOffsetDelta {
        /// The delta.
        delta: i32,
        /// The record count.
        count: i32,
    },
    /// A control batch from a client.
    #[error("a control batch cannot be produced")]
    Control,
    /// Log append time is the log's to give.
    #[error("a batch with log append time cannot be produced")]
    LogAppendTime,
    /// A delete horizon is the log's to give.
    #[error("a batch with a delete horizon cannot be produced")]
    DeleteHorizon,
    /// Producer id, epoch and sequence contradict each other.
    #[error("producer id `{id}`, epoch `{epoch}` and sequence `{sequence}` contradict each other")]
    Producer {
        /// The id.
        id: i64,
        /// The epoch.
        epoch: i16,
        /// The base sequence.
        sequence: i32,
    },
    /// A transaction without a producer.
    #[error("a transactional batch has no producer id")]
    TransactionWithoutProducer,
    /// The timestamps cannot be right.
    #[error("a record batch has base timestamp `{base}` and max timestamp `{max}`")]
    Timestamps {
        /// The base timestamp.
        base: i64,
        /// The max timestamp.
        max: i64,
    },
    /// The bytes are damaged.
    #[error("a record batch states the crc `{stored:#010x}`, its bytes have `{computed:#010x}`")]
    Crc {
        /// The one in the header.
        stored: u32,
        /// The one of the bytes.
        computed: u32,
    },
}

impl BatchError {
    /// Whether the batch is well formed and merely too large.
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// Why the bytes behind a header are not its records.
#[derive(Debug, Error)]
pub enum RecordError {
    /// No such codec.
    #[error("the records have the unknown compression codec `{0}`")]
    Codec(u8),
    /// The compressed bytes are damaged.
    #[error("the records cannot be decompressed with `{codec}`")]
    Decompress {
        /// The codec.
        codec: Compression,
        /// What the codec says.
        #[source]
        source: io::Error,
    },
    /// More comes out of the compressed bytes than is allowed.
    #[error("the records have more than `{limit}` bytes once decompressed")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A field goes past the end of its record or of the batch.
    #[error("record `{index}` is truncated")]
    Truncated {
        /// The record, counted from 0.
        index: u32,
    },
    /// A varint has more groups than its type allows.
    #[error("record `{index}` has a varint that is too long")]
    Varint {
        /// The record, counted from 0.
        index: u32,
    },
    /// A length or count below what its field allows.
    #[error("record `{index}` states the length `{value}` for its {field}")]
    Length {
        /// The record, counted from 0.
        index: u32,
        /// The field.
        field: &'static str,
        /// The value.
        value: i32,
    },
    /// A record is shorter than it says.
    #[error("record `{index}` has `{left}` bytes left over")]
    RecordTrailing {
        /// The record, counted from 0.
        index: u32,
        /// How many.
        left: usize,
    },
    /// The offset delta does not ascend within the batch.
    #[error("record `{index}` has offset delta `{delta}`")]
    OffsetDelta {
        /// The record, counted from 0.
        index: u32,
        /// The delta.
        delta: i32,
    },
    /// Bytes are left over behind the last record.
    #[error("`{0}` bytes left over behind the last record")]
    Trailing(usize),
}
