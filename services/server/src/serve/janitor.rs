//! The janitor of this process.

use std::sync::Arc;

use async_trait::async_trait;
use tidelog_blob::Role;
use tidelog_janitor::{BackupsError, JanitorMetrics, JanitorParts, Pins};
use tidelog_metadata::backup::{self, Backups};
use tidelog_metadata_rpc::Parts;
use tidelog_types::{SegmentName, Timestamp};

use super::assemble::Site;
use super::storage;

/// Begins to work. It ends with the tasks of the process, wherever it is then.
pub(super) fn start(site: &mut Site<'_>, parts: &Parts) {
    let meter = site.blob.meter(Role::Janitor);
    let objects = storage::for_segments(&site.opened, site.settings, &meter, &site.env);
    let backups = Backups::new(Arc::clone(&objects), site.layout.clone(), site.cluster);
    let parts = JanitorParts {
        env: site.env.clone(),
        work: Arc::clone(&parts.janitor),
        objects,
        layout: site.layout.clone(),
        backups: Arc::new(InBucket(backups)),
        metrics: JanitorMetrics::new(&mut site.registry),
    };
    let supervisor = &site.env.supervisor;
    let working = tidelog_janitor::run(parts, supervisor.token());
    drop(supervisor.spawn("janitor", working));
}

/// The backups in the bucket.
#[derive(Debug)]
struct InBucket(Backups);

#[async_trait]
impl tidelog_janitor::Backups for InBucket {
    async fn pins(&self) -> Result<Box<dyn Pins>, BackupsError> {
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
}
