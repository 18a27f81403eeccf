//! What is asked of what was followed.

use std::time::Duration;

use tidelog_env::Clock;
use tidelog_env::clock::timeout;
use tidelog_metadata_api::{LogError, NoticeStream, PartitionBounds, ReadToken};
use tidelog_types::{ClusterGeneration, GroupNumber, MemberId, ShardId, TopicPartition};
use tokio::sync::watch;

use super::Following;
use super::topics::TopicShards;

/// What is known of a partition's bounds when they are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// They are these.
    Current(PartitionBounds),
    /// The owner must be asked; an answer below `floor` is an old one. [`Following::learnt`] takes it with
    /// the session.
    Ask {
        /// What was shown or heard before.
        floor: PartitionBounds,
        /// The session in which the question begins.
        session: Option<u64>,
        /// Whether more may have been shown than `floor` says.
        trust: Trust,
    },
}

/// Whether an answer may be older than what was shown of the partition before (rule C9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is known what was shown.
    Floor,
    /// What was shown is forgotten. Whoever is asked has told of all groups that there was any news of, so
    /// that it knows what was shown.
    Owner,
    /// What was shown is forgotten. Whoever is asked must prove that it owns the shard.
    Proof,
}

impl Following {
    pub(crate) fn subscribe(&self) -> NoticeStream {
        NoticeStream::new(self.inner.news.subscribe())
    }

    pub(crate) fn generation(&self) -> ClusterGeneration {
        self.inner.state.lock().generation
    }

    /// What has been reached of each shard that was followed.
    pub(crate) fn seen(&self) -> Vec<ReadToken> {
        let state = self.inner.state.lock();
        let generation = state.generation;
        let reached = state.shards.iter();
        let reached = reached.filter_map(|(shard, known)| {
            let group = (*known.reached.borrow())?;
            Some(ReadToken {
                generation,
                shard: *shard,
                group,
            })
        });
        reached.collect()
    }

    /// Ends when the state that a token names has been reached.
    pub(crate) async fn reached(
        &self,
        clock: &dyn Clock,
        within: Duration,
        token: ReadToken,
    ) -> Result<(), LogError> {
        if token.generation != self.generation() {
            // A token of another life of the cluster promises nothing in this one.
            return Ok(());
        }
        let reached = timeout(clock, within, self.wait_for(token.shard, token.group));
        reached.await.map_err(|_| LogError::Behind)
    }

    async fn wait_for(&self, shard: ShardId, group: GroupNumber) {
        let mut changed = self.inner.shards_changed.subscribe();
        loop {
            changed.mark_unchanged();
            let known = self.reached_of(shard);
            let waited = match known {
                // In another life of the cluster the shard is another one.
                Some(mut reached) => reached
                    .wait_for(|reached| reached.is_some_and(|reached| reached >= group))
                    .await
                    .is_ok(),
                None => false,
            };
            if waited {
                return;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn reached_of(&self, shard: ShardId) -> Option<watch::Receiver<Option<GroupNumber>>> {
        let state = self.inner.state.lock();
        let known = state.shards.get(&shard)?;
        Some(known.reached.subscribe())
    }

    /// Which shards the partitions of topics belong to.
    pub(crate) fn topics(&self) -> &TopicShards {
        &self.inner.topics
    }

    /// What is known of a partition of `shard`, before `asked` is asked for more.
    pub(crate) fn bounds(
        &self,
        shard: ShardId,
        partition: TopicPartition,
        asked: Option<MemberId>,
    ) -> Known {
        let mut state = self.inner.state.lock();
        let told = state.told(shard);
        let known = state.shards.get(&shard);
        let heard = known.and_then(|shard| shard.heard);
        let followed = known.filter(|shard| shard.source.is_some());
        let session = followed.map(|shard| shard.session);
        let source = followed.and_then(|shard| Some(shard.source?.0));
        let is_source = source.is_some() && source == asked;
        let told = told.filter(|_| is_source).map(|(_, group)| group);
        let entry = state.bounds.open(partition);
        if session.is_some() && entry.session == session {
            return Known::Current(entry.bounds);
        }
        let trust = match (entry.is_forgotten, asked) {
            (false, _) => Trust::Floor,
            (true, Some(_)) if told >= heard => Trust::Owner,
            (true, _) => Trust::Proof,
        };
        Known::Ask {
            floor: entry.bounds,
            // What another than the source answers, its news does not keep current.
            session: session.filter(|_| is_source),
            trust,
        }
    }

    /// The owner has answered with bounds to a question that began in `session`; answers with what holds.
    pub(crate) fn learnt(
        &self,
        shard: ShardId,
        partition: TopicPartition,
        bounds: PartitionBounds,
        session: Option<u64>,
    ) -> PartitionBounds {
        let mut state = self.inner.state.lock();
        let now = state.shards.get(&shard).map(|shard| shard.session);
        let lasts = session.is_some() && session == now;
        state
            .bounds
            .learn(partition, bounds, session.filter(|_| lasts))
    }
}
