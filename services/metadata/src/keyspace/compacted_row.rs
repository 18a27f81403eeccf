//! How far a partition is compacted.

use bytes::Bytes;
use tidelog_types::{Offset, Timestamp, TopicPartition};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever; in version 1 everything could be read.
const UNREAD_VERSION: u8 = 2;

/// How far a partition is compacted by key. A missing row stands for one that never was; so one that is lost costs work
/// and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactedRow {
    /// Of all records below it each key has one.
    pub cleaned: Offset,
    /// The bytes of the log below it, when it was compacted.
    pub bytes: u64,
    /// When the last tombstone below it may go, if there is one.
    pub tombstones_until: Option<Timestamp>,
    /// The first batch below it that could not be read, if there is one: from there on keys are taken note of once more.
    pub unread: Option<Offset>,
}

impl CompactedRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let row = RowWriter::new(UNREAD_VERSION)
            .u64(self.cleaned.get())
            .u64(self.bytes);
        let row = match self.tombstones_until {
            Some(until) => row.u8(1).i64(until.as_millis()),
            None => row.u8(0),
        };
        let row = match self.unread {
            Some(offset) => row.u8(1).u64(offset.get()),
            None => row.u8(0),
        };
        row.finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("compacted", value, UNREAD_VERSION)?;
        let cleaned = Offset::new(row.u64()?);
        let bytes = row.u64()?;
        let tombstones_until = match row.u8()? {
            0 => None,
            1 => Some(Timestamp::from_millis(row.i64()?)),
            _ => return Err(row.error("a flag is unknown")),
        };
        let unread = match version {
            1 => None,
            _ => match row.u8()? {
                0 => None,
                1 => Some(Offset::new(row.u64()?)),
                _ => return Err(row.error("a flag is unknown")),
            },
        };
        row.finish()?;
        Ok(Self {
            cleaned,
            bytes,
            tombstones_until,
            unread,
        })
    }
}

impl Keyspace {
    /// How far a partition is compacted.
    pub fn compacted(self, partition: TopicPartition) -> Bytes {
        self.key(KeyKind::Compacted).partition(partition).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_round_trip_and_cut_or_longer_ones_are_errors() {
        for (tombstones_until, unread) in [
            (None, Some(Offset::new(3))),
            (Some(Timestamp::from_millis(-7)), None),
        ] {
            let row = CompactedRow {
                cleaned: Offset::new(9),
                bytes: u64::MAX,
                tombstones_until,
                unread,
            };
            assert_round_trip(&row, &row.encode(), CompactedRow::decode);
        }
    }

    #[test]
    fn rows_of_version_1_are_read() {
        let row = CompactedRow {
            cleaned: Offset::new(9),
            bytes: 7,
            ..CompactedRow::default()
        };
        let newest = row.encode();
        let mut first = newest[..newest.len() - 1].to_vec();
        first[0] = 1;
        assert_eq!(CompactedRow::decode(first.into()).unwrap(), row);
    }
}
