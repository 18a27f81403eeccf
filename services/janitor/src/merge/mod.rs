//! Merges extents: reads what many segments hold of some partitions, proves every byte of it, and writes it as one
//! segment in which each partition is contiguous. The owner of the shard says what to merge, and puts what came of it in
//! the place of what was.
//!
//! ```text
//!   owner -- task --> plan -- ranged GETs --> prove, place -- PUT if absent --> swap, some runs at a time -- finish --> owner
//!                                               |
//!                                               damaged: told of, left as it is
//! ```
//!
//! Whatever happens on the way, readers find either what was there before or a whole proven copy. A janitor that dies
//! leaves an object that nobody names, below or just above the floor of its writer, which deletion finds.

mod failure;
mod metrics;
mod names;
mod pace;
mod plan;
mod read;
mod settings;
mod sparse;
mod swap;
mod task;
#[cfg(test)]
mod tests;
mod worker;
mod write;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use tidelog_blob::ClusterLayout;
use tidelog_blob::object_store::ObjectStore;
use tidelog_env::clock::timeout;
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::Merges;
use tidelog_types::{ClusterId, Incarnation};

pub(crate) use failure::Failure;
pub use metrics::MergeMetrics;
pub(crate) use names::DONE_MAX;
use names::Names;
pub use settings::MergeSettings;
pub(crate) use worker::Worker;
pub use writers::Writers;

use crate::compaction::{CompactionParts, Compactor};

/// How long the end of the writer may take to be noted. If it is not, the end of the member notes it.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// What merging is made of.
#[derive(Clone, Debug)]
pub struct MergeParts {
    /// Clock, randomness, tasks.
    pub env: Env,
    /// Who gives out what is to be merged.
    pub merges: Arc<dyn Merges>,
    /// Who keeps the floor of the writer.
    pub writers: Arc<dyn Writers>,
    /// The bucket.
    pub objects: Arc<dyn ObjectStore>,
    /// Where segments lie in it.
    pub layout: ClusterLayout,
    /// The cluster.
    pub cluster: ClusterId,
    /// The incarnation under which merged segments are written; nobody else writes under it.
    pub writer: Incarnation,
    /// Limits.
    pub settings: MergeSettings,
    /// Where it reports.
    pub metrics: MergeMetrics,
    /// What compacts beside it, if anything does: it writes as the same writer.
    pub compaction: Option<CompactionParts>,
}

/// Merges until `stop` is cancelled, wherever it is then: what is half done is done anew by whoever comes next. At the
/// end nothing more can be swapped in under its names.
pub async fn merge(parts: MergeParts, stop: CancellationToken) {
    let names = Arc::new(Names::new(Arc::clone(&parts.writers), parts.writer));
    let clock = Arc::clone(&parts.env.clock);
    let count = parts.settings.at_once.max(1);
    let worker = Arc::new(Worker::new(parts, Arc::clone(&names)));
    let compaction = worker.parts.compaction.clone();
    let compactor = compaction.map(|parts| Compactor::new(parts, Arc::clone(&worker)));
    let compacting = async {
        if let Some(compactor) = &compactor {
            compactor.run().await;
        }
    };
    let workers = (0..count).map(|_| worker.run());
    stop.run_until_cancelled(join(join_all(workers), compacting))
        .await;
    if timeout(clock.as_ref(), CLOSE_WITHIN, names.raise())
        .await
        .is_err()
    {
        tracing::debug!("the floor of the writer of merged segments was not raised in time");
    }
}
