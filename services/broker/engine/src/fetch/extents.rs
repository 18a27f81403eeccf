//! Extents in memory, so that a reader that goes on from where it was asks nobody.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tidelog_env::{Clock, MonoTime};
use tidelog_metadata_api::{Extent, Log, LogError, LookupAnswer, LookupRequest, PartitionBounds};
use tidelog_types::{Offset, TopicPartition};

use super::Isolation;
use super::reads::answer_bytes;
use super::watermarks::Watermarks;
use crate::metrics::FetchMetrics;

/// How much more is asked for than is wanted now.
const LOOKUP_FACTOR: u64 = 4;
/// How long nobody is asked anew where an extent lies. What has taken its place meanwhile may be in fewer objects, or
/// without the records that compaction has taken out: readers see those for no longer than this.
const TRUSTED: Duration = Duration::from_mins(1);

/// Finds extents. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct Extents {
    log: Arc<dyn Log>,
    /// By the offset at which each begins, with when it was heard of.
    cache: Cache<(TopicPartition, Offset), (Extent, MonoTime)>,
    clock: Arc<dyn Clock>,
    watermarks: Watermarks,
    metrics: FetchMetrics,
}

impl Extents {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        capacity: u64,
        clock: Arc<dyn Clock>,
        watermarks: Watermarks,
        metrics: FetchMetrics,
    ) -> Self {
        Self {
            log,
            cache: Cache::new(capacity),
            clock,
            watermarks,
            metrics,
        }
    }

    /// Takes note of an extent.
    pub(crate) fn insert(&self, partition: TopicPartition, extent: Extent) {
        let key = (partition, extent.offsets.base);
        self.cache.insert(key, (extent, self.clock.now()));
    }

    /// Forgets extents that proved to be out of date.
    pub(crate) fn forget(&self, partition: TopicPartition, extents: &[Extent]) {
        for extent in extents {
            self.cache.invalidate(&(partition, extent.offsets.base));
        }
    }

    /// Where the bytes from offsets on are, with the bounds as this broker may show them. What is not in
    /// memory is asked for in one call.
    pub(crate) async fn find_all(
        &self,
        requests: &[LookupRequest],
        isolation: Isolation,
    ) -> Vec<Result<LookupAnswer, LogError>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut missing = Vec::new();
        // Together, so that none of them waits for the owners of others first.
        let bounds: Vec<LookupRequest> = requests.iter().map(only_bounds).collect();
        let bounds = self.log.locate(&bounds).await;
        for (request, found) in requests.iter().zip(bounds) {
            let known = found.map(|found| self.known(request, found.bounds, isolation));
            if let Ok(None) = &known {
                let mut request = request.clone();
                // So that the next fetches find theirs here.
                request.bytes_max = request.bytes_max.saturating_mul(LOOKUP_FACTOR);
                missing.push(request);
            }
            answers.push(known.transpose());
        }
        if missing.is_empty() {
            return answers.into_iter().flatten().collect();
        }
        self.metrics.lookups.inc_by(missing.len() as u64);
        let located = self.log.locate(&missing).await.into_iter();
        let mut located = missing.iter().zip(located);
        let filled = answers.into_iter().map(|answer| {
            answer.unwrap_or_else(|| match located.next() {
                Some((request, found)) => found.map(|found| self.keep(request.partition, found)),
                None => Err(LogError::Behind),
            })
        });
        filled.collect()
    }

    /// What is in memory from an offset on; `None` if it is not. Where a reader's own end is, nothing more needs to
    /// be known.
    fn known(
        &self,
        request: &LookupRequest,
        bounds: PartitionBounds,
        isolation: Isolation,
    ) -> Option<LookupAnswer> {
        let bounds = self.watermarks.raise(request.partition, bounds);
        let in_log = request.offset >= bounds.log_start && request.offset <= bounds.high_watermark;
        if !in_log {
            return None;
        }
        let (extents, bytes) = self.cached(request);
        let end = extents
            .last()
            .map_or(request.offset, |last| last.offsets.next);
        let is_all = bytes >= request.bytes_max
            || extents.len() >= request.extents_max
            || end >= isolation.end(&bounds);
        if !is_all {
            return None;
        }
        self.metrics.extent_hits.inc_by(extents.len() as u64);
        Some(LookupAnswer { bounds, extents })
    }

    /// Takes note of what the log said.
    fn keep(&self, partition: TopicPartition, mut answer: LookupAnswer) -> LookupAnswer {
        answer.bounds = self.watermarks.raise(partition, answer.bounds);
        for extent in &answer.extents {
            self.insert(partition, extent.clone());
        }
        answer
    }

    /// [`find_all`](Self::find_all) for one partition.
    pub(crate) async fn find(&self, request: LookupRequest) -> Result<LookupAnswer, LogError> {
        let requests = [request];
        let all = self.find_all(&requests, Isolation::Uncommitted);
        let answer = all.await.pop();
        answer.unwrap_or(Err(LogError::Behind))
    }

    /// The run of cached extents that begins exactly at the offset asked for and may be trusted, and its bytes.
    fn cached(&self, request: &LookupRequest) -> (Vec<Extent>, u64) {
        let mut extents = Vec::new();
        let mut offset = request.offset;
        let mut bytes = 0;
        let now = self.clock.now();
        while bytes < request.bytes_max.max(1) && extents.len() < request.extents_max {
            let found = self.cache.get(&(request.partition, offset));
            let Some((extent, _)) =
                found.filter(|(_, heard)| now.saturating_since(*heard) < TRUSTED)
            else {
                break;
            };
            offset = extent.offsets.next;
            bytes += answer_bytes(&extent);
            extents.push(extent);
        }
        (extents, bytes)
    }
}

/// Asks for nothing but the bounds of the partition.
const fn only_bounds(request: &LookupRequest) -> LookupRequest {
    LookupRequest {
        partition: request.partition,
        offset: Offset::ZERO,
        bytes_max: 0,
        extents_max: 0,
    }
}
