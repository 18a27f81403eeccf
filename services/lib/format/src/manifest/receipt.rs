//! The answer to a manifest.

use bytes::Bytes;
use tidelog_types::limits::FENCING_TOKEN_BYTES_MAX;
use tidelog_types::{ErrorCode, Offset, ProducerEpoch};

use super::ReceiptError;
use crate::wire::{DecodeError, Reader, put_crc, put_varint, put_zigzag, split_crc};

/// The version byte that is written; it must not change without a new layout.
const VERSION: u8 = 1;
const ACCEPTED: u8 = 0;
const DUPLICATE: u8 = 1;
const REFUSED: u8 = 2;

/// What became of the batches of a manifest, kept as the proof that it was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// One per batch of the manifest, in its order: slice after slice.
    pub outcomes: Vec<Outcome>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records have offsets now.
    Accepted {
        /// The offset of the first record.
        base_offset: Offset,
    },
    /// The producer sent it before.
    Duplicate {
        /// The offset that its first record got then.
        first_offset: Offset,
    },
    /// It is not part of the log.
    Refused {
        /// Why.
        code: ErrorCode,
        /// What the sender needs to know to do better.
        detail: RefusalDetail,
    },
}

/// What the sender of a refused batch needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalDetail {
    /// The code says it all.
    None,
    /// The offset that the next record will get.
    NextOffset(Offset),
    /// The fencing token that holds; at most 36 bytes.
    FencingToken(Bytes),
    /// The sequence that is expected.
    Sequence(i32),
    /// The epoch that the producer has.
    ProducerEpoch(ProducerEpoch),
}

impl Receipt {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + self.outcomes.len() * 4);
        out.push(VERSION);
        put_varint(&mut out, self.outcomes.len() as u64);
        let mut before = 0;
        for outcome in &self.outcomes {
            put_outcome(&mut out, outcome, &mut before);
        }
        put_crc(&mut out, 0);
        out
    }

    /// Reads the stored form; all of `bytes` must be it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let version = Reader::new(bytes).u8()?;
        if version != VERSION {
            return Err(ReceiptError::Version(version));
        }
        let (covered, stored, computed) = split_crc(bytes)?;
        if stored != computed {
            return Err(ReceiptError::Crc { stored, computed });
        }
        let mut reader = Reader::new(covered);
        reader.u8()?;
        let count = reader.varint()?;
        let mut outcomes = Vec::new();
        let mut before = 0;
        for _ in 0..count {
            outcomes.push(read_outcome(&mut reader, &mut before)?);
        }
        reader.finish()?;
        Ok(Self { outcomes })
    }
}

fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome, before: &mut i64) {
    match outcome {
        Outcome::Accepted { base_offset } => put_offset(out, ACCEPTED, *base_offset, before),
        Outcome::Duplicate { first_offset } => put_offset(out, DUPLICATE, *first_offset, before),
        Outcome::Refused { code, detail } => {
            out.extend_from_slice(&[REFUSED, code.number()]);
            put_detail(out, detail);
        }
    }
}

fn put_offset(out: &mut Vec<u8>, tag: u8, offset: Offset, before: &mut i64) {
    out.push(tag);
    put_zigzag(out, offset.to_i64().wrapping_sub(*before));
    *before = offset.to_i64();
}

fn put_detail(out: &mut Vec<u8>, detail: &RefusalDetail) {
    match detail {
        RefusalDetail::None => out.push(0),
        RefusalDetail::NextOffset(offset) => {
            out.push(1);
            put_varint(out, offset.get());
        }
        RefusalDetail::FencingToken(token) => {
            debug_assert!(
                token.len() <= FENCING_TOKEN_BYTES_MAX,
                "a token has at most 36 bytes"
            );
            out.push(2);
            put_varint(out, token.len() as u64);
            out.extend_from_slice(token);
        }
        RefusalDetail::Sequence(sequence) => {
            out.push(3);
            put_varint(out, u64::from(sequence.cast_unsigned()));
        }
        RefusalDetail::ProducerEpoch(epoch) => {
            out.push(4);
            put_varint(out, u64::from(epoch.get().cast_unsigned()));
        }
    }
}

fn read_outcome(reader: &mut Reader<'_>, before: &mut i64) -> Result<Outcome, ReceiptError> {
    match reader.u8()? {
        ACCEPTED => Ok(Outcome::Accepted {
            base_offset: read_offset(reader, before)?,
        }),
        DUPLICATE => Ok(Outcome::Duplicate {
            first_offset: read_offset(reader, before)?,
        }),
        REFUSED => {
            let number = reader.u8()?;
            let code = ErrorCode::from_number(number).ok_or(ReceiptError::Code(number))?;
            Ok(Outcome::Refused {
                code,
                detail: read_detail(reader)?,
            })
        }
        tag => Err(ReceiptError::Outcome(tag)),
    }
}

fn read_offset(reader: &mut Reader<'_>, before: &mut i64) -> Result<Offset, ReceiptError> {
    let raw = before.wrapping_add(reader.zigzag()?);
    *before = raw;
    Offset::from_i64(raw).ok_or(ReceiptError::Offset(raw))
}

fn read_detail(reader: &mut Reader<'_>) -> Result<RefusalDetail, ReceiptError> {
    Ok(match reader.u8()? {
        0 => RefusalDetail::None,
        1 => {
            let raw = reader.narrow("next offset")?;
            RefusalDetail::NextOffset(Offset::from_i64(raw).ok_or(ReceiptError::Offset(raw))?)
        }
        2 => {
            let length = reader.varint()?;
            if length > FENCING_TOKEN_BYTES_MAX as u64 {
                return Err(DecodeError::Range {
                    field: "fencing token",
                    value: length,
                }
                .into());
            }
            RefusalDetail::FencingToken(Bytes::copy_from_slice(reader.take(length)?))
        }
        3 => RefusalDetail::Sequence(reader.narrow::<u32>("sequence")?.cast_signed()),
        4 => {
            let raw: u16 = reader.narrow("producer epoch")?;
            RefusalDetail::ProducerEpoch(ProducerEpoch::new(raw.cast_signed()))
        }
        tag => return Err(ReceiptError::Detail(tag)),
    })
}
