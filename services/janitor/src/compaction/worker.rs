//! Takes partitions that are due, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{BackoffPolicy, error_chain};
use tidelog_metadata_api::{CompactionTask, MERGE_KEEP_EVERY, MergeError};

use super::CompactionParts;
use super::failure::Failure;
use crate::merge::{DONE_MAX, Worker};

/// The waits after tasks that have failed.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_secs(1), Duration::from_mins(1), u32::MAX);
/// Who has had nothing to do for so long raises the floor over the names that were used.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// Compacts. It reads and writes as merging does, under names of the same writer.
#[derive(Debug)]
pub(crate) struct Compactor {
    pub(super) parts: CompactionParts,
    pub(super) worker: Arc<Worker>,
}

impl Compactor {
    pub(crate) const fn new(parts: CompactionParts, worker: Arc<Worker>) -> Self {
        Self { parts, worker }
    }

    /// Takes tasks for ever. One that fails is let be: its owner gives it out again after a while.
    pub(crate) async fn run(&self) {
        let env = &self.worker.parts.env;
        let mut backoff = RETRY.start();
        loop {
            match self.next().await {
                Ok(task) => match self.held(&task).await {
                    Ok(()) => {
                        self.parts.metrics.tasks.inc();
                        backoff = RETRY.start();
                        continue;
                    }
                    // It was on its way for too long, or its topic wants something else by now: there may be others.
                    Err(Failure::Owner(MergeError::Gone)) => continue,
                    Err(failure) => self.on_failure(&task, &failure).await,
                },
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(error, "nobody says what is to be compacted, asking again");
                }
            }
            let wait = backoff.next_wait(env.rng.as_ref());
            env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
        }
    }

    /// The next task. Where none is due, all names that were used are done with after a while (invariant I8).
    async fn next(&self) -> Result<CompactionTask, MergeError> {
        let names = &self.worker.names;
        if names.done() >= DONE_MAX {
            names.raise().await;
        }
        let mut next = self.parts.compactions.next_compaction();
        if names.done() > 0 {
            tokio::select! {
                biased;
                task = &mut next => return task,
                () = self.worker.parts.env.clock.sleep(IDLE_AFTER) => names.raise().await,
            }
        }
        next.await
    }

    /// Does a task, and says again and again that it is at it, also while it waits for memory or the bucket: an owner that does
    /// not hear it lends it to another one.
    async fn held(&self, task: &CompactionTask) -> Result<(), Failure> {
        let hold = || self.parts.compactions.hold_compaction(task.id, None);
        self.worker.patiently(hold).await.map_err(Failure::Owner)?;
        tokio::select! {
            biased;
            done = self.task(task) => done,
            failure = self.hold(task) => Err(failure),
        }
    }

    /// Ends when the owner does not know the task any more.
    async fn hold(&self, task: &CompactionTask) -> Failure {
        loop {
            self.worker.parts.env.clock.sleep(MERGE_KEEP_EVERY).await;
            match self.parts.compactions.hold_compaction(task.id, None).await {
                Ok(()) => {}
                Err(MergeError::Gone) => return Failure::Owner(MergeError::Gone),
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::debug!(
                        error,
                        "the owner does not hear that a compaction is under way"
                    );
                }
            }
        }
    }

    async fn on_failure(&self, task: &CompactionTask, failure: &Failure) {
        self.parts.metrics.failure(failure.reason());
        let error = error_chain(failure);
        let (partition, topic) = (task.partition, &task.topic_name);
        if failure.is_lasting() {
            tracing::warn!(%partition, %topic, error, "a partition cannot be compacted");
            let reason = Some(error);
            // Who owns it by then finds out by itself.
            let _ = self
                .parts
                .compactions
                .hold_compaction(task.id, reason)
                .await;
        } else {
            tracing::info!(%partition, %topic, error, "a compaction was let be, and is tried again later");
        }
        if let Failure::Owner(MergeError::BelowFloor(name)) = failure
            && let Err(error) = self.worker.names.renew(name.incarnation).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "there is no writer for compacted segments yet");
        }
    }
}
