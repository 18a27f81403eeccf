//! Extents in memory, so that a reader that goes on from where it was asks nobody.

use std::sync::Arc;

use moka::sync::Cache;
use tidelog_metadata_api::{Extent, Log, LogError, LookupAnswer, LookupRequest};
use tidelog_types::{Offset, TopicPartition};

use super::watermarks::Watermarks;
use crate::metrics::FetchMetrics;

/// Finds extents. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct Extents {
    log: Arc<dyn Log>,
    /// By the offset at which each begins.
    cache: Cache<(TopicPartition, Offset), Extent>,
    watermarks: Watermarks,
    metrics: FetchMetrics,
}

impl Extents {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        capacity: u64,
        watermarks: Watermarks,
        metrics: FetchMetrics,
    ) -> Self {
        Self {
            log,
            cache: Cache::new(capacity),
            watermarks,
            metrics,
        }
    }

    /// Takes note of an extent.
    pub(crate) fn insert(&self, partition: TopicPartition, extent: Extent) {
        self.cache.insert((partition, extent.offsets.base), extent);
    }

    /// Forgets extents that proved to be out of date.
    pub(crate) fn forget(&self, partition: TopicPartition, extents: &[Extent]) {
        for extent in extents {
            self.cache.invalidate(&(partition, extent.offsets.base));
        }
    }

    /// Where the bytes from an offset on are, with the bounds as this broker may show them.
    pub(crate) async fn find(&self, request: LookupRequest) -> Result<LookupAnswer, LogError> {
        let partition = request.partition;
        let bounds = self.log.bounds(partition).await?;
        let bounds = self.watermarks.raise(partition, bounds);
        let in_log = request.offset >= bounds.log_start && request.offset <= bounds.high_watermark;
        if in_log {
            let extents = self.cached(&request);
            if request.offset == bounds.high_watermark || !extents.is_empty() {
                self.metrics.extent_hits.inc_by(extents.len() as u64);
                return Ok(LookupAnswer { bounds, extents });
            }
        }
        self.metrics.lookups.inc();
        let mut answer = self.log.lookup(request).await?;
        answer.bounds = self.watermarks.raise(partition, answer.bounds);
        for extent in &answer.extents {
            self.insert(partition, extent.clone());
        }
        Ok(answer)
    }

    /// The run of cached extents that begins exactly at the offset asked for.
    fn cached(&self, request: &LookupRequest) -> Vec<Extent> {
        let mut extents = Vec::new();
        let mut offset = request.offset;
        let mut bytes = 0;
        while bytes < request.bytes_max.max(1) && extents.len() < request.extents_max {
            let Some(extent) = self.cache.get(&(request.partition, offset)) else {
                break;
            };
            offset = extent.offsets.next;
            bytes += u64::from(extent.byte_count());
            extents.push(extent);
        }
        extents
    }
}
