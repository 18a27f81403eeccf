//! What owners of shards lend to janitors, from all of them.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use tidelog_env::{BackoffPolicy, Env};
use tidelog_metadata_api::{MergeError, MergeId};
use tokio::sync::Mutex;

use super::local::others;
use super::nodes::Node;
use super::{LocalMember, Router};
use crate::server::Parts;

/// The waits before an owner that has failed is asked again.
const RETRY: BackoffPolicy = BackoffPolicy::new(
    Duration::from_millis(100),
    Duration::from_secs(10),
    u32::MAX,
);

/// How one owner is asked for a task.
pub(super) type Ask<T> = fn(Parts) -> BoxFuture<'static, Result<T, MergeError>>;

/// Tasks of one kind. All owners are asked, each once at a time. Questions outlive the call that has begun them, so that no
/// task that is on its way is lost. Where a task takes long, one of each other owner may be stale after it: whoever takes it hears
/// so when it says that it is at it.
#[derive(Debug)]
pub(super) struct Lent<T> {
    asking: Mutex<Asking<T>>,
}

impl<T> Default for Lent<T> {
    fn default() -> Self {
        Self {
            asking: Mutex::new(Asking {
                asked: HashSet::new(),
                tasks: FuturesUnordered::new(),
            }),
        }
    }
}

#[derive(Debug)]
struct Asking<T> {
    /// The addresses of those that are asked; empty for the service of this process.
    asked: HashSet<String>,
    tasks: FuturesUnordered<BoxFuture<'static, (String, Option<T>)>>,
}

impl<T: Send + 'static> Asking<T> {
    fn ask(&mut self, address: &str, task: impl Future<Output = Option<T>> + Send + 'static) {
        if self.asked.insert(address.to_owned()) {
            let address = address.to_owned();
            self.tasks.push(task.map(|task| (address, task)).boxed());
        }
    }
}

impl Router {
    /// Waits for the next task of any owner.
    pub(super) async fn next_lent<T: Send + 'static>(
        &self,
        lent: &Lent<T>,
        ask: Ask<T>,
    ) -> Result<T, MergeError> {
        let mut asking = lent.asking.lock().await;
        let mut view = self.inner.view.subscribe();
        loop {
            view.borrow_and_update();
            self.ask_owners(&mut asking, ask);
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

    /// Asks those that own a shard, as far as they are not asked already.
    fn ask_owners<T: Send + 'static>(&self, asking: &mut Asking<T>, ask: Ask<T>) {
        let inner = &self.inner;
        if let Some(local) = &inner.local {
            let asked = ask_local(inner.env.clone(), local.clone(), ask);
            asking.ask("", asked.map(Some));
        }
        let view = self.view();
        let owners: HashSet<_> = view.shards.iter().filter_map(|shard| shard.owner).collect();
        let owning = others(inner.local.as_ref(), &view).filter(|(id, _)| owners.contains(id));
        for (_, address) in owning {
            // One that cannot be reached at all has been told of.
            if let Ok(node) = self.node(&address) {
                asking.ask(&address, ask_remote(inner.env.clone(), node, ask));
            }
        }
    }

    /// Who has lent a task, or owns its shard by now.
    pub(super) fn lender(&self, id: MergeId) -> Result<Parts, MergeError> {
        let owner = self.owner(&self.view(), id.shard);
        let nobody = || unavailable(format!("shard `{}` has no owner at the moment", id.shard));
        owner.map(|(_, parts)| parts).ok_or_else(nobody)
    }
}

/// A task of another process; none when that one has left the cluster.
async fn ask_remote<T>(env: Env, node: Node, ask: Ask<T>) -> Option<T> {
    let asking = patiently(&env, &node.parts, ask);
    node.stop.run_until_cancelled(asking).await
}

/// A task of this process, whenever it is active.
async fn ask_local<T>(env: Env, mut local: LocalMember, ask: Ask<T>) -> T {
    loop {
        let parts = local.active().await;
        tokio::select! {
            task = patiently(&env, &parts, ask) => return task,
            () = local.changed() => {}
        }
    }
}

/// Asks again after errors.
async fn patiently<T>(env: &Env, parts: &Parts, ask: Ask<T>) -> T {
    let mut backoff = RETRY.start();
    loop {
        match ask(parts.clone()).await {
            Ok(task) => return task,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "an owner does not say what there is to do");
            }
        }
        let wait = backoff.next_wait(env.rng.as_ref());
        env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
    }
}

const fn unavailable(reason: String) -> MergeError {
    MergeError::Unavailable { reason }
}
