//! Which shards the partitions of topics belong to, as far as they were asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_metadata_api::{TopicInfo, TopicState};
use tidelog_types::{ShardId, TopicNumber, TopicPartition};

/// Partitions of all topics together that are kept: 4 bytes each.
const PARTITIONS_KEPT: u64 = 1_000_000;
/// A topic costs about so many partitions beside its own.
const TOPIC_WEIGHT: usize = 32;
/// What was learnt this short a time ago is not doubted.
const DOUBTED_AFTER: Duration = Duration::from_secs(1);

/// The shards of a topic's partitions.
#[derive(Clone)]
struct Kept {
    shards: Arc<[ShardId]>,
    learnt: MonoTime,
}

/// The shards of topics. What is stale is mended by news, or by a doubt where owners contradict it.
pub(crate) struct TopicShards {
    kept: moka::sync::Cache<TopicNumber, Kept>,
    /// Goes up with each change, so that what was asked before it is not kept after it.
    version: AtomicU64,
}

impl fmt::Debug for TopicShards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicShards")
            .field("topics", &self.kept.entry_count())
            .finish_non_exhaustive()
    }
}

impl TopicShards {
    pub(super) fn new() -> Self {
        let weigh = |_: &TopicNumber, kept: &Kept| {
            u32::try_from(kept.shards.len() + TOPIC_WEIGHT).unwrap_or(u32::MAX)
        };
        let kept = moka::sync::Cache::builder();
        Self {
            kept: kept.max_capacity(PARTITIONS_KEPT).weigher(weigh).build(),
            version: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, partition: TopicPartition) -> Option<ShardId> {
        let kept = self.kept.get(&partition.topic)?;
        let at = usize::try_from(partition.partition.get()).ok()?;
        kept.shards.get(at).copied()
    }

    /// To be read before a topic is asked for.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Keeps a topic that was asked for at `version`, unless news has come since.
    pub(crate) fn keep(&self, topic: &TopicInfo, version: u64, learnt: MonoTime) {
        if topic.state != TopicState::Live || self.version() != version {
            return;
        }
        let shards = topic.partitions.iter();
        let shards = shards.map(|partition| partition.shard).collect();
        self.kept.insert(topic.number, Kept { shards, learnt });
        if self.version() != version {
            self.kept.invalidate(&topic.number);
        }
    }

    pub(crate) fn forget(&self, topic: TopicNumber) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.kept.invalidate(&topic);
    }

    /// Something contradicts what is known of a topic: it is forgotten, unless it was learnt just now. So
    /// the topic is asked for about once in that time, however many contradictions there are.
    pub(crate) fn doubt(&self, topic: TopicNumber, now: MonoTime) {
        let kept = self.kept.get(&topic);
        if kept.is_some_and(|kept| now - kept.learnt >= DOUBTED_AFTER) {
            self.forget(topic);
        }
    }

    pub(super) fn invalidate_all(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.kept.invalidate_all();
    }
}
