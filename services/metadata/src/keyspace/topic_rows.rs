//! Rows of the cluster and its topics.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_metadata_api::{PartitionCount, PartitionInfo, TopicConfig, TopicInfo, TopicState};
use tidelog_types::limits::TOPIC_PARTITIONS_MAX;
use tidelog_types::{
    ClusterGeneration, ClusterId, ShardId, Timestamp, TopicId, TopicName, TopicNumber,
};

use super::codec::{RowError, RowReader, RowWriter};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 1;
/// The version of a topic that is being purged: a program that does not know of it must not bring it back.
const TOPIC_VERSION: u8 = 2;

/// The cluster as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// Which cluster this store belongs to.
    pub id: ClusterId,
    /// Counts restores.
    pub generation: ClusterGeneration,
    /// How many shards new partitions are spread over.
    pub shards: u32,
}

impl ClusterRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        RowWriter::new(VERSION)
            .fixed(&self.id.to_bytes())
            .u32(self.generation.get())
            .u32(self.shards)
            .finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("cluster", value, VERSION)?;
        let decoded = Self {
            id: ClusterId::from_bytes(row.array()?),
            generation: ClusterGeneration::new(row.u32()?),
            shards: row.u32()?,
        };
        if decoded.shards == 0 {
            return Err(row.error("it has no shards"));
        }
        row.finish()?;
        Ok(decoded)
    }
}

/// A number: the value of a counter, or the number of the topic that a name or an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberRow(pub u64);

impl NumberRow {
    /// The row's value.
    pub fn encode(self) -> Bytes {
        RowWriter::new(VERSION).u64(self.0).finish()
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, _) = RowReader::new("number", value, VERSION)?;
        let number = row.u64()?;
        row.finish()?;
        Ok(Self(number))
    }
}

/// The row of a deleted topic: its key says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedTopicRow;

impl DeletedTopicRow {
    /// The row's value.
    pub fn encode(self) -> Bytes {
        RowWriter::new(VERSION).finish()
    }
}

/// One partition count of a topic, and over how many shards the partitions that came with it were
/// spread. It stays when the cluster's number of shards changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    count: PartitionCount,
    shards: u32,
}

/// A topic. Partitions are not listed: each one's shard follows from its spread, unless it has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    id: TopicId,
    number: TopicNumber,
    name: TopicName,
    spreads: Vec<Spread>,
    moved: BTreeMap<u32, ShardId>,
    config: BTreeMap<String, String>,
    state: TopicState,
    created_at: Timestamp,
}

/// Spreads partitions over shards: any fixed function does, since each spread keeps its shard count.
pub(crate) fn shard_of(topic: TopicId, partition: u32, shards: u32) -> ShardId {
    // FNV-1a over the id and the index, then murmur3's finalizer, since FNV alone leaves the last byte in
    // a few bits, so that small topics would lie in one shard; on disk for ever.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in topic.to_bytes().into_iter().chain(partition.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let shard = hash % u64::from(shards.max(1));
    ShardId::new(u32::try_from(shard).unwrap_or_default())
}

impl TopicRow {
    /// A topic that begins now.
    pub fn new(
        id: TopicId,
        number: TopicNumber,
        name: TopicName,
        count: PartitionCount,
        shards: u32,
        config: &TopicConfig,
    ) -> Self {
        Self {
            id,
            number,
            name,
            spreads: vec![Spread { count, shards }],
            moved: BTreeMap::new(),
            config: config.as_set().clone(),
            state: TopicState::Live,
            created_at: count.since,
        }
    }

    /// The topic as callers see it.
    pub fn info(&self) -> TopicInfo {
        TopicInfo {
            id: self.id,
            number: self.number,
            name: self.name.clone(),
            partitions: self.partitions(),
            counts: self.spreads.iter().map(|spread| spread.count).collect(),
            config: TopicConfig::from_stored(self.config.clone()),
            state: self.state,
            created_at: self.created_at,
        }
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        let mut partitions = Vec::new();
        for spread in &self.spreads {
            let first = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
            partitions.extend((first..spread.count.count).map(|index| {
                let shard = self.moved.get(&index).copied();
                let shard = shard.unwrap_or_else(|| shard_of(self.id, index, spread.shards));
                PartitionInfo { shard }
            }));
        }
        partitions
    }

    /// The name.
    pub const fn name(&self) -> &TopicName {
        &self.name
    }

    /// The number.
    pub const fn number(&self) -> TopicNumber {
        self.number
    }

    /// The state.
    pub const fn state(&self) -> TopicState {
        self.state
    }

    /// Sets the state.
    pub const fn set_state(&mut self, state: TopicState) {
        self.state = state;
    }

    /// Sets the configuration.
    pub fn set_config(&mut self, config: &TopicConfig) {
        self.config.clone_from(config.as_set());
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> u32 {
        self.spreads.last().map_or(0, |spread| spread.count.count)
    }

    /// Adds partitions up to a new count, spread over `shards`.
    pub fn grow(&mut self, count: PartitionCount, shards: u32) {
        self.spreads.push(Spread { count, shards });
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let version = match self.state {
            TopicState::Live | TopicState::Deleted { .. } => VERSION,
            TopicState::Purging { .. } => TOPIC_VERSION,
        };
        let mut row = RowWriter::new(version)
            .fixed(&self.id.to_bytes())
            .u64(self.number.get())
            .bytes(self.name.as_str().as_bytes())
            .i64(self.created_at.as_millis());
        row = match self.state {
            TopicState::Live => row.u8(0),
            TopicState::Deleted { at, purge_after } => {
                row.u8(1).i64(at.as_millis()).i64(purge_after.as_millis())
            }
            TopicState::Purging { at, purge_after } => {
                row.u8(2).i64(at.as_millis()).i64(purge_after.as_millis())
            }
        };
        row = row.u32(length(self.spreads.len()));
        for spread in &self.spreads {
            row = row
                .u32(spread.count.count)
                .i64(spread.count.since.as_millis())
                .u32(spread.shards);
        }
        row = row.u32(length(self.moved.len()));
        for (index, shard) in &self.moved {
            row = row.u32(*index).u32(shard.get());
        }
        row = row.u32(length(self.config.len()));
        for (key, value) in &self.config {
            row = row.bytes(key.as_bytes()).bytes(value.as_bytes());
        }
        row.finish()
    }

    /// Whether nothing is committed any more to a topic of which this is the row, or nothing. Of a damaged row nobody
    /// knows: whoever needs it will say so.
    pub fn is_gone(value: Option<Bytes>) -> bool {
        match value.map(Self::decode) {
            None => true,
            Some(Ok(row)) => matches!(row.state, TopicState::Purging { .. }),
            Some(Err(_)) => false,
        }
    }

    /// Reads a value back.
    pub fn decode(value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("topic", value, TOPIC_VERSION)?;
        let id = TopicId::from_bytes(row.array()?);
        let number = TopicNumber::new(row.u64()?);
        let name = TopicName::new(&row.text()?).map_err(|_| row.error("its name is not valid"))?;
        let created_at = Timestamp::from_millis(row.i64()?);
        let state = match row.u8()? {
            0 => TopicState::Live,
            1 => TopicState::Deleted {
                at: Timestamp::from_millis(row.i64()?),
                purge_after: Timestamp::from_millis(row.i64()?),
            },
            2 if version == TOPIC_VERSION => TopicState::Purging {
                at: Timestamp::from_millis(row.i64()?),
                purge_after: Timestamp::from_millis(row.i64()?),
            },
            _ => return Err(row.error("its state is unknown")),
        };
        let spreads = decode_spreads(&mut row)?;
        let mut moved = BTreeMap::new();
        for _ in 0..row.u32()? {
            moved.insert(row.u32()?, ShardId::new(row.u32()?));
        }
        let mut config = BTreeMap::new();
        for _ in 0..row.u32()? {
            config.insert(row.text()?, row.text()?);
        }
        row.finish()?;
        Ok(Self {
            id,
            number,
            name,
            spreads,
            moved,
            config,
            state,
            created_at,
        })
    }
}

fn decode_spreads(row: &mut RowReader) -> Result<Vec<Spread>, RowError> {
    let mut spreads = Vec::new();
    let mut before = 0;
    for _ in 0..row.u32()? {
        let count = row.u32()?;
        let since = Timestamp::from_millis(row.i64()?);
        let shards = row.u32()?;
        if count <= before || count > TOPIC_PARTITIONS_MAX || shards == 0 {
            return Err(row.error("its partition counts make no sense"));
        }
        before = count;
        spreads.push(Spread {
            count: PartitionCount { count, since },
            shards,
        });
    }
    if spreads.is_empty() {
        return Err(row.error("it has no partitions"));
    }
    Ok(spreads)
}

/// A length as rows carry it. Rows are below 100 kB, so that it always fits.
fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TopicRow {
        let config = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let mut row = TopicRow::new(
            TopicId::from_bytes([7; 16]),
            TopicNumber::new(3),
            TopicName::new("orders").unwrap(),
            PartitionCount {
                count: 4,
                since: Timestamp::from_millis(10),
            },
            2,
            &TopicConfig::from_stored(config),
        );
        row.grow(
            PartitionCount {
                count: 6,
                since: Timestamp::from_millis(20),
            },
            32,
        );
        row.moved.insert(1, ShardId::new(9));
        row
    }

    #[test]
    fn a_topic_row_round_trips_and_every_cut_is_an_error() {
        let row = sample();
        let value = row.encode();
        assert_eq!(TopicRow::decode(value.clone()), Ok(row));
        for cut in 0..value.len() {
            assert!(
                TopicRow::decode(value.slice(..cut)).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn only_the_row_of_a_topic_that_is_purged_is_of_the_second_version() {
        let (at, purge_after) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        let mut row = sample();
        for (state, version) in [
            (TopicState::Live, 1),
            (TopicState::Deleted { at, purge_after }, 1),
            (TopicState::Purging { at, purge_after }, 2),
        ] {
            row.set_state(state);
            let value = row.encode();
            assert_eq!(value[0], version);
            super::super::codec::assert_round_trip(&row, &value, TopicRow::decode);
        }
    }

    #[test]
    fn old_partitions_keep_their_shards_when_the_topic_grows_over_more() {
        let mut row = sample();
        row.moved.clear();
        let grown = row.info().partitions;
        row.spreads.truncate(1);
        let before = row.info().partitions;
        assert_eq!(grown[..4], before[..]);
        assert_eq!(grown.len(), 6);
        assert!(before.iter().all(|partition| partition.shard.get() < 2));
    }

    #[test]
    fn partitions_are_spread_evenly_and_always_in_the_same_way() {
        for (topic, shards) in [(1, 8), (2, 8), (3, 32), (4, 5)] {
            let topic = TopicId::from_bytes([topic; 16]);
            let mut counts = vec![0_u32; shards as usize];
            for partition in 0..shards * 64 {
                counts[shard_of(topic, partition, shards).get() as usize] += 1;
            }
            let is_even = counts.iter().all(|count| (32..=96).contains(count));
            assert!(is_even, "{counts:?}");
        }
        let first: Vec<_> = (0..12)
            .map(|partition| shard_of(TopicId::from_bytes([7; 16]), partition, 32).get())
            .collect();
        assert_eq!(first, [4, 8, 28, 10, 17, 26, 23, 5, 2, 14, 31, 0]);
    }

    #[test]
    fn a_number_row_round_trips_and_nothing_else_is_one() {
        let row = NumberRow(u64::MAX - 1);
        let value = row.encode();
        assert_eq!(NumberRow::decode(value.clone()), Ok(row));
        for cut in 0..value.len() {
            assert!(
                NumberRow::decode(value.slice(..cut)).is_err(),
                "cut at {cut}"
            );
        }
        assert!(NumberRow::decode(Bytes::from_static(&[2; 9])).is_err());
    }

    #[test]
    fn a_cluster_row_round_trips() {
        let row = ClusterRow {
            id: ClusterId::from_bytes([1; 16]),
            generation: ClusterGeneration::new(2),
            shards: 32,
        };
        assert_eq!(ClusterRow::decode(row.encode()), Ok(row));
        assert!(ClusterRow::decode(Bytes::from_static(&[9])).is_err());
    }
}
