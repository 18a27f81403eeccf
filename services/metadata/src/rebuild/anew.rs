//! A cluster of which there are segments and nothing else.

use tidelog_types::{TopicNumber, TopicPartition};

use super::RebuildError;
use super::found::Found;
use crate::backup::Remains;
use crate::keyspace::shard_of;

/// Shards of a cluster at most that is rebuilt without a backup.
const SHARDS_MAX: u32 = 4_096;

impl Found {
    /// What can be told of the cluster by its segments. `shards`: what it is likely to have.
    pub(super) fn remains(&self, shards: u32) -> Result<Remains, RebuildError> {
        let pieces = self.partitions.values().flat_map(|found| &found.pieces);
        let committed_at = pieces.map(|piece| piece.committed_at).max();
        let mut candidates = std::iter::once(shards.max(1)).chain(1..=SHARDS_MAX);
        let shards = candidates.find(|shards| self.are_of(*shards));
        Ok(Remains {
            shards: shards.ok_or(RebuildError::Shards(SHARDS_MAX))?,
            committed_at: committed_at.unwrap_or_default(),
        })
    }

    /// Whether so many shards put every partition where its segments say that it is.
    fn are_of(&self, shards: u32) -> bool {
        let told = self.partitions.iter();
        let told = told.filter_map(|(at, found)| Some((*at, found.shard?.0)));
        told.into_iter().all(|(at, shard)| {
            let TopicPartition { topic, partition } = at;
            let id = self.id_of(topic);
            id.is_none_or(|id| shard_of(id, partition.get(), shards) == shard)
        })
    }

    fn id_of(&self, topic: TopicNumber) -> Option<tidelog_types::TopicId> {
        Some(self.topics.get(&topic)?.id)
    }
}
