//! Segments of which a shard needs nothing any more: who deletes segments looks at these, and at no others.

use bytes::Bytes;
use tidelog_types::{SegmentName, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 2;
/// Those without what was added later are written as they always were.
const VERSION_IN_BUCKET: u8 = 1;

/// A segment that may be dead: the live bytes of one of its shards are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DyingRow {
    /// When it was first seen that all its shards have no live bytes and that no commit can come any more.
    pub dead_since: Option<Timestamp>,
    /// Whether it lies in the store and not in a bucket. Known only once it is dead.
    pub in_store: bool,
}

impl DyingRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let version = if self.in_store {
            VERSION
        } else {
            VERSION_IN_BUCKET
        };
        let row = RowWriter::new(version);
        match self.dead_since {
            None => row.u8(0),
            Some(at) => row.u8(1).i64(at.as_millis()),
        }
        .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("dying", value, VERSION)?;
        let mut dead_since = None;
        if row.flag()? {
            dead_since = Some(Timestamp::from_millis(row.i64()?));
        }
        row.finish()?;
        Ok(Self {
            dead_since,
            in_store: version >= VERSION,
        })
    }
}

impl Keyspace {
    /// A segment that may be dead.
    pub fn dying(self, segment: SegmentName) -> Bytes {
        self.key(KeyKind::Dying).segment(segment).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_of_dying_segments_round_trip_and_cut_or_longer_ones_are_errors() {
        for dead_since in [None, Some(Timestamp::from_millis(-7))] {
            for in_store in [false, true] {
                let row = DyingRow {
                    dead_since,
                    in_store,
                };
                assert_round_trip(&row, &row.encode(), DyingRow::decode);
            }
        }
    }
}
