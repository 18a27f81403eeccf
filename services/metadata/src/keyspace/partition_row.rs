//! Partitions, as checkpoints write them.

use bytes::Bytes;
use tidelog_metadata_api::FencingToken;
use tidelog_types::limits::STORE_VALUE_BYTES_MAX;
use tidelog_types::{GroupNumber, Offset, ProducerId, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever; in version 3 nothing was reclaimed.
const RECLAIMED_VERSION: u8 = 4;
/// In version 2 there were no transactions.
const TRANSACTIONS_VERSION: u8 = 3;
/// In version 1 there were no pages.
const PAGED_VERSION: u8 = 2;

/// Transactions that are open in a partition at once, at most: its row has all of them.
pub(crate) const OPEN_TRANSACTIONS_MAX: usize = 4_000;
/// Bytes of an open transaction.
const OPEN_BYTES: usize = 16;
/// Bytes of a partition at most.
pub(crate) const PARTITION_BYTES_MAX: usize = 128 + OPEN_TRANSACTIONS_MAX * OPEN_BYTES;

const _: () = assert!(PARTITION_BYTES_MAX <= STORE_VALUE_BYTES_MAX);

/// A partition as of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// The last group whose effects are in the row.
    pub as_of: GroupNumber,
    /// The offset of the next record.
    pub next: Offset,
    /// The log start offset.
    pub log_start: Offset,
    /// The fencing token.
    pub fencing_token: FencingToken,
    /// The largest timestamp of all its extents, also of those that are deleted.
    pub max_timestamp: Timestamp,
    /// Commit time of its first change; [`Timestamp::NONE`] before it.
    pub since: Timestamp,
    /// The offset after the last marker that aborted a transaction with records; 0 without one.
    pub aborted_below: Offset,
    /// The open transactions: the offset at which each begins, going up, and whose it is.
    pub open: Vec<(Offset, ProducerId)>,
    /// The bytes of all its extents, also of those that are deleted. Extents from before version 4 count nothing.
    pub total: u64,
    /// Extents that end at or below it are off the books: the live bytes of their segments are without them.
    pub reclaimed: Offset,
    /// The bytes of all extents below that.
    pub reclaimed_bytes: u64,
}

impl Default for PartitionRow {
    /// A partition that nothing has touched: what a missing row stands for.
    fn default() -> Self {
        Self {
            as_of: GroupNumber::default(),
            next: Offset::ZERO,
            log_start: Offset::ZERO,
            fencing_token: FencingToken::default(),
            max_timestamp: Timestamp::NONE,
            since: Timestamp::NONE,
            aborted_below: Offset::ZERO,
            open: Vec::new(),
            total: 0,
            reclaimed: Offset::ZERO,
            reclaimed_bytes: 0,
        }
    }
}

impl PartitionRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let count = u16::try_from(self.open.len()).unwrap_or(u16::MAX);
        let mut row = RowWriter::new(RECLAIMED_VERSION)
            .u64(self.as_of.get())
            .u64(self.next.get())
            .u64(self.log_start.get())
            .bytes(self.fencing_token.as_bytes())
            .i64(self.max_timestamp.as_millis())
            .i64(self.since.as_millis())
            .u64(self.aborted_below.get())
            .u16(count);
        for (first, producer) in &self.open {
            row = row.u64(first.get()).i64(producer.get());
        }
        row.u64(self.total)
            .u64(self.reclaimed.get())
            .u64(self.reclaimed_bytes)
            .finish()
    }

    /// Whether the partition that has this value has pages, too.
    pub fn has_pages(value: &[u8]) -> bool {
        value
            .first()
            .is_some_and(|version| *version >= PAGED_VERSION)
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("partition", value, RECLAIMED_VERSION)?;
        let mut decoded = Self {
            as_of: GroupNumber::new(row.u64()?),
            next: Offset::new(row.u64()?),
            log_start: Offset::new(row.u64()?),
            fencing_token: row.fencing_token()?,
            max_timestamp: Timestamp::NONE,
            // Version 1 did not say: it may be old.
            since: Timestamp::from_millis(0),
            ..Self::default()
        };
        if version >= PAGED_VERSION {
            decoded.max_timestamp = Timestamp::from_millis(row.i64()?);
            decoded.since = Timestamp::from_millis(row.i64()?);
        }
        if version >= TRANSACTIONS_VERSION {
            decoded.read_transactions(&mut row)?;
        }
        if version >= RECLAIMED_VERSION {
            decoded.total = row.u64()?;
            decoded.reclaimed = Offset::new(row.u64()?);
            decoded.reclaimed_bytes = row.u64()?;
        }
        if decoded.log_start > decoded.next {
            return Err(row.error("its log starts after its end"));
        }
        if decoded.reclaimed > decoded.log_start || decoded.reclaimed_bytes > decoded.total {
            return Err(row.error("more of it is reclaimed than is deleted"));
        }
        row.finish()?;
        Ok(decoded)
    }

    fn read_transactions(&mut self, row: &mut RowReader) -> Result<(), RowError> {
        self.aborted_below = Offset::new(row.u64()?);
        for _ in 0..row.u16()? {
            let first = Offset::new(row.u64()?);
            let producer = ProducerId::new(row.i64()?);
            if self.open.last().is_some_and(|(last, _)| *last >= first) {
                return Err(row.error("its open transactions are out of order"));
            }
            self.open.push((first, producer));
        }
        let is_beyond = |(first, _): &(Offset, ProducerId)| *first >= self.next;
        if self.open.last().is_some_and(is_beyond) || self.aborted_below > self.next {
            return Err(row.error("a transaction lies beyond its end"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn partitions_round_trip_and_cut_or_longer_ones_are_errors() {
        let partition = PartitionRow {
            as_of: GroupNumber::new(1),
            next: Offset::new(10),
            log_start: Offset::new(4),
            fencing_token: FencingToken::new(Bytes::from_static(b"me")).unwrap(),
            max_timestamp: Timestamp::from_millis(70),
            since: Timestamp::from_millis(60),
            aborted_below: Offset::new(9),
            open: vec![
                (Offset::new(3), ProducerId::new(8)),
                (Offset::new(9), ProducerId::new(2)),
            ],
            total: 1_000,
            reclaimed: Offset::new(3),
            reclaimed_bytes: 300,
        };
        assert_round_trip(&partition, &partition.encode(), PartitionRow::decode);
    }

    #[test]
    fn a_log_that_ends_before_it_starts_is_an_error() {
        let backwards = PartitionRow {
            next: Offset::new(3),
            log_start: Offset::new(4),
            ..PartitionRow::default()
        };
        assert!(PartitionRow::decode(backwards.encode()).is_err());
    }

    #[test]
    fn more_reclaimed_than_deleted_is_an_error() {
        let partition = PartitionRow {
            next: Offset::new(10),
            log_start: Offset::new(4),
            total: 9,
            ..PartitionRow::default()
        };
        for (reclaimed, bytes, is_good) in [(4, 9, true), (5, 9, false), (4, 10, false)] {
            let row = PartitionRow {
                reclaimed: Offset::new(reclaimed),
                reclaimed_bytes: bytes,
                ..partition.clone()
            };
            assert_eq!(PartitionRow::decode(row.encode()).is_ok(), is_good);
        }
    }

    fn with_open(firsts: &[u64]) -> PartitionRow {
        let open = |first: &u64| (Offset::new(*first), ProducerId::new(i64::MAX));
        PartitionRow {
            next: Offset::new(10),
            open: firsts.iter().map(open).collect(),
            ..PartitionRow::default()
        }
    }

    #[test]
    fn transactions_that_are_out_of_order_or_beyond_the_end_are_an_error() {
        assert!(PartitionRow::decode(with_open(&[3, 9]).encode()).is_ok());
        for firsts in [&[3, 3][..], &[4, 3], &[10]] {
            assert!(PartitionRow::decode(with_open(firsts).encode()).is_err());
        }
        let aborted = PartitionRow {
            aborted_below: Offset::new(11),
            ..with_open(&[])
        };
        assert!(PartitionRow::decode(aborted.encode()).is_err());
    }

    #[test]
    fn the_largest_partition_fits_a_value() {
        let token = Bytes::from(vec![0; tidelog_types::limits::FENCING_TOKEN_BYTES_MAX]);
        let firsts: Vec<u64> = (0..OPEN_TRANSACTIONS_MAX as u64).collect();
        let row = PartitionRow {
            next: Offset::new(u64::MAX),
            fencing_token: FencingToken::new(token).unwrap(),
            ..with_open(&firsts)
        };
        let value = row.encode();
        assert!(value.len() <= PARTITION_BYTES_MAX, "{}", value.len());
        assert_eq!(PartitionRow::decode(value), Ok(row));
    }
}
