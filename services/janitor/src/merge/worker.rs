//! Takes tasks, one after the other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{BackoffPolicy, error_chain};
use tidelog_metadata_api::{MERGE_KEEP_EVERY, MergeError, MergeId, MergeTask};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MergeParts;
use super::failure::Failure;
use super::names::{DONE_MAX, Names};
use super::pace::Pace;

/// The waits after tasks that have failed.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_secs(1), Duration::from_mins(1), u32::MAX);
/// Who has had nothing to do for so long raises the floor over the names that were used.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Memory is counted in parts of this size.
const MEMORY_PART: u64 = 1_024;

/// Merges, as many at a time as run it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) parts: MergeParts,
    pub(crate) names: Arc<Names>,
    pub(super) pace: Pace,
    memory: Arc<Semaphore>,
}

impl Worker {
    pub(super) fn new(parts: MergeParts, names: Arc<Names>) -> Self {
        let clock = Arc::clone(&parts.env.clock);
        let memory = memory_parts(parts.settings.memory_bytes);
        Self {
            pace: Pace::new(clock, parts.settings.bytes_per_second),
            memory: Arc::new(Semaphore::new(memory as usize)),
            names,
            parts,
        }
    }

    /// Takes tasks for ever. One that fails is let be: its owner gives it out again after a while, and meanwhile those of
    /// others.
    pub(super) async fn run(&self) {
        let mut backoff = RETRY.start();
        loop {
            match self.next().await {
                Ok(task) => match self.counted(task).await {
                    Ok(()) => {
                        backoff = RETRY.start();
                        continue;
                    }
                    Err(failure) => self.on_failure(&failure).await,
                },
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::debug!(error, "nobody says what is to be merged, asking again");
                }
            }
            let env = &self.parts.env;
            let wait = backoff.next_wait(env.rng.as_ref());
            env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
        }
    }

    /// The next task. Where nothing is to be merged, all names that were used are done with after a while; then nothing is
    /// asked of anybody (invariant I8).
    async fn next(&self) -> Result<MergeTask, MergeError> {
        if self.names.done() >= DONE_MAX {
            self.names.raise().await;
        }
        let mut next = self.parts.merges.next();
        if self.names.done() > 0 {
            tokio::select! {
                biased;
                task = &mut next => return task,
                () = self.parts.env.clock.sleep(IDLE_AFTER) => self.names.raise().await,
            }
        }
        next.await
    }

    async fn counted(&self, task: MergeTask) -> Result<(), Failure> {
        let metrics = &self.parts.metrics;
        let clock = &self.parts.env.clock;
        let begun = clock.now();
        let _under_way = UnderWay::new(&metrics.under_way);
        let (id, bytes, runs) = (task.id, task.bytes, task.runs.len());
        let done = tokio::select! {
            biased;
            done = self.task(task) => done,
            never = self.keep(id) => match never {},
        };
        let took = clock.now() - begun;
        metrics.seconds.observe(took.as_secs_f64());
        if done.is_ok() {
            tracing::debug!(shard = %id.shard, bytes, runs, ?took, "merged");
        }
        done
    }

    /// Says again and again that this janitor is at a task. An owner that does not hear it may lend the task to another,
    /// and then finds that what one of them has swapped is not there to be swapped any more.
    async fn keep(&self, id: MergeId) -> Infallible {
        loop {
            self.parts.env.clock.sleep(MERGE_KEEP_EVERY).await;
            if let Err(error) = self.parts.merges.keep(id).await {
                let error = error_chain(&error);
                tracing::debug!(error, shard = %id.shard, "the owner does not hear that a merge is under way");
            }
        }
    }

    async fn on_failure(&self, failure: &Failure) {
        self.parts.metrics.failure(failure.reason());
        let error = error_chain(failure);
        if failure.is_usual() {
            tracing::info!(error, "a merge was given up");
        } else {
            tracing::warn!(error, "a merge was let be, and is tried again later");
        }
        if let Some(ended) = failure.ended_writer()
            && let Err(error) = self.names.renew(ended).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "there is no writer for merged segments yet");
        }
    }

    /// Waits for so much memory, which the plan of a task has found to be there.
    pub(crate) async fn hold(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let parts = memory_parts(bytes.min(self.parts.settings.memory_bytes));
        let memory = Arc::clone(&self.memory);
        // It is never closed.
        memory.acquire_many_owned(parts).await.ok()
    }
}

fn memory_parts(bytes: u64) -> u32 {
    let parts = bytes.div_ceil(MEMORY_PART);
    u32::try_from(parts).unwrap_or(u32::MAX).min(u32::MAX >> 4)
}

/// Counts a task for as long as it lives.
struct UnderWay<'a>(&'a prometheus_client::metrics::gauge::Gauge);

impl<'a> UnderWay<'a> {
    fn new(gauge: &'a prometheus_client::metrics::gauge::Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
