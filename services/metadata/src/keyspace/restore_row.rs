//! The row of a restore, and what whole kinds of rows say in their keys.

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{
    ClusterGeneration, Incarnation, PartitionIndex, SegmentName, ShardId, Timestamp, TopicNumber,
    TopicPartition,
};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;

/// How far a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreState {
    /// Rows are being written: the store must not be opened.
    Running,
    /// The store is whole, and nobody has accepted yet what was lost.
    Pending,
}

/// A restore of this store from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRow {
    /// How far it has come.
    pub state: RestoreState,
    /// Random; tells two restores apart.
    pub nonce: [u8; 16],
    /// Goes up with each transaction of the restore, so that a late one can only conflict.
    pub step: u64,
    /// The generation that it begins.
    pub generation: ClusterGeneration,
    /// The first incarnation of that generation: all lower ones are of before.
    pub first_incarnation: Incarnation,
    /// When it began, for people.
    pub begun_at: Timestamp,
    /// The name of the backup.
    pub backup: String,
}

impl RestoreRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let state = match self.state {
            RestoreState::Running => 0,
            RestoreState::Pending => 1,
        };
        RowWriter::new(VERSION)
            .u8(state)
            .fixed(&self.nonce)
            .u64(self.step)
            .u32(self.generation.get())
            .u64(self.first_incarnation.get())
            .i64(self.begun_at.as_millis())
            .bytes(self.backup.as_bytes())
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("restore", value, VERSION)?;
        let state = match row.u8()? {
            0 => RestoreState::Running,
            1 => RestoreState::Pending,
            _ => return Err(row.error("its state is unknown")),
        };
        let decoded = Self {
            state,
            nonce: row.array()?,
            step: row.u64()?,
            generation: ClusterGeneration::new(row.u32()?),
            first_incarnation: Incarnation::new(row.u64()?),
            begun_at: Timestamp::from_millis(row.i64()?),
            backup: row.text()?,
        };
        row.finish()?;
        Ok(decoded)
    }
}

impl KeyKind {
    /// Its name in `docs/format/keyspace.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Counter => "counter",
            Self::Member => "member",
            Self::Restore => "restore",
            Self::Topic => "topic",
            Self::TopicName => "topic name",
            Self::TopicId => "topic id",
            Self::DeletedTopic => "deleted topic",
            Self::Emptied => "emptied",
            Self::Lease => "lease",
            Self::Checkpoint => "checkpoint",
            Self::Tail => "tail",
            Self::Receipt => "receipt",
            Self::Floor => "floor",
            Self::LiveBytes => "live bytes",
            Self::EndedWriter => "ended writer",
            Self::Dying => "dying",
            Self::Orphans => "orphans",
            Self::Merged => "merged",
            Self::Inline => "inline",
            Self::Partition => "partition",
            Self::Producer => "producer",
            Self::Page => "page",
            Self::Aborted => "aborted",
            Self::Compacted => "compacted",
            Self::Group => "group",
            Self::GroupMember => "group member",
            Self::GroupOffset => "group offset",
            Self::GroupProducer => "group producer",
            Self::GroupPending => "group pending",
            Self::Transaction => "transaction",
        }
    }
}

impl Keyspace {
    /// The kind of a key, if this program knows it.
    pub fn kind_of(key: &[u8]) -> Option<KeyKind> {
        let number = *key.get(4)?;
        KeyKind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The row of a restore.
    pub fn restore(self) -> Bytes {
        self.key(KeyKind::Restore).finish()
    }

    /// The live bytes of a segment in all shards.
    pub fn live_bytes_of(self, segment: SegmentName) -> KeyRange {
        let first = self.live_bytes(segment, ShardId::new(0));
        let segment = first.slice(..first.len() - size_of::<u32>());
        KeyRange::prefix(segment)
    }

    /// The partition in a key of [`Keyspace::partition`], [`Keyspace::producer`] or [`Keyspace::page`].
    pub fn partition_of(key: &[u8]) -> Option<TopicPartition> {
        let topic = u64::from_be_bytes(key.get(6..14)?.try_into().ok()?);
        let partition = u32::from_be_bytes(key.get(14..18)?.try_into().ok()?);
        Some(TopicPartition::new(
            TopicNumber::new(topic),
            PartitionIndex::new(partition),
        ))
    }

    /// The shard at the end of a key of [`Keyspace::receipt`] or [`Keyspace::live_bytes`], or in one of
    /// [`Keyspace::checkpoint`].
    pub fn last_shard(key: &[u8]) -> Option<ShardId> {
        let at = key.len().checked_sub(size_of::<u32>())?;
        let shard = key.get(at..)?.try_into().ok()?;
        Some(ShardId::new(u32::from_be_bytes(shard)))
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{Offset, ProducerId, SegmentSequence};

    use super::super::codec::assert_round_trip;
    use super::*;

    #[test]
    fn restores_round_trip_and_cut_or_longer_ones_are_errors() {
        for state in [RestoreState::Running, RestoreState::Pending] {
            let row = RestoreRow {
                state,
                nonce: [5; 16],
                step: 9,
                generation: ClusterGeneration::new(2),
                first_incarnation: Incarnation::new(1 << 32),
                begun_at: Timestamp::from_millis(7),
                backup: "nightly".to_owned(),
            };
            assert_round_trip(&row, &row.encode(), RestoreRow::decode);
        }
    }

    #[test]
    fn a_partition_is_found_in_the_keys_of_its_rows() {
        let keys = Keyspace::default();
        let partition = TopicPartition::new(TopicNumber::new(7), PartitionIndex::new(9));
        for key in [
            keys.partition(partition),
            keys.producer(partition, ProducerId::new(3)),
            keys.page(partition, Offset::new(4)),
        ] {
            assert_eq!(Keyspace::partition_of(&key), Some(partition));
            assert_eq!(Keyspace::partition_of(&key[..17]), None);
        }
    }

    #[test]
    fn live_bytes_of_a_segment_are_those_of_all_its_shards_and_no_other() {
        let keys = Keyspace::default();
        let name = |sequence| SegmentName::new(Incarnation::new(3), SegmentSequence::new(sequence));
        let range = keys.live_bytes_of(name(8));
        for shard in [0, u32::MAX].map(ShardId::new) {
            let key = keys.live_bytes(name(8), shard);
            assert!(range.contains(&key));
            assert_eq!(Keyspace::last_shard(&key), Some(shard));
            assert!(!range.contains(&keys.live_bytes(name(7), shard)));
            assert!(!range.contains(&keys.live_bytes(name(9), shard)));
        }
    }
}
