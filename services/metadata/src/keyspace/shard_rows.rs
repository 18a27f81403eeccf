//! Rows of a shard: who owns it, and how far its other rows have been written.

use bytes::Bytes;
use tidelog_types::{GroupNumber, MemberId, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of leases. On disk for ever.
const VERSION: u8 = 1;
/// The newest version of checkpoints. In version 1 there were no pages.
const PAGED_VERSION: u8 = 2;

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The owner process, by its id as a member; [`LeaseRow::RELEASED`] for none.
    pub owner: [u8; 16],
    /// Raised by each takeover.
    pub epoch: u64,
    /// Raised by each settling of an unknown commit (rule C3), so that the old one can only conflict.
    pub settled: u64,
}

impl LeaseRow {
    /// Stands for an owner that has given the shard back, with nothing under way.
    pub const RELEASED: [u8; 16] = [0; 16];

    /// The owner, if there is one.
    pub fn owner(&self) -> Option<MemberId> {
        (self.owner != Self::RELEASED).then(|| MemberId::from_bytes(self.owner))
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .fixed(&self.owner)
            .u64(self.epoch)
            .u64(self.settled)
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("lease", value, VERSION)?;
        let decoded = Self {
            owner: row.array()?,
            epoch: row.u64()?,
            settled: row.u64()?,
        };
        row.finish()?;
        Ok(decoded)
    }
}

/// How far the partition and producer rows of a shard have been written: a new owner replays only what
/// is later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Every group up to this one is in the rows.
    pub group: GroupNumber,
    /// The commit time of that group.
    pub commit_time: Timestamp,
    /// Whether the extents up to the group are in pages, too. Not so in rows of version 1.
    pub is_paged: bool,
}

impl CheckpointRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let version = if self.is_paged {
            PAGED_VERSION
        } else {
            VERSION
        };
        RowWriter::new(version)
            .u64(self.group.get())
            .i64(self.commit_time.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("checkpoint", value, PAGED_VERSION)?;
        let decoded = Self {
            group: GroupNumber::new(row.u64()?),
            commit_time: Timestamp::from_millis(row.i64()?),
            is_paged: version >= PAGED_VERSION,
        };
        row.finish()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_of_shards_round_trip_and_cut_or_longer_ones_are_errors() {
        let lease = LeaseRow {
            owner: [3; 16],
            epoch: 7,
            settled: 2,
        };
        assert_round_trip(&lease, &lease.encode(), LeaseRow::decode);
        assert_eq!(lease.owner(), Some(MemberId::from_bytes([3; 16])));
        let released = LeaseRow {
            owner: LeaseRow::RELEASED,
            ..lease
        };
        assert_eq!(released.owner(), None);
        let checkpoint = CheckpointRow {
            group: GroupNumber::new(9),
            commit_time: Timestamp::from_millis(-1),
            is_paged: true,
        };
        assert_round_trip(&checkpoint, &checkpoint.encode(), CheckpointRow::decode);
    }
}
