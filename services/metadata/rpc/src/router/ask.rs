//! Questions that find their way: to anybody, or to the owner of a partition.

use std::future::Future;
use std::time::Duration;

use tidelog_env::{Backoff, BackoffPolicy, MonoTime};
use tidelog_metadata_api::{Catalogue as _, CatalogueError, ClusterError, LogError, TopicSelector};
use tidelog_types::{ShardId, TopicPartition};

use super::Router;
use crate::server::Parts;

/// The waits between attempts, cut short by a new view.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(20),
    Duration::from_millis(200),
    u32::MAX,
);

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
    deadline: MonoTime,
    backoff: Backoff,
    /// How often it has waited.
    pub(super) waits: u32,
}

impl Patience<'_> {
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
        Patience {
            router: self,
            deadline: inner.env.clock.now() + inner.settings.request_timeout,
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
        let version = topics.version();
        let selector = TopicSelector::Number(partition.topic);
        let topic = self.topic(&selector).await.map_err(|error| match error {
            CatalogueError::Unavailable { reason } => LogError::Unavailable { reason },
            CatalogueError::Corrupt { reason } => LogError::Corrupt { reason },
            CatalogueError::NotOwner => LogError::NotOwner,
            _ => LogError::UnknownPartition(partition),
        })?;
        topics.keep(&topic, version);
        let found = topic.partition(partition.partition);
        let (_, info) = found.map_err(|_| LogError::UnknownPartition(partition))?;
        Ok(info.shard)
    }
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
