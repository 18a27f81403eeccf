//! Questions that find their way: to anybody, or to the owner of a partition.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tidelog_env::clock::timeout;
use tidelog_env::{Backoff, BackoffPolicy, MonoTime};
use tidelog_metadata_api::{
    Catalogue as _, CatalogueError, ClusterError, LogError, TopicInfo, TopicSelector,
};
use tidelog_types::{ShardId, TopicNumber, TopicPartition};

use super::Router;
use crate::server::Parts;

/// The waits between attempts, cut short by a new view.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(20),
    Duration::from_millis(200),
    u32::MAX,
);

/// Topics of one question that are asked for at once.
const TOPICS_AT_ONCE: usize = 64;

/// Errors after which somebody else may have an answer. None of them leaves a change half made.
pub(super) trait Elsewhere {
    /// Whether it is worth asking another process.
    fn is_elsewhere(&self) -> bool;
    /// Nobody has an answer.
    fn nobody(reason: String) -> Self;
}

impl Elsewhere for LogError {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NotOwner | Self::Unavailable { .. })
    }

    fn nobody(reason: String) -> Self {
        Self::Unavailable { reason }
    }
}

impl Elsewhere for CatalogueError {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NotOwner | Self::Unavailable { .. })
    }

    fn nobody(reason: String) -> Self {
        Self::Unavailable { reason }
    }
}

impl Elsewhere for ClusterError {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    fn nobody(reason: String) -> Self {
        Self::Unavailable { reason }
    }
}

/// How long a question may go on looking for its answer.
pub(super) struct Patience<'a> {
    router: &'a Router,
    begun: MonoTime,
    deadline: MonoTime,
    backoff: Backoff,
    /// How often it has waited.
    pub(super) waits: u32,
}

impl Patience<'_> {
    /// Has no more than so much time from the beginning on.
    pub(super) fn limit(&mut self, within: Duration) {
        self.deadline = self.deadline.min(self.begun + within);
    }

    /// Waits for a new view, or a moment; `false` when there is no time left.
    pub(super) async fn wait(&mut self) -> bool {
        let env = &self.router.inner.env;
        let left = self.deadline - env.clock.now();
        if left.is_zero() {
            return false;
        }
        let pause = self.backoff.next_wait(env.rng.as_ref());
        let pause = pause.unwrap_or(RETRY.max).min(left);
        let mut view = self.router.inner.view.subscribe();
        tokio::select! {
            _ = view.changed() => {}
            () = env.clock.sleep(pause) => {}
        }
        self.waits += 1;
        true
    }
}

impl Router {
    pub(super) fn patience(&self) -> Patience<'_> {
        let inner = &self.inner;
        let begun = inner.env.clock.now();
        Patience {
            router: self,
            begun,
            deadline: begun + inner.settings.request_timeout,
            backoff: RETRY.start(),
            waits: 0,
        }
    }

    /// Asks one metadata process after the other until one answers.
    pub(super) async fn anywhere<T, E, F, Fut>(&self, ask: F) -> Result<T, E>
    where
        E: Elsewhere,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let mut patience = self.patience();
        let mut last = None;
        loop {
            for parts in self.anybody() {
                match ask(parts).await {
                    Err(error) if error.is_elsewhere() => {
                        self.inner.metrics.rerouted.inc();
                        last = Some(error);
                    }
                    answer => return answer,
                }
            }
            if !patience.wait().await {
                let nobody = || E::nobody("no metadata process is known".to_owned());
                return Err(last.unwrap_or_else(nobody));
            }
        }
    }

    /// Asks the owner of a partition, and its next owner when that one is none any more. After other errors
    /// that say that there is no answer now it is asked again only if `may_repeat`.
    pub(super) async fn at_owner<T, F, Fut>(
        &self,
        partition: TopicPartition,
        may_repeat: bool,
        ask: F,
    ) -> Result<T, LogError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, LogError>> + Send,
    {
        let mut patience = self.patience();
        loop {
            let shard = self.shard_of(partition).await?;
            let owner = self.owner(&self.view(), shard);
            let error = match owner {
                Some((_, parts)) => match ask(parts).await {
                    Err(LogError::NotOwner) => {
                        self.inner.following.topics().forget(partition.topic);
                        LogError::NotOwner
                    }
                    Err(error) if may_repeat && error.is_elsewhere() => error,
                    answer => return answer,
                },
                None => no_owner(shard),
            };
            self.inner.metrics.rerouted.inc();
            if !patience.wait().await {
                return Err(unavailable(error));
            }
        }
    }

    /// The shard of a partition, if the partition exists.
    pub(super) async fn shard_of(&self, partition: TopicPartition) -> Result<ShardId, LogError> {
        let topics = self.inner.following.topics();
        if let Some(shard) = topics.get(partition) {
            return Ok(shard);
        }
        let topic = self.topic_of(partition.topic).await;
        shard_in(&topic, partition)
    }

    /// The shards of many partitions. Topics that are not known are asked for together, within the time of
    /// one question.
    pub(super) async fn shards_of(
        &self,
        partitions: &[TopicPartition],
    ) -> Vec<Result<ShardId, LogError>> {
        let topics = self.inner.following.topics();
        let known: Vec<_> = partitions.iter().map(|at| topics.get(*at)).collect();
        let unknown = partitions.iter().zip(&known);
        let unknown = unknown.filter(|(_, shard)| shard.is_none());
        let unknown: BTreeSet<TopicNumber> = unknown.map(|(at, _)| at.topic).collect();
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let asked = futures::stream::iter(unknown)
                .map(|topic| async move { (topic, self.topic_of(topic).await) });
            let mut asked = asked.buffer_unordered(TOPICS_AT_ONCE);
            let finding = async {
                while let Some((topic, info)) = asked.next().await {
                    found.insert(topic, info);
                }
            };
            let within = self.inner.settings.request_timeout;
            // Those that are not found by then are missing below.
            let _ = timeout(self.inner.env.clock.as_ref(), within, finding).await;
        }
        let shards = partitions.iter().zip(known).map(|(at, known)| match known {
            Some(shard) => Ok(shard),
            None => found.get(&at.topic).map_or_else(
                || {
                    let reason = "its topic was not found in time".to_owned();
                    Err(LogError::Unavailable { reason })
                },
                |topic| shard_in(topic, *at),
            ),
        });
        shards.collect()
    }

    async fn topic_of(&self, number: TopicNumber) -> Result<Arc<TopicInfo>, CatalogueError> {
        let topics = self.inner.following.topics();
        let version = topics.version();
        let topic = self.topic(&TopicSelector::Number(number)).await?;
        topics.keep(&topic, version);
        Ok(topic)
    }
}

/// The shard of a partition, as what was found of its topic says.
fn shard_in(
    topic: &Result<Arc<TopicInfo>, CatalogueError>,
    partition: TopicPartition,
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
    let (_, info) = topic
        .partition(partition.partition)
        .map_err(|_| unknown())?;
    Ok(info.shard)
}

/// The shard is between two owners.
pub(super) fn no_owner(shard: ShardId) -> LogError {
    LogError::Unavailable {
        reason: format!("shard `{shard}` has no owner at the moment"),
    }
}

/// What a caller hears when time is up: who owns a shard is not its business.
pub(super) fn unavailable(error: LogError) -> LogError {
    match error {
        LogError::NotOwner => LogError::Unavailable {
            reason: "the shard is moving from one metadata process to another".to_owned(),
        },
        error => error,
    }
}
