//! Partitions, as checkpoints write them.

use bytes::Bytes;
use tidelog_metadata_api::FencingToken;
use tidelog_types::{GroupNumber, Offset, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever; in version 1 there were no pages.
const PAGED_VERSION: u8 = 2;

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
        }
    }
}

impl PartitionRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(PAGED_VERSION)
            .u64(self.as_of.get())
            .u64(self.next.get())
            .u64(self.log_start.get())
            .bytes(self.fencing_token.as_bytes())
            .i64(self.max_timestamp.as_millis())
            .i64(self.since.as_millis())
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
        let (mut row, version) = RowReader::new("partition", value, PAGED_VERSION)?;
        let mut decoded = Self {
            as_of: GroupNumber::new(row.u64()?),
            next: Offset::new(row.u64()?),
            log_start: Offset::new(row.u64()?),
            fencing_token: row.fencing_token()?,
            max_timestamp: Timestamp::NONE,
            // Version 1 did not say: it may be old.
            since: Timestamp::from_millis(0),
        };
        if version >= PAGED_VERSION {
            decoded.max_timestamp = Timestamp::from_millis(row.i64()?);
            decoded.since = Timestamp::from_millis(row.i64()?);
        }
        if decoded.log_start > decoded.next {
            return Err(row.error("its log starts after its end"));
        }
        row.finish()?;
        Ok(decoded)
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
}
