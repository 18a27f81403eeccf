//! What is left of a topic while it is purged.

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{ShardId, TopicNumber};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// A shard in which no extent of a topic is on the books any more and no offset of a group is left. Its key says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptiedRow;

impl EmptiedRow {
    /// The row's value.
    pub fn encode(self) -> Bytes {
        RowWriter::new(VERSION).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (row, _) = RowReader::new("emptied", value, VERSION)?;
        row.finish()?;
        Ok(Self)
    }
}

impl Keyspace {
    /// That a shard has nothing left of a topic.
    pub fn emptied(self, topic: TopicNumber, shard: ShardId) -> Bytes {
        let key = self.key(KeyKind::Emptied).u64(topic.get());
        key.u32(shard.get()).finish()
    }

    /// The shards that have nothing left of a topic.
    pub fn emptied_of(self, topic: TopicNumber) -> KeyRange {
        KeyRange::prefix(self.key(KeyKind::Emptied).u64(topic.get()).finish())
    }

    /// The rows of a kind that begin with a partition, of all partitions of a topic.
    pub fn of_topic(self, kind: KeyKind, topic: TopicNumber) -> KeyRange {
        KeyRange::prefix(self.key(kind).u64(topic.get()).finish())
    }

    /// The offsets of all groups of a shard.
    pub fn all_group_offsets(self, shard: ShardId) -> KeyRange {
        KeyRange::prefix(self.key(KeyKind::GroupOffset).u32(shard.get()).finish())
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{PartitionIndex, TopicPartition};

    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn rows_round_trip_and_cut_or_longer_ones_are_errors() {
        assert_round_trip(&EmptiedRow, &EmptiedRow.encode(), EmptiedRow::decode);
    }

    #[test]
    fn the_rows_of_a_topic_are_those_of_its_partitions_and_of_no_others() {
        let keys = Keyspace::default();
        let (five, six) = (TopicNumber::new(5), TopicNumber::new(6));
        let key = keys.emptied(five, ShardId::new(u32::MAX));
        assert!(keys.emptied_of(five).contains(&key));
        assert!(!keys.emptied_of(six).contains(&key));
        let partition = TopicPartition::new(five, PartitionIndex::new(u32::MAX));
        let key = keys.partition(partition);
        assert!(keys.of_topic(KeyKind::Partition, five).contains(&key));
        assert!(!keys.of_topic(KeyKind::Partition, six).contains(&key));
        assert!(!keys.of_topic(KeyKind::Page, five).contains(&key));
    }
}
