//! Where partitions are: the shards that their topics say.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use tidelog_env::MonoTime;
use tidelog_metadata_api::{CatalogueError, LogError, TopicInfo, TopicSelector};
use tidelog_types::{ShardId, TopicNumber, TopicPartition};

use super::Router;
use super::ask::Twice;
use crate::server::Parts;

/// Topics of one question that are asked for at once.
const TOPICS_AT_ONCE: usize = 64;

/// The topics whose partitions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// Those that are live.
    Live,
    /// Also those that are deleted and may be brought back.
    Kept,
}

impl Router {
    /// The shard of a partition of these topics, if the partition exists.
    pub(super) async fn shard_of(
        &self,
        partition: TopicPartition,
        topics: Topics,
        deadline: MonoTime,
    ) -> Result<ShardId, LogError> {
        if let Some(shard) = self.inner.following.topics().get(partition) {
            return Ok(shard);
        }
        let topic = self.topic_of(partition.topic, deadline).await;
        shard_in(&topic, partition, topics)
    }

    /// The shards of many partitions. Topics that are not known are asked for together, within half of the
    /// time until the deadline: those that are known shall have theirs.
    pub(super) async fn shards_of(
        &self,
        partitions: &[TopicPartition],
        topics: Topics,
        deadline: MonoTime,
    ) -> Vec<Result<ShardId, LogError>> {
        let known = self.inner.following.topics();
        let known: Vec<_> = partitions.iter().map(|at| known.get(*at)).collect();
        let unknown = partitions.iter().zip(&known);
        let unknown = unknown.filter(|(_, shard)| shard.is_none());
        let unknown: BTreeSet<TopicNumber> = unknown.map(|(at, _)| at.topic).collect();
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let now = self.inner.env.clock.now();
            let deadline = now + (deadline - now) / 2;
            let asked = futures::stream::iter(unknown)
                .map(|topic| async move { (topic, self.topic_of(topic, deadline).await) });
            let mut asked = asked.buffer_unordered(TOPICS_AT_ONCE);
            let finding = async {
                while let Some((topic, info)) = asked.next().await {
                    found.insert(topic, info);
                }
            };
            // Those that are not found by then are missing below.
            let _ = self.until(deadline, finding).await;
        }
        let shards = partitions.iter().zip(known).map(|(at, known)| match known {
            Some(shard) => Ok(shard),
            None => found.get(&at.topic).map_or_else(
                || {
                    let reason = "its topic was not found in time".to_owned();
                    Err(LogError::Unavailable { reason })
                },
                |topic| shard_in(topic, *at, topics),
            ),
        });
        shards.collect()
    }

    async fn topic_of(
        &self,
        number: TopicNumber,
        deadline: MonoTime,
    ) -> Result<Arc<TopicInfo>, CatalogueError> {
        let topics = self.inner.following.topics();
        let version = topics.version();
        let selector = TopicSelector::Number(number);
        let selector = &selector;
        let ask = |parts: Parts| async move { parts.catalogue.topic(selector).await };
        let patience = self.patience_until(deadline);
        let topic = self.anywhere_in(patience, Twice::Harmless, ask).await?;
        topics.keep(&topic, version, self.inner.env.clock.now());
        Ok(topic)
    }
}

/// The shard of a partition, as what was found of its topic says.
fn shard_in(
    topic: &Result<Arc<TopicInfo>, CatalogueError>,
    partition: TopicPartition,
    topics: Topics,
) -> Result<ShardId, LogError> {
    let unknown = || LogError::UnknownPartition(partition);
    let topic = topic.as_ref().map_err(|error| match error {
        CatalogueError::Unavailable { reason } => LogError::Unavailable {
            reason: reason.clone(),
        },
        CatalogueError::Corrupt { reason } => LogError::Corrupt {
            reason: reason.clone(),
        },
        CatalogueError::NotOwner => LogError::NotOwner,
        _ => unknown(),
    })?;
    let index = partition.partition;
    let info = match topics {
        Topics::Live => topic.partition(index).map(|(_, info)| info).ok(),
        Topics::Kept => topic.kept_partition(index),
    };
    info.map(|info| info.shard).ok_or_else(unknown)
}
