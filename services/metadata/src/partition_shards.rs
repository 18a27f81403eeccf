//! The shards of partitions, as topics say and as far as they are remembered.

use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata_api::{CatalogueError, LogError, TopicInfo, TopicSelector};
use tidelog_types::{ShardId, TopicPartition};

use crate::catalogue::Catalogue;

/// Partitions whose shard is remembered.
const REMEMBERED_MAX: u64 = 100_000;

/// Where the shard of a partition is looked up, and kept once it is known. Clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct PartitionShards {
    catalogue: Catalogue,
    known: moka::sync::Cache<TopicPartition, ShardId>,
}

impl PartitionShards {
    /// `known_for`: how long a partition is taken to be in the shard that it was found in, where other processes change
    /// topics too; else until this process changes one.
    pub(crate) fn new(catalogue: Catalogue, known_for: Option<Duration>) -> Self {
        let known = moka::sync::Cache::builder().max_capacity(REMEMBERED_MAX);
        let known = match known_for {
            Some(known_for) => known.time_to_live(known_for).build(),
            None => known.build(),
        };
        Self { catalogue, known }
    }

    /// The shard of a partition, if it is remembered.
    pub(crate) fn known(&self, partition: &TopicPartition) -> Option<ShardId> {
        self.known.get(partition)
    }

    /// The shard of a partition, if the partition exists.
    pub(crate) async fn shard(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        match self.known(&partition) {
            Some(shard) => Ok(shard),
            None => self.find(partition).await,
        }
    }

    /// The shard of a partition, also of a topic that is deleted and may be brought back.
    pub(crate) async fn kept_shard(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        if let Some(shard) = self.known(&partition) {
            return Ok(shard);
        }
        let topic = self.topic(partition).await?;
        let kept = topic.kept_partition(partition.partition);
        let kept = kept.ok_or(LogError::UnknownPartition(partition))?;
        Ok(kept.shard)
    }

    /// Forgets everything: a topic has changed.
    pub(crate) fn forget(&self) {
        self.known.invalidate_all();
    }

    async fn find(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        let topic = self.topic(partition).await?;
        let (_, info) = topic
            .partition(partition.partition)
            .map_err(|_| LogError::UnknownPartition(partition))?;
        self.known.insert(partition, info.shard);
        Ok(info.shard)
    }

    async fn topic(&self, partition: TopicPartition) -> Result<Arc<TopicInfo>, LogError> {
        let selector = TopicSelector::Number(partition.topic);
        let topic = self.catalogue.topic(&selector).await;
        topic.map_err(|error| match error {
            CatalogueError::Unavailable { reason } => LogError::Unavailable { reason },
            CatalogueError::NotOwner => LogError::NotOwner,
            _ => LogError::UnknownPartition(partition),
        })
    }
}
