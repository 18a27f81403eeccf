//! Commits to an owner that hangs are not waited for once others own all of their shards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tidelog_metadata_api::{ClusterView, CommitAnswer, CommitError};
use tidelog_types::{MemberId, ShardId};

use super::{Router, named};

/// How long an owner of before may still answer: one that has given a shard away in good order says so at once.
const LAST_ANSWER: Duration = Duration::from_millis(250);

type CommitAnswers = Vec<Result<CommitAnswer, CommitError>>;

impl Router {
    /// The answers of an owner. When a view names others for all of the shards and this one says nothing more,
    /// all are unknown, as after a connection that broke: the next owners know what became of them. While it has
    /// one of them it may only be slow.
    pub(super) async fn unless_another_owns(
        self,
        owner: MemberId,
        shards: BTreeSet<ShardId>,
        count: usize,
        answers: BoxFuture<'static, CommitAnswers>,
    ) -> CommitAnswers {
        let mut view = self.inner.view.subscribe();
        let has_moved = |view: &Arc<ClusterView>| {
            let now = |shard: &ShardId| named(view, *shard)?.owner;
            shards
                .iter()
                .all(|shard| now(shard).is_some_and(|now| now != owner))
        };
        let moved = async {
            if view.wait_for(has_moved).await.is_err() {
                return std::future::pending().await;
            }
            self.inner.env.clock.sleep(LAST_ANSWER).await;
        };
        tokio::select! {
            biased;
            answers = answers => answers,
            () = moved => {
                self.inner.metrics.rerouted.inc();
                tracing::info!(member = %owner, "a former owner has not answered commits");
                (0..count).map(|_| Err(CommitError::Unknown)).collect()
            }
        }
    }
}
