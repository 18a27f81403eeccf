//! Deletes segments that nothing names: what metadata hands out, unless a backup needs it.

mod orphans;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::iter;
use thiserror::Error;
use tidelog_blob::ClusterLayout;
use tidelog_blob::buckets::{self, UnknownBucket};
use tidelog_blob::object_store::{self, ObjectStore};
use tidelog_metadata_api::{DeadSegment, Deletions, JanitorWork, LogError};
use tidelog_types::{BucketId, SegmentName};

use crate::{Backups, BackupsError, JanitorMetrics, JanitorParts, Pins};

/// Why a round did not come to its end. What it has done it has reported.
#[derive(Debug, Error)]
pub(crate) enum DeletionError {
    #[error("metadata did not say what to delete, or did not hear what was deleted")]
    Metadata(#[source] LogError),
    #[error("it is not known what backups need")]
    Backups(#[source] BackupsError),
    #[error("the cluster has a bucket more than this process knows")]
    Unknown(#[source] UnknownBucket),
    #[error("the bucket did not do what it was asked for")]
    Bucket(#[source] object_store::Error),
}

/// Deletes segments.
#[derive(Debug)]
pub(crate) struct Deletion {
    work: Arc<dyn JanitorWork>,
    objects: Arc<dyn ObjectStore>,
    layout: ClusterLayout,
    backups: Arc<dyn Backups>,
    metrics: JanitorMetrics,
}

/// What comes of a round.
#[derive(Debug, Default)]
struct Done {
    deletions: Deletions,
    pinned: bool,
    error: Option<object_store::Error>,
}

impl Deletion {
    pub(crate) fn new(parts: &JanitorParts) -> Self {
        Self {
            work: Arc::clone(&parts.work),
            objects: Arc::clone(&parts.objects),
            layout: parts.layout.clone(),
            backups: Arc::clone(&parts.backups),
            metrics: parts.metrics.clone(),
        }
    }

    /// Does what is to be done now. What fails is handed out again.
    pub(crate) async fn round(&self) -> Result<(), DeletionError> {
        let taken = self.work.deletions().await;
        let taken = taken.map_err(DeletionError::Metadata)?;
        if taken.is_empty() {
            return Ok(());
        }
        // What lies in a bucket that this process does not know would be taken for deleted.
        let newer = buckets::newer(self.objects.as_ref(), &self.layout).await;
        if let Some(bucket) = newer.map_err(DeletionError::Bucket)? {
            return Err(DeletionError::Unknown(UnknownBucket(bucket)));
        }
        // After metadata has said that nothing names them: a backup that begins later names them no more.
        let pins = self.backups.pins().await;
        let pins = pins.map_err(DeletionError::Backups)?;
        let mut done = Done::default();
        self.dead(taken.dead, pins.as_ref(), &mut done).await;
        for search in taken.orphans {
            self.orphans(search, pins.as_ref(), &mut done).await;
        }
        let told = self.work.deleted(done.deletions, done.pinned).await;
        told.map_err(DeletionError::Metadata)?;
        match done.error {
            Some(error) => Err(DeletionError::Bucket(error)),
            None => Ok(()),
        }
    }

    async fn dead(&self, dead: Vec<DeadSegment>, pins: &dyn Pins, done: &mut Done) {
        let is_pinned = |dead: &DeadSegment| {
            if dead.in_store {
                pins.are_under_way()
            } else {
                pins.need(dead.segment, dead.dead_since)
            }
        };
        let (pinned, dead): (Vec<_>, Vec<_>) = dead.into_iter().partition(is_pinned);
        self.pinned(pinned.len(), done);
        // What lies in the store goes when that hears of it.
        let (in_store, dead): (Vec<_>, Vec<_>) = dead.into_iter().partition(|dead| dead.in_store);
        self.metrics.inline_deleted.inc_by(in_store.len() as u64);
        done.deletions.dead.extend(in_store);
        let names = dead.iter().map(|dead| dead.segment).collect();
        for (dead, result) in dead.into_iter().zip(self.delete(names).await) {
            match result {
                Ok(()) => {
                    self.metrics.segments_deleted.inc();
                    self.metrics.deleted_bytes.inc_by(dead.bytes);
                    done.deletions.dead.push(dead);
                }
                Err(error) => done.error = Some(error),
            }
        }
    }

    fn pinned(&self, count: usize, done: &mut Done) {
        if count > 0 {
            done.pinned = true;
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.metrics.pinned.inc_by(count);
        }
    }

    /// Deletes segments; one result for each, in their order. One that is not there has been deleted before. Which bucket
    /// they lie in is not known here: a name is given once, so what is there in any of them is what is meant.
    async fn delete(&self, names: Vec<SegmentName>) -> Vec<object_store::Result<()>> {
        let mut results: Vec<object_store::Result<()>> = Vec::new();
        results.resize_with(names.len(), || Ok(()));
        for bucket in self.layout.buckets() {
            let deleted = self.delete_in(bucket, &names).await;
            for (result, deleted) in results.iter_mut().zip(deleted) {
                if deleted.is_err() {
                    *result = deleted;
                }
            }
        }
        results
    }

    async fn delete_in(
        &self,
        bucket: BucketId,
        names: &[SegmentName],
    ) -> Vec<object_store::Result<()>> {
        let count = names.len();
        if count == 0 {
            return Vec::new();
        }
        let paths: Vec<_> = names
            .iter()
            .map(|name| self.layout.segment(bucket, *name))
            .collect();
        let deleted = self
            .objects
            .delete_stream(iter(paths.into_iter().map(Ok)).boxed());
        let results = deleted.map(|result| match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        });
        let mut results: Vec<_> = results.collect().await;
        // A store that answers for fewer has not said what became of the others.
        results.resize_with(count, || {
            Err(object_store::Error::Generic {
                store: "bucket",
                source: "it did not say what became of a deletion".into(),
            })
        });
        results
    }
}
