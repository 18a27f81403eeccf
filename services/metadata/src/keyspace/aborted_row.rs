//! Aborted transactions of a partition, by the offsets of their markers: who reads only what was committed asks for
//! those that have a record in the range that it reads.

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{Offset, ProducerId, TopicPartition};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;
/// Where the offset stands in a key: after tenant, kind, version, topic and partition.
const OFFSET_AT: usize = 18;

/// A transaction that was aborted and has records in the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedRow {
    /// Whose it was.
    pub producer: ProducerId,
    /// The offset of its first record.
    pub first: Offset,
    /// The last stable offset once it had ended: every aborted transaction that has a record below is in this row or
    /// in one before it.
    pub last_stable: Offset,
}

impl AbortedRow {
    /// The row's value. The offset of the marker is in the key.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .i64(self.producer.get())
            .u64(self.first.get())
            .u64(self.last_stable.get())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("aborted", value, VERSION)?;
        let decoded = Self {
            producer: ProducerId::new(row.i64()?),
            first: Offset::new(row.u64()?),
            last_stable: Offset::new(row.u64()?),
        };
        row.finish()?;
        Ok(decoded)
    }
}

impl Keyspace {
    /// An aborted transaction whose marker is at `marker`.
    pub fn aborted(self, partition: TopicPartition, marker: Offset) -> Bytes {
        self.key(KeyKind::Aborted)
            .partition(partition)
            .u64(marker.get())
            .finish()
    }

    /// The aborted transactions of a partition whose markers are at `marker` or after it.
    pub fn aborted_from(self, partition: TopicPartition, marker: Offset) -> KeyRange {
        let all = KeyRange::prefix(self.key(KeyKind::Aborted).partition(partition).finish());
        KeyRange {
            start: self.aborted(partition, marker),
            end: all.end,
        }
    }

    /// Where the aborted transactions of a partition end.
    pub(crate) fn aborted_after(self, partition: TopicPartition) -> Bytes {
        KeyRange::successor(&self.aborted(partition, Offset::MAX))
    }

    /// The offset of the marker in a key of [`Keyspace::aborted`].
    pub fn aborted_marker(key: &[u8]) -> Option<Offset> {
        let marker = key.get(OFFSET_AT..)?.try_into().ok()?;
        Some(Offset::new(u64::from_be_bytes(marker)))
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{PartitionIndex, TopicNumber};

    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn aborted_transactions_round_trip_and_cut_or_longer_ones_are_errors() {
        let row = AbortedRow {
            producer: ProducerId::new(7),
            first: Offset::new(3),
            last_stable: Offset::new(u64::MAX),
        };
        assert_round_trip(&row, &row.encode(), AbortedRow::decode);
    }

    #[test]
    fn those_of_a_partition_are_found_from_a_marker_on_and_those_of_the_next_are_not() {
        let keys = Keyspace::default();
        let at = |index| TopicPartition::new(TopicNumber::new(4), PartitionIndex::new(index));
        let key = |index, marker| keys.aborted(at(index), Offset::new(marker));
        let range = keys.aborted_from(at(2), Offset::new(300));
        assert!(range.contains(&key(2, 300)) && range.contains(&key(2, u64::MAX)));
        assert!(!range.contains(&key(2, 299)) && !range.contains(&key(3, 300)));
        assert_eq!(
            Keyspace::aborted_marker(&key(2, 300)),
            Some(Offset::new(300))
        );
        assert_eq!(Keyspace::partition_of(&key(2, 300)), Some(at(2)));
    }
}
