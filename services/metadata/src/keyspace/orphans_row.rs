//! How far the orphans of each writer have been looked for.

use bytes::Bytes;
use tidelog_types::{Incarnation, SegmentSequence, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// How far the orphans of a writer have been looked for, and how far they may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrphansRow {
    /// All names below it have been looked at.
    pub below: SegmentSequence,
    /// Of no name below it can a commit come any more; at least `below`.
    pub until: SegmentSequence,
    /// When that was first seen. What was on its way into the bucket then has come a grace period later.
    pub since: Timestamp,
}

impl OrphansRow {
    /// Stands above every sequence: all there will ever be has been looked at, or may be.
    pub const ALL: SegmentSequence = SegmentSequence::new(u64::MAX);

    /// Whether nothing is left to do, now and ever.
    pub fn is_done(&self) -> bool {
        self.below == Self::ALL
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .u64(self.below.get())
            .u64(self.until.get())
            .i64(self.since.as_millis())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("orphans", value, VERSION)?;
        let decoded = Self {
            below: SegmentSequence::new(row.u64()?),
            until: SegmentSequence::new(row.u64()?),
            since: Timestamp::from_millis(row.i64()?),
        };
        if decoded.below > decoded.until {
            return Err(row.error("more was looked at than may be"));
        }
        row.finish()?;
        Ok(decoded)
    }
}

impl Keyspace {
    /// How far the orphans of a writer have been looked for.
    pub fn orphans(self, writer: Incarnation) -> Bytes {
        self.key(KeyKind::Orphans).u64(writer.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_of_searches_round_trip_and_cut_or_longer_ones_are_errors() {
        let row = OrphansRow {
            below: SegmentSequence::new(7),
            until: OrphansRow::ALL,
            since: Timestamp::from_millis(-5),
        };
        assert_round_trip(&row, &row.encode(), OrphansRow::decode);
        let backwards = OrphansRow {
            below: SegmentSequence::new(2),
            until: SegmentSequence::new(1),
            ..row
        };
        assert!(OrphansRow::decode(backwards.encode()).is_err());
    }
}
