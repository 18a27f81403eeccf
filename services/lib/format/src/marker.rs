//! How a transaction ended in a partition: `docs/format/record-batch.md`, "Markers".

use bytes::{BufMut, Bytes, BytesMut};
use tidelog_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::batch::{Attributes, BatchHeader, Compression, HEADER_BYTES, patched_head};
use crate::wire::{self, DecodeError, Reader};

/// The size of every control batch that a marker is read as.
pub const MARKER_BATCH_BYTES: u32 = 78;

/// The record of a control batch: lengths are varints in zigzag form, so each is twice what it counts.
const RECORD_BYTES: usize = 17;
const RECORD_LENGTH: u8 = 2 * 16;
const KEY_LENGTH: u8 = 2 * 4;
const VALUE_LENGTH: u8 = 2 * 6;
const _: () = assert!(RECORD_LENGTH as usize == 2 * (RECORD_BYTES - 1));
const _: () = assert!(HEADER_BYTES + RECORD_BYTES == MARKER_BATCH_BYTES as usize);
/// The versions of key and value of a control record; Kafka's number.
const VERSION: i16 = 0;
/// Bytes of a batch before its attributes: the CRC begins behind them.
const ATTRIBUTES_AT: usize = 21;

/// How a transaction ends. The numbers are Kafka's and must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Decision {
    /// None of it is read.
    Abort = 0,
    /// All of it is read.
    Commit = 1,
}

/// The end of a transaction of a producer in a partition: it takes one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndMarker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The epoch that it was ended with.
    pub producer_epoch: ProducerEpoch,
    /// The epoch of the coordinator that has decided.
    pub coordinator_epoch: i32,
    /// How it has ended.
    pub decision: Decision,
}

impl Decision {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            _ => None,
        }
    }
}

impl EndMarker {
    /// The control batch that readers get: always the same [`MARKER_BATCH_BYTES`] for the same marker, offset and
    /// time. Its offset and leader epoch are those that reading shows, so nothing is left to patch.
    pub fn to_batch(&self, offset: Offset, timestamp: Timestamp) -> Bytes {
        let header = BatchHeader {
            batch_length: MARKER_BATCH_BYTES - 12,
            attributes: Attributes::new(Compression::None).transactional().control(),
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: -1,
            record_count: 1,
            ..BatchHeader::default()
        };
        let record = self.record();
        let head = patched_head(&header, offset);
        let crc = tidelog_crc32c::crc32c(&head[ATTRIBUTES_AT..]);
        let crc = tidelog_crc32c::crc32c_append(crc, &record);
        let mut out = BytesMut::with_capacity(HEADER_BYTES + RECORD_BYTES);
        out.put_slice(&patched_head(&BatchHeader { crc, ..header }, offset));
        out.put_slice(&record);
        out.freeze()
    }

    fn record(&self) -> [u8; RECORD_BYTES] {
        let [version_high, version_low] = VERSION.to_be_bytes();
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [
            RECORD_LENGTH,
            0, // attributes
            0, // timestamp delta
            0, // offset delta
            KEY_LENGTH,
            version_high,
            version_low,
            0,
            self.decision as u8,
            VALUE_LENGTH,
            version_high,
            version_low,
            a,
            b,
            c,
            d,
            0, // header count
        ]
    }

    /// Appends the stored form.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        wire::put_zigzag(out, self.producer_id.get());
        wire::put_zigzag(out, i64::from(self.producer_epoch.get()));
        wire::put_zigzag(out, i64::from(self.coordinator_epoch));
        out.push(self.decision as u8);
    }

    /// Reads the stored form.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let producer_id = ProducerId::new(reader.zigzag()?);
        let producer_epoch = ProducerEpoch::new(reader.narrow_zigzag("producer epoch")?);
        let coordinator_epoch = reader.narrow_zigzag("coordinator epoch")?;
        let number = reader.u8()?;
        let decision = Decision::from_number(number).ok_or(DecodeError::Range {
            field: "decision",
            value: u64::from(number),
        })?;
        Ok(Self {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            decision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuf, BatchRules, DecodeLimit};

    fn marker(decision: Decision) -> EndMarker {
        EndMarker {
            producer_id: ProducerId::new(4_000),
            producer_epoch: ProducerEpoch::new(7),
            coordinator_epoch: 0x0102_0304,
            decision,
        }
    }

    #[test]
    fn a_marker_is_read_as_a_batch_that_passes_all_checks() {
        let (offset, time) = (Offset::new(90), Timestamp::from_millis(1_234));
        for decision in [Decision::Abort, Decision::Commit] {
            let bytes = marker(decision).to_batch(offset, time);
            assert_eq!(bytes.len(), MARKER_BATCH_BYTES as usize);
            let (batch, rest) = BatchBuf::parse(bytes.clone(), &BatchRules::stored()).unwrap();
            assert!(rest.is_empty());
            let header = batch.header();
            assert!(header.attributes.is_control() && header.attributes.is_transactional());
            assert_eq!(header.base_offset, 90);
            assert_eq!(header.partition_leader_epoch, 0);
            assert_eq!(header.offset_count(), 1);
            assert_eq!(
                (header.base_timestamp, header.max_timestamp),
                (time, time),
                "the time is that of the commit"
            );
            assert_eq!(header.producer_id, ProducerId::new(4_000));
            assert_eq!(header.producer_epoch, ProducerEpoch::new(7));
            assert_eq!(header.base_sequence, -1);
            assert_eq!(patched_head(header, offset), bytes[..HEADER_BYTES]);
        }
    }

    #[test]
    fn the_record_of_a_marker_says_how_and_by_which_coordinator_it_ended() {
        for (decision, number) in [(Decision::Abort, 0), (Decision::Commit, 1)] {
            let bytes = marker(decision).to_batch(Offset::new(90), Timestamp::NONE);
            let (batch, _) = BatchBuf::parse(bytes, &BatchRules::stored()).unwrap();
            let records = batch.records(Offset::new(90), DecodeLimit::DEFAULT);
            let records: Vec<_> = records.unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len(), 1);
            assert_eq!(records[0].offset, Offset::new(90));
            assert_eq!(records[0].key.as_deref(), Some(&[0, 0, 0, number][..]));
            let value = [0, 0, 1, 2, 3, 4];
            assert_eq!(records[0].value.as_deref(), Some(&value[..]));
            assert!(records[0].headers.is_empty());
        }
    }
}
