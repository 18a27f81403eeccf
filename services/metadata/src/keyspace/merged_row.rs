//! How far the tail of a shard has been merged.

use bytes::Bytes;
use tidelog_types::{GroupNumber, ShardId, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// Up to which group the tail of a shard has been merged: nobody merges from it again, and it goes by and by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergedRow {
    /// The last group.
    pub group: GroupNumber,
    /// Its commit time.
    pub commit_time: Timestamp,
}

impl MergedRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u64(self.group.get())
            .i64(self.commit_time.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("merged", value, VERSION)?;
        let decoded = Self {
            group: GroupNumber::new(row.u64()?),
            commit_time: Timestamp::from_millis(row.i64()?),
        };
        row.finish()?;
        Ok(decoded)
    }
}

impl Keyspace {
    /// How far the tail of a shard has been merged.
    pub fn merged(self, shard: ShardId) -> Bytes {
        self.key(KeyKind::Merged).u32(shard.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_round_trip_and_cut_or_longer_ones_are_errors() {
        let row = MergedRow {
            group: GroupNumber::new(u64::MAX),
            commit_time: Timestamp::from_millis(-5),
        };
        assert_round_trip(&row, &row.encode(), MergedRow::decode);
    }
}
