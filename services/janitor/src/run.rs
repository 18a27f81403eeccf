//! The task of the janitor.

use std::sync::Arc;
use std::time::Duration;

use tidelog_blob::ClusterLayout;
use tidelog_blob::object_store::ObjectStore;
use tidelog_env::{BackoffPolicy, CancellationToken, Env, error_chain};
use tidelog_metadata_api::JanitorWork;

use crate::deletion::Deletion;
use crate::{Backups, JanitorMetrics};

/// The waits after rounds that have failed.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_secs(1), Duration::from_mins(1), u32::MAX);

/// What a janitor is made of.
#[derive(Debug)]
pub struct JanitorParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// What there is to do.
    pub work: Arc<dyn JanitorWork>,
    /// The bucket.
    pub objects: Arc<dyn ObjectStore>,
    /// Where segments lie in it.
    pub layout: ClusterLayout,
    /// What may not be deleted, whatever metadata says.
    pub backups: Arc<dyn Backups>,
    /// Where it reports.
    pub metrics: JanitorMetrics,
}

/// Works until `stop` is cancelled, wherever it is then: what is half done is done again by whoever comes next.
pub async fn run(parts: JanitorParts, stop: CancellationToken) {
    let deletion = Deletion::new(&parts);
    stop.run_until_cancelled(delete(&parts, &deletion)).await;
}

/// Deletes what may be deleted, again and again.
async fn delete(parts: &JanitorParts, deletion: &Deletion) {
    let mut backoff = RETRY.start();
    loop {
        parts.work.due().await;
        let Err(error) = deletion.round().await else {
            backoff = RETRY.start();
            continue;
        };
        parts.metrics.failures.inc();
        let error = error_chain(&error);
        tracing::warn!(error, "segments were not deleted, which is tried again");
        let wait = backoff.next_wait(parts.env.rng.as_ref());
        parts.env.clock.sleep(wait.unwrap_or(RETRY.max)).await;
    }
}
