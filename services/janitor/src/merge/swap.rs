//! Tells the owner of the shard what came of a task.

use std::future::Future;
use std::time::Duration;

use tidelog_env::BackoffPolicy;
use tidelog_metadata_api::{MergeError, MergeId, MergedRun, SWAP_RUNS_MAX, SwapOutcome};
use tidelog_types::SegmentName;

use super::failure::Failure;
use super::worker::Worker;

/// Extents of one call at most, but for a run that has more: so that a message stays small.
const SWAP_EXTENTS_MAX: usize = 2_048;
/// The waits while the owner does not answer: about a minute and a half, after which the task is another's.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(100), Duration::from_secs(10), 15);

impl Worker {
    /// Has the runs put in the place of what they were made of. What could not be put there is not needed.
    pub(super) async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<(), Failure> {
        for part in parts(runs) {
            let (merges, asked) = (&self.parts.merges, part.len());
            let swap = || merges.swap(id, segment, part.clone());
            let outcomes = self.patiently(swap).await.map_err(Failure::Owner)?;
            if outcomes.len() != asked {
                let reason = format!("`{}` answers for `{asked}` runs", outcomes.len());
                return Err(Failure::Owner(MergeError::Unavailable { reason }));
            }
            for outcome in outcomes {
                self.parts.metrics.run(match outcome {
                    SwapOutcome::Swapped => "swapped",
                    SwapOutcome::Changed => "changed",
                });
            }
        }
        Ok(())
    }

    /// Says that the task is done.
    pub(super) async fn finish(&self, id: MergeId) -> Result<(), Failure> {
        let finish = || self.parts.merges.finish(id);
        self.patiently(finish).await.map_err(Failure::Owner)
    }

    /// Asks again while it is not known what became of it.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T, MergeError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, MergeError> {
        let env = &self.parts.env;
        let mut backoff = RETRY.start();
        loop {
            let error = match ask().await {
                Err(error @ MergeError::Unavailable { .. }) => error,
                answer => return answer,
            };
            let Some(wait) = backoff.next_wait(env.rng.as_ref()) else {
                return Err(error);
            };
            env.clock.sleep(wait).await;
        }
    }
}

/// Parts that one call takes, in order.
fn parts(runs: Vec<MergedRun>) -> Vec<Vec<MergedRun>> {
    let mut parts: Vec<Vec<MergedRun>> = Vec::new();
    let mut extents = 0;
    for run in runs {
        let with = extents + run.extents.len();
        match parts.last_mut() {
            Some(part) if part.len() < SWAP_RUNS_MAX && with <= SWAP_EXTENTS_MAX => {
                part.push(run);
                extents = with;
            }
            _ => {
                extents = run.extents.len();
                parts.push(vec![run]);
            }
        }
    }
    parts
}
