//! What is to be merged, from all owners of shards.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use tidelog_env::{BackoffPolicy, Env};
use tidelog_metadata_api::{
    IndexedSlice, MergeError, MergeId, MergeTask, MergedRun, Merges, SwapOutcome,
};
use tidelog_types::SegmentName;
use tokio::sync::Mutex;

use super::local::others;
use super::nodes::Node;
use super::{LocalMember, Router};

/// The waits before an owner that has failed is asked again.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(100),
    Duration::from_secs(10),
    u32::MAX,
);

/// All owners are asked, each once at a time. Questions outlive the call that has begun them, so that no task that is on
/// its way is lost.
#[derive(Debug, Default)]
pub(super) struct Merging {
    asking: Mutex<Asking>,
}

#[derive(Debug, Default)]
struct Asking {
    /// The addresses of those that are asked; empty for the service of this process.
    asked: HashSet<String>,
    tasks: FuturesUnordered<BoxFuture<'static, (String, Option<MergeTask>)>>,
}

impl Asking {
    fn ask(
        &mut self,
        address: &str,
        task: impl Future<Output = Option<MergeTask>> + Send + 'static,
    ) {
        if self.asked.insert(address.to_owned()) {
            let address = address.to_owned();
            self.tasks.push(task.map(|task| (address, task)).boxed());
        }
    }
}

#[async_trait]
impl Merges for Router {
    async fn next(&self) -> Result<MergeTask, MergeError> {
        let mut asking = self.inner.merging.asking.lock().await;
        let mut view = self.inner.view.subscribe();
        loop {
            view.borrow_and_update();
            self.ask_owners(&mut asking);
            tokio::select! {
                Some((address, task)) = asking.tasks.next() => {
                    asking.asked.remove(&address);
                    if let Some(task) = task {
                        return Ok(task);
                    }
                }
                changed = view.changed() => if changed.is_err() {
                    return Err(unavailable("this process is going away".to_owned()));
                }
            }
        }
    }

    async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        self.owner_of_merge(id)?.keep(id).await
    }

    async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.swap(id, segment, runs).await
    }

    async fn describe(
        &self,
        id: MergeId,
        segment: SegmentName,
        slices: Vec<IndexedSlice>,
    ) -> Result<(), MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.describe(id, segment, slices).await
    }

    async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        let owner = self.owner_of_merge(id)?;
        owner.finish(id).await
    }
}

impl Router {
    /// Asks those that own a shard, as far as they are not asked already.
    fn ask_owners(&self, asking: &mut Asking) {
        let inner = &self.inner;
        if let Some(local) = &inner.local {
            let asked = ask_local(inner.env.clone(), local.clone());
            asking.ask("", asked.map(Some));
        }
        let view = self.view();
        let owners: HashSet<_> = view.shards.iter().filter_map(|shard| shard.owner).collect();
        let owning = others(inner.local.as_ref(), &view).filter(|(id, _)| owners.contains(id));
        for (_, address) in owning {
            // One that cannot be reached at all has been told of.
            if let Ok(node) = self.node(&address) {
                asking.ask(&address, ask_remote(inner.env.clone(), node));
            }
        }
    }

    fn owner_of_merge(&self, id: MergeId) -> Result<Arc<dyn Merges>, MergeError> {
        let owner = self.owner(&self.view(), id.shard);
        let nobody = || unavailable(format!("shard `{}` has no owner at the moment", id.shard));
        owner.map(|(_, parts)| parts.merges).ok_or_else(nobody)
    }
}

/// A task of another process; none when that one has left the cluster.
async fn ask_remote(env: Env, node: Node) -> Option<MergeTask> {
    let asking = patiently(&env, node.parts.merges.as_ref());
    node.stop.run_until_cancelled(asking).await
}

/// A task of this process, whenever it is active.
async fn ask_local(env: Env, mut local: LocalMember) -> MergeTask {
    loop {
        let parts = local.active().await;
        tokio::select! {
            task = patiently(&env, parts.merges.as_ref()) => return task,
            () = local.changed() => {}
        }
    }
}

/// Asks again after errors.
async fn patiently(env: &Env, merges: &dyn Merges) -> MergeTask {
    let mut backoff = RETRY.start();
    loop {
        match merges.next().await {
            Ok(task) => return task,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "an owner does not say what is to be merged");
            }
        }
        let wait = backoff.next_wait(env.rng.as_ref());
        env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
    }
}

const fn unavailable(reason: String) -> MergeError {
    MergeError::Unavailable { reason }
}
