//! Questions that find their way: to anybody, or to the owner of a partition.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tidelog_env::clock::{Elapsed, timeout};
use tidelog_env::{Backoff, BackoffPolicy, MonoTime};
use tidelog_metadata_api::{CatalogueError, ClusterError, ClusterView, LogError, ShardOwner};
use tidelog_types::{MemberId, ShardId, TopicNumber, TopicPartition};

use super::shards::Topics;
use super::{Router, named};
use crate::server::Parts;

/// The waits between attempts, cut short by a new view.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(20),
    Duration::from_millis(200),
    u32::MAX,
);

/// Who has not answered a question for so long is not waited for alone any more.
const BESIDE_AFTER: Duration = Duration::from_millis(300);

/// What becomes of it when something is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    /// Nothing: it is a question, or a change that is made once.
    Harmless,
    /// It may happen twice, or find what it has done itself. When no answer comes it is not asked again.
    Harmful,
}

/// Errors after which somebody else may have an answer. None of them leaves a change half made.
pub(super) trait Elsewhere {
    /// Whether it is worth asking another process.
    fn is_elsewhere(&self) -> bool;
    /// Nobody has an answer.
    fn nobody(reason: String) -> Self;
    /// Somebody was asked for a change and has not answered in time.
    fn unheard(reason: String) -> Self;
}

impl Elsewhere for LogError {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NotOwner | Self::Unavailable { .. })
    }

    fn nobody(reason: String) -> Self {
        Self::Unavailable { reason }
    }

    fn unheard(reason: String) -> Self {
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

    fn unheard(_: String) -> Self {
        Self::Unknown
    }
}

impl Elsewhere for ClusterError {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    fn nobody(reason: String) -> Self {
        Self::Unavailable { reason }
    }

    fn unheard(reason: String) -> Self {
        Self::Unavailable { reason }
    }
}

/// How long a question may go on looking for its answer. Whatever is asked on the way is asked within that
/// time too, so that it is the time of the question as a whole.
pub(super) struct Patience<'a> {
    router: &'a Router,
    begun: MonoTime,
    deadline: MonoTime,
    backoff: Backoff,
    /// How often it has waited.
    pub(super) waits: u32,
}

impl Patience<'_> {
    /// When it ends.
    pub(super) const fn deadline(&self) -> MonoTime {
        self.deadline
    }

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
        let within = self.inner.settings.request_timeout;
        self.patience_until(self.inner.env.clock.now() + within)
    }

    pub(super) fn patience_until(&self, deadline: MonoTime) -> Patience<'_> {
        Patience {
            router: self,
            begun: self.inner.env.clock.now(),
            deadline,
            backoff: RETRY.start(),
            waits: 0,
        }
    }

    /// What comes of a future until the deadline.
    pub(super) async fn until<F: Future>(
        &self,
        deadline: MonoTime,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let clock = self.inner.env.clock.as_ref();
        timeout(clock, deadline - clock.now(), future).await
    }

    /// Asks one metadata process after the other until one answers.
    pub(super) async fn anywhere<T, E, F, Fut>(&self, twice: Twice, ask: F) -> Result<T, E>
    where
        E: Elsewhere,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.anywhere_in(self.patience(), twice, ask).await
    }

    pub(super) async fn anywhere_in<T, E, F, Fut>(
        &self,
        mut patience: Patience<'_>,
        twice: Twice,
        ask: F,
    ) -> Result<T, E>
    where
        E: Elsewhere,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let mut last = None;
        loop {
            let asked = match twice {
                Twice::Harmless => self.ask_beside(patience.deadline, &ask, &mut last).await,
                Twice::Harmful => self.ask_in_turn(patience.deadline, &ask, &mut last).await,
            };
            if let Some(answer) = asked {
                return answer;
            }
            if !patience.wait().await {
                let nobody = || E::nobody("no metadata process is known".to_owned());
                return Err(last.unwrap_or_else(nobody));
            }
        }
    }

    /// Asks each once, the next one when the one before has said that it has no answer. `None` if none has.
    async fn ask_in_turn<T, E, F, Fut>(
        &self,
        deadline: MonoTime,
        ask: &F,
        last: &mut Option<E>,
    ) -> Option<Result<T, E>>
    where
        E: Elsewhere,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        for parts in self.anybody() {
            if (deadline - self.inner.env.clock.now()).is_zero() {
                break;
            }
            match self.until(deadline, ask(parts)).await {
                Ok(Err(error)) if error.is_elsewhere() => *last = Some(error),
                Ok(answer) => return Some(answer),
                Err(elapsed) => return Some(Err(E::unheard(no_answer(elapsed)))),
            }
            self.inner.metrics.rerouted.inc();
        }
        None
    }

    /// Asks each once, the next one also when the one before has not answered for a moment: one that hangs
    /// keeps nobody waiting, and one that is only slow still has its time. `None` if none has an answer, or
    /// when the view comes from another process, which has one.
    async fn ask_beside<T, E, F, Fut>(
        &self,
        deadline: MonoTime,
        ask: &F,
        last: &mut Option<E>,
    ) -> Option<Result<T, E>>
    where
        E: Elsewhere,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let clock = self.inner.env.clock.as_ref();
        let mut view = self.inner.view.subscribe();
        let home = self.inner.nodes.lock().home.clone();
        let mut to_ask = self.anybody().into_iter();
        let mut asked = FuturesUnordered::new();
        asked.extend(to_ask.next().map(ask));
        while !asked.is_empty() {
            let left = deadline - clock.now();
            if left.is_zero() {
                break;
            }
            let pause = match to_ask.len() {
                0 => left,
                _ => BESIDE_AFTER.min(left),
            };
            tokio::select! {
                biased;
                Some(answer) = asked.next() => match answer {
                    Err(error) if error.is_elsewhere() => *last = Some(error),
                    answer => return Some(answer),
                },
                _ = view.changed() => {
                    if self.inner.nodes.lock().home != home {
                        return None;
                    }
                    continue;
                }
                () = clock.sleep(pause) => {
                    let waited = Elapsed(pause);
                    last.get_or_insert_with(|| E::nobody(no_answer(waited)));
                }
            }
            self.inner.metrics.rerouted.inc();
            asked.extend(to_ask.next().map(ask));
        }
        None
    }

    /// Asks the owner of a partition, and its next owner when that one is none any more. After other errors
    /// that say that there is no answer now it is asked again only if that does no harm.
    pub(super) async fn at_owner<T, F, Fut>(
        &self,
        partition: TopicPartition,
        twice: Twice,
        ask: F,
    ) -> Result<T, LogError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, LogError>> + Send,
    {
        self.at_owner_of(partition, Topics::Live, twice, ask).await
    }

    /// The same, of these topics.
    pub(super) async fn at_owner_of<T, F, Fut>(
        &self,
        partition: TopicPartition,
        topics: Topics,
        twice: Twice,
        ask: F,
    ) -> Result<T, LogError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, LogError>> + Send,
    {
        let mut patience = self.patience();
        loop {
            let shard = self.shard_of(partition, topics, patience.deadline).await?;
            let view = self.view();
            let error = match self.owner(&view, shard) {
                Some((owner, parts)) => match self
                    .until(patience.deadline, self.at(owner, shard, twice, ask(parts)))
                    .await
                {
                    Ok(Err(LogError::NotOwner)) => {
                        self.on_denial(named(&view, shard), partition.topic);
                        LogError::NotOwner
                    }
                    Ok(Err(error)) if twice == Twice::Harmless && error.is_elsewhere() => error,
                    Ok(answer) => return answer,
                    // There is no time left to ask again.
                    Err(elapsed) => LogError::unheard(no_answer(elapsed)),
                },
                None => no_owner(shard),
            };
            self.inner.metrics.rerouted.inc();
            if !patience.wait().await {
                return Err(unavailable(error));
            }
        }
    }

    /// What the owner of a shard answers; if it may be asked again, that it is the owner no more when the view
    /// says so first, as it does of one that hangs.
    async fn at<T>(
        &self,
        owner: MemberId,
        shard: ShardId,
        twice: Twice,
        answer: impl Future<Output = Result<T, LogError>> + Send,
    ) -> Result<T, LogError> {
        let mut view = self.inner.view.subscribe();
        let is_other =
            |view: &Arc<ClusterView>| named(view, shard).and_then(|it| it.owner) != Some(owner);
        tokio::select! {
            biased;
            answer = answer => answer,
            _ = view.wait_for(is_other), if twice == Twice::Harmless => Err(LogError::NotOwner),
        }
    }

    /// The owner that a view names has said that it is none. That says something about the shard, and the
    /// next view will too; about the topic only if it goes on.
    pub(super) fn on_denial(&self, named: Option<ShardOwner>, topic: TopicNumber) {
        let now = self.inner.env.clock.now();
        if named.is_some_and(|named| self.inner.denials.note(named, now)) {
            self.inner.following.topics().doubt(topic, now);
        }
    }
}

/// The shard is between two owners.
pub(super) fn no_owner(shard: ShardId) -> LogError {
    LogError::Unavailable {
        reason: format!("shard `{shard}` has no owner at the moment"),
    }
}

/// Nobody has said anything for so long.
pub(super) fn no_answer(elapsed: Elapsed) -> String {
    format!("no metadata process answered within `{:?}`", elapsed.0)
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
