//! News of commits, from sequencers to brokers.

use std::sync::Arc;

use tidelog_types::{GroupNumber, ShardId, TopicNumber, TopicPartition};
use tokio::sync::broadcast;

use crate::{Extent, PartitionBounds};

/// A partition has moved on.
#[derive(Clone, Debug)]
pub struct PartitionAdvance {
    /// The partition.
    pub partition: TopicPartition,
    /// Its bounds now.
    pub bounds: PartitionBounds,
    /// What was added, in order. Empty when only a bound moved.
    pub extents: Vec<Extent>,
}

/// What one group transaction of a shard changed.
#[derive(Clone, Debug)]
pub struct CommitNotice {
    /// The shard.
    pub shard: ShardId,
    /// The group.
    pub group: GroupNumber,
    /// The partitions that moved.
    pub advances: Vec<PartitionAdvance>,
}

/// One piece of news.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A group was committed.
    Commit(Arc<CommitNotice>),
    /// A topic was created, changed or deleted: forget what you know of it.
    Topic(TopicNumber),
    /// This process has gained or lost shards, or got one back: what was committed while it did not own a
    /// shard is no news of this process.
    Shards,
    /// Some news was missed: forget everything that is cached and may have changed.
    Missed,
}

/// Receives news. A receiver that is too slow loses the oldest and is told so by [`Notice::Missed`].
#[derive(Debug)]
pub struct NoticeStream {
    receiver: broadcast::Receiver<Notice>,
}

impl NoticeStream {
    /// Wraps the receiving side.
    pub const fn new(receiver: broadcast::Receiver<Notice>) -> Self {
        Self { receiver }
    }

    /// The next piece of news; `None` when the service has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.receiver.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
