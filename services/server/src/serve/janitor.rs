//! The janitor of this process.

use std::sync::Arc;

use async_trait::async_trait;
use tidelog_blob::Role;
use tidelog_env::CancellationToken;
use tidelog_janitor::{
    BackupsError, CompactionMetrics, CompactionParts, CompactionSettings, History, JanitorMetrics,
    JanitorParts, MergeMetrics, MergeParts, Pins, Writers,
};
use tidelog_metadata::backup::{self, Backups};
use tidelog_metadata_rpc::Parts;
use tidelog_runtime::Exit;
use tidelog_types::{Incarnation, SegmentName, Timestamp};
use tokio::task::JoinHandle;

use super::assemble::Site;
use super::part_settings::merge_settings;
use crate::cli::{CliError, Result};

/// What works in the background.
pub(super) struct Janitor {
    /// Under which it writes merged segments.
    pub(super) writer: Incarnation,
    stop: CancellationToken,
    merging: JoinHandle<Option<()>>,
}

impl Janitor {
    /// Ends merging, so that nothing more is swapped in under its names. What is deleted goes on until the tasks of the
    /// process end.
    pub(super) async fn end(self) {
        self.stop.cancel();
        // A panic in it has been told.
        let _ = self.merging.await;
    }
}

/// Begins to work.
pub(super) async fn start(site: &mut Site<'_>, parts: &Parts) -> Result<Janitor> {
    let objects = site.objects(Role::Janitor);
    let writer = parts.log.register_writer().await.map_err(|error| {
        let message = format!("the janitor cannot be a writer: {error}");
        CliError::because(Exit::Unavailable, message, error)
    })?;
    let supervisor = site.env.supervisor.clone();
    let stop = supervisor.token().child_token();
    let compaction = CompactionParts {
        compactions: Arc::clone(&parts.compactions),
        history: Arc::new(Arc::clone(&parts.log)) as Arc<dyn History>,
        settings: CompactionSettings {
            memory_bytes: site.plan.compaction(),
        },
        metrics: CompactionMetrics::new(&mut site.registry),
    };
    let merging = MergeParts {
        env: site.env.clone(),
        merges: Arc::clone(&parts.merges),
        writers: Arc::new(Arc::clone(&parts.log)) as Arc<dyn Writers>,
        objects: Arc::clone(&objects),
        layout: site.layout.clone(),
        cluster: site.cluster,
        writer,
        settings: merge_settings(&site.settings.janitor, &site.plan),
        metrics: MergeMetrics::new(&mut site.registry),
        compaction: Some(compaction),
    };
    let merging = supervisor.spawn("merge", tidelog_janitor::merge(merging, stop.clone()));
    let backups = Backups::new(Arc::clone(&objects), site.layout.clone(), site.cluster);
    let parts = JanitorParts {
        env: site.env.clone(),
        work: Arc::clone(&parts.janitor),
        objects,
        layout: site.layout.clone(),
        backups: Arc::new(InBucket(backups)),
        metrics: JanitorMetrics::new(&mut site.registry),
    };
    let working = tidelog_janitor::run(parts, supervisor.token());
    drop(supervisor.spawn("janitor", working));
    Ok(Janitor {
        writer,
        stop,
        merging,
    })
}

/// The backups in the bucket.
#[derive(Debug)]
struct InBucket(Backups);

#[async_trait]
impl tidelog_janitor::Backups for InBucket {
    async fn pins(&self) -> std::result::Result<Box<dyn Pins>, BackupsError> {
        Ok(Box::new(Pinned(self.0.pins().await?)))
    }
}

/// What they need.
#[derive(Debug)]
struct Pinned(backup::Pins);

impl Pins for Pinned {
    fn need(&self, segment: SegmentName, unnamed_since: Timestamp) -> bool {
        self.0.need(segment, unnamed_since)
    }

    fn are_under_way(&self) -> bool {
        self.0.are_under_way()
    }
}
