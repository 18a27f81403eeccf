//! Rows of transactions in groups: offsets that wait for the end of one, and what is known of producers whose
//! transactions have ended.

use bytes::Bytes;
use tidelog_metadata_api::{GroupOffset, TransactionNumber};
use tidelog_types::{Offset, ProducerEpoch, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// A producer whose transactions have ended in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupProducerRow {
    /// Earlier epochs are fenced.
    pub epoch: ProducerEpoch,
    /// The last transaction that has ended. It is too late for this one and those before it.
    pub number: TransactionNumber,
    /// When it ended. The row expires from then on.
    pub ended_at: Timestamp,
}

impl GroupProducerRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u16(self.epoch.get().cast_unsigned())
            .u64(self.number.0)
            .i64(self.ended_at.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("group producer", value, VERSION)?;
        let epoch = ProducerEpoch::new(row.u16()?.cast_signed());
        let number = TransactionNumber(row.u64()?);
        let ended_at = Timestamp::from_millis(row.i64()?);
        row.finish()?;
        Ok(Self {
            epoch,
            number,
            ended_at,
        })
    }
}

/// An offset that waits for the end of the transaction that it is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPendingRow {
    /// The epoch of the producer.
    pub epoch: ProducerEpoch,
    /// The transaction.
    pub number: TransactionNumber,
    /// Of those that wait in a group, one that came later has the greater number.
    pub order: u64,
    /// What the group will have reached if the transaction commits.
    pub offset: GroupOffset,
}

impl GroupPendingRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let row = RowWriter::new(VERSION)
            .u16(self.epoch.get().cast_unsigned())
            .u64(self.number.0)
            .u64(self.order)
            .u64(self.offset.offset.get());
        let row = match self.offset.leader_epoch {
            None => row.u8(0),
            Some(epoch) => row.u8(1).u32(epoch.cast_unsigned()),
        };
        row.bytes(self.offset.metadata.as_bytes()).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("group pending", value, VERSION)?;
        let epoch = ProducerEpoch::new(row.u16()?.cast_signed());
        let number = TransactionNumber(row.u64()?);
        let order = row.u64()?;
        let offset = Offset::new(row.u64()?);
        let has_epoch = row.flag()?;
        let leader_epoch = has_epoch.then(|| row.u32()).transpose()?;
        let metadata = row.text()?;
        row.finish()?;
        Ok(Self {
            epoch,
            number,
            order,
            offset: GroupOffset {
                offset,
                leader_epoch: leader_epoch.map(u32::cast_signed),
                metadata,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_of_transactions_round_trip_and_cut_or_longer_ones_are_errors() {
        let row = GroupProducerRow {
            epoch: ProducerEpoch::new(i16::MAX),
            number: TransactionNumber(u64::MAX),
            ended_at: Timestamp::from_millis(5),
        };
        assert_round_trip(&row, &row.encode(), GroupProducerRow::decode);
        for leader_epoch in [None, Some(0), Some(-1)] {
            let row = GroupPendingRow {
                epoch: ProducerEpoch::new(3),
                number: TransactionNumber(7),
                order: 1 << 40,
                offset: GroupOffset {
                    offset: Offset::new(9),
                    leader_epoch,
                    metadata: "note".to_owned(),
                },
            };
            assert_round_trip(&row, &row.encode(), GroupPendingRow::decode);
        }
    }
}
