//! Requests find the coordinator of their shard, and the next one when it is none any more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata_api::ClusterView;
use tidelog_types::{MemberId, ShardId};

use super::ask::{Twice, no_answer};
use super::{Router, named};
use crate::server::Parts;

/// How long a coordinator of before may still answer: one that has given its shard away says so at once.
const LAST_ANSWER: Duration = Duration::from_millis(250);

/// How a request is to be treated on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    twice: Twice,
    /// Whether it waits for others, so that nobody can say how long it takes.
    waits: bool,
}

/// It does no harm when it is made twice.
pub(super) const QUESTION: Manner = Manner {
    twice: Twice::Harmless,
    waits: false,
};
/// Made again it may find what it has done itself.
pub(super) const CHANGE: Manner = Manner {
    twice: Twice::Harmful,
    waits: false,
};
/// The same for one that waits for others.
pub(super) const LONG: Manner = Manner {
    twice: Twice::Harmful,
    waits: true,
};

/// Errors of coordinators.
pub(super) trait Coordinated: Sized {
    /// Whether another process, or the same one later, may have an answer.
    fn is_elsewhere(&self, twice: Twice) -> bool;
    /// Nobody has answered in time.
    fn unheard(reason: String, twice: Twice) -> Self;
    /// Nobody is known to coordinate the shard.
    fn loading() -> Self;
    /// Whoever was asked coordinates the shard no more.
    fn not_coordinator() -> Self;
}

impl Router {
    /// Asks the coordinator of a shard.
    pub(super) async fn at_coordinator<T, E, F, Fut>(
        &self,
        shard: impl Fn(&ClusterView) -> ShardId + Send,
        manner: Manner,
        ask: F,
    ) -> Result<T, E>
    where
        E: Coordinated + Send,
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let mut patience = self.patience();
        loop {
            let view = self.view();
            let shard = shard(&view);
            let error = match self.owner(&view, shard) {
                Some((owner, parts)) => {
                    let asked = self.unless_moved(owner, shard, manner, ask(parts));
                    let answer = if manner.waits {
                        Ok(asked.await)
                    } else {
                        self.until(patience.deadline(), asked).await
                    };
                    match answer {
                        Ok(Err(error)) if error.is_elsewhere(manner.twice) => error,
                        Ok(answer) => return answer,
                        // There is no time left to ask again.
                        Err(elapsed) => return Err(E::unheard(no_answer(elapsed), manner.twice)),
                    }
                }
                None => E::loading(),
            };
            self.inner.metrics.rerouted.inc();
            if !patience.wait().await {
                return Err(error);
            }
        }
    }

    /// What a coordinator answers, or that it is none any more when a view says so and it says nothing more.
    async fn unless_moved<T, E: Coordinated>(
        &self,
        owner: MemberId,
        shard: ShardId,
        manner: Manner,
        answer: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let mut view = self.inner.view.subscribe();
        let has_moved = |view: &Arc<ClusterView>| {
            let now = named(view, shard).and_then(|now| now.owner);
            now.is_some_and(|now| now != owner)
        };
        let moved = async {
            if view.wait_for(has_moved).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.inner.env.clock.sleep(LAST_ANSWER).await;
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = moved => Err(if manner.twice == Twice::Harmful && !manner.waits {
                // It may have been done.
                E::unheard("the shard has moved".to_owned(), manner.twice)
            } else {
                E::not_coordinator()
            }),
        }
    }
}
