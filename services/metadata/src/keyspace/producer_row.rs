//! Idempotent producers in their partitions, as checkpoints write them.

use bytes::Bytes;
use tidelog_metadata_api::TransactionNumber;
use tidelog_types::limits::PRODUCER_BATCHES_KEPT;
use tidelog_types::{GroupNumber, Offset, ProducerEpoch, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever; in version 1 there were no transactions.
const TRANSACTIONS_VERSION: u8 = 2;

/// A batch that an idempotent producer has had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBatch {
    /// Its first sequence.
    pub first_sequence: i32,
    /// Its last sequence.
    pub last_sequence: i32,
    /// Its first offset.
    pub base_offset: Offset,
}

/// A transaction that a producer has open in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransactionRow {
    /// The offset of its first record.
    pub first: Offset,
    /// Which of the producer's transactions it is.
    pub number: TransactionNumber,
}

/// A producer in a partition as of a group (rule C7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRow {
    /// The last group whose effects are in the row.
    pub as_of: GroupNumber,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Commit time of its last batch, or of the last marker.
    pub last_used: Timestamp,
    /// Its last batches, oldest first; at most five.
    pub batches: Vec<SentBatch>,
    /// Its transactions up to this one have ended here; 0 if none has.
    pub ended: TransactionNumber,
    /// The epoch of the coordinator of the last marker, if there was one.
    pub coordinator_epoch: Option<i32>,
    /// Its open transaction.
    pub open: Option<OpenTransactionRow>,
}

impl ProducerRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let count = u8::try_from(self.batches.len()).unwrap_or(u8::MAX);
        let mut row = RowWriter::new(TRANSACTIONS_VERSION)
            .u64(self.as_of.get())
            .u16(self.epoch.get().cast_unsigned())
            .i64(self.last_used.as_millis())
            .u8(count);
        for batch in &self.batches {
            row = row
                .u32(batch.first_sequence.cast_unsigned())
                .u32(batch.last_sequence.cast_unsigned())
                .u64(batch.base_offset.get());
        }
        row = row.u64(self.ended.0);
        row = match self.coordinator_epoch {
            Some(epoch) => row.u8(1).u32(epoch.cast_unsigned()),
            None => row.u8(0),
        };
        row = match self.open {
            Some(open) => row.u8(1).u64(open.first.get()).u64(open.number.0),
            None => row.u8(0),
        };
        row.finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("producer", value, TRANSACTIONS_VERSION)?;
        let as_of = GroupNumber::new(row.u64()?);
        let epoch = ProducerEpoch::new(row.u16()?.cast_signed());
        let last_used = Timestamp::from_millis(row.i64()?);
        let count = usize::from(row.u8()?);
        if count > PRODUCER_BATCHES_KEPT {
            return Err(row.error("it has more batches than are kept"));
        }
        let mut batches = Vec::new();
        for _ in 0..count {
            batches.push(SentBatch {
                first_sequence: row.u32()?.cast_signed(),
                last_sequence: row.u32()?.cast_signed(),
                base_offset: Offset::new(row.u64()?),
            });
        }
        let mut decoded = Self {
            as_of,
            epoch,
            last_used,
            batches,
            ended: TransactionNumber(0),
            coordinator_epoch: None,
            open: None,
        };
        if version >= TRANSACTIONS_VERSION {
            decoded.read_transactions(&mut row)?;
        }
        row.finish()?;
        Ok(decoded)
    }

    fn read_transactions(&mut self, row: &mut RowReader) -> Result<(), RowError> {
        self.ended = TransactionNumber(row.u64()?);
        if row.flag()? {
            self.coordinator_epoch = Some(row.u32()?.cast_signed());
        }
        if row.flag()? {
            self.open = Some(OpenTransactionRow {
                first: Offset::new(row.u64()?),
                number: TransactionNumber(row.u64()?),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    fn with_batches(count: usize) -> ProducerRow {
        let batch = SentBatch {
            first_sequence: 3,
            last_sequence: 5,
            base_offset: Offset::new(8),
        };
        ProducerRow {
            as_of: GroupNumber::new(2),
            epoch: ProducerEpoch::new(4),
            last_used: Timestamp::from_millis(99),
            batches: vec![batch; count],
            ended: TransactionNumber(6),
            coordinator_epoch: Some(-3),
            open: Some(OpenTransactionRow {
                first: Offset::new(7),
                number: TransactionNumber(9),
            }),
        }
    }

    #[test]
    fn producers_round_trip_and_cut_or_longer_ones_are_errors() {
        for count in [0, PRODUCER_BATCHES_KEPT] {
            let producer = with_batches(count);
            assert_round_trip(&producer, &producer.encode(), ProducerRow::decode);
            let idle = ProducerRow {
                coordinator_epoch: None,
                open: None,
                ..producer
            };
            assert_round_trip(&idle, &idle.encode(), ProducerRow::decode);
        }
    }

    #[test]
    fn a_producer_with_more_batches_than_are_kept_is_an_error() {
        let hoarder = with_batches(PRODUCER_BATCHES_KEPT + 1);
        assert!(ProducerRow::decode(hoarder.encode()).is_err());
    }
}
