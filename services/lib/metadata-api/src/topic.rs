//! Topics as the catalogue knows them.

use tidelog_types::{
    ErrorCode, PartitionIndex, ShardId, Timestamp, TopicId, TopicName, TopicNumber, TopicPartition,
};

use crate::TopicConfig;

/// Whether a topic can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It can.
    Live,
    /// It was deleted and can be undeleted until it is purged.
    Deleted {
        /// When it was deleted.
        at: Timestamp,
        /// When it may be purged.
        purge_after: Timestamp,
    },
    /// It was deleted, its time is over, and what there is of it goes: nothing brings it back.
    Purging {
        /// When it was deleted.
        at: Timestamp,
        /// Since when it might be purged.
        purge_after: Timestamp,
    },
}

/// A partition as the catalogue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The shard that sequences it. Stored at its creation, so that it can move later.
    pub shard: ShardId,
}

/// A partition count and since when it holds: keyed order holds within one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount {
    /// How many partitions.
    pub count: u32,
    /// Commit time of the change.
    pub since: Timestamp,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Names it for ever.
    pub id: TopicId,
    /// Its compact number.
    pub number: TopicNumber,
    /// What people call it.
    pub name: TopicName,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionInfo>,
    /// Each partition count that it had, oldest first.
    pub counts: Vec<PartitionCount>,
    /// Its configuration.
    pub config: TopicConfig,
    /// Whether it can be used.
    pub state: TopicState,
    /// When it was created.
    pub created_at: Timestamp,
}

impl TopicInfo {
    /// The partition with this index, if the topic is live and has it.
    pub fn partition(
        &self,
        index: PartitionIndex,
    ) -> Result<(TopicPartition, PartitionInfo), ErrorCode> {
        if self.state != TopicState::Live {
            return Err(ErrorCode::UnknownTopic);
        }
        usize::try_from(index.get())
            .ok()
            .and_then(|at| self.partitions.get(at))
            .map(|info| (TopicPartition::new(self.number, index), *info))
            .ok_or(ErrorCode::UnknownPartition)
    }

    /// Where a partition is kept, also of a topic that is deleted and may be brought back.
    pub fn kept_partition(&self, index: PartitionIndex) -> Option<PartitionInfo> {
        let at = usize::try_from(index.get()).ok()?;
        self.partitions.get(at).copied()
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }
}
