//! What one merge takes: entries of the tail that are in pages and not merged, cut into segments to be.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tidelog_format::location::Location;
use tidelog_format::marker::MARKER_BATCH_BYTES;
use tidelog_metadata_api::{Extent, MergeRun, TopicInfo, TopicState};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Store};
use tidelog_types::{BucketId, GroupNumber, ShardId, TopicNumber, TopicPartition};

use super::super::SequencerParts;
use super::super::error::SequencerError;
use super::super::extents::extents_of;
use super::super::keeping::topic_of;
use super::plan_left::is_in_store;
use crate::ClassBuckets;
use crate::catalogue::Catalogue;
use crate::keyspace::{Keyspace, MergedRow, PartitionRow, TailRow};

/// Extents of one window, about: all of them are in memory until it is merged.
pub(super) const EXTENTS_MAX: usize = 50_000;
/// Manifests of one window, about: the rows of all their segments are written together.
const MANIFESTS_MAX: u64 = 2_000;
/// Bytes of one window, about, in segments to be.
pub(super) const SEGMENTS_MAX: u64 = 16;
/// Extents of one run: what is swapped at once.
const RUN_EXTENTS_MAX: usize = 2_048;
/// Rows that are read at once.
const ROWS: usize = 256;
/// Partitions whose pages are read at once.
const READS_AT_ONCE: usize = 16;
/// Bytes of the index of a merged segment, about: of a run, and of an extent to be.
const INDEX_RUN_BYTES: u64 = 160;
const INDEX_EXTENT_BYTES: u64 = 32;
/// Bytes of an extent to be, about.
const EXTENT_BYTES: u64 = 1024 * 1024;

/// Which extents may share a merged segment: they go to the same bucket, and from it at about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    bucket: u16,
    is_compacted: bool,
    /// Of the hours that records are kept, the power of two; the largest for ever.
    retention: u32,
}

impl Class {
    #[cfg(test)]
    pub(super) const fn of_bucket(bucket: u16) -> Self {
        Self {
            bucket,
            is_compacted: false,
            retention: 0,
        }
    }

    fn of(topic: &TopicInfo, bucket: BucketId) -> Self {
        const HOUR: i64 = 60 * 60 * 1_000;
        let policy = topic.config.cleanup_policy();
        let millis = topic.config.retention_millis().filter(|_| policy.delete);
        Self {
            bucket: bucket.get(),
            is_compacted: policy.compact,
            retention: millis.map_or(u32::MAX, |millis| {
                let hours = u64::try_from(millis.max(0) / HOUR).unwrap_or_default();
                u64::BITS - hours.leading_zeros()
            }),
        }
    }
}

/// One merged segment to be.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) bucket: BucketId,
    pub(super) bytes: u64,
    pub(super) runs: Vec<MergeRun>,
}

/// What is merged together.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Where it ends.
    pub(super) merged: MergedRow,
    pub(super) manifests: u64,
    pub(super) bytes: u64,
    pub(super) segments: Vec<Planned>,
}

/// Where plans are read from.
#[derive(Clone, Debug)]
pub(crate) struct Planning {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Keyspace,
    pub(super) catalogue: Catalogue,
    pub(super) shard: ShardId,
    classes: ClassBuckets,
    /// Bytes of a merged segment.
    segment_bytes: u64,
}

/// Entries of the tail, by partition.
#[derive(Debug, Default)]
struct Gathered {
    runs: BTreeMap<TopicPartition, Vec<Extent>>,
    extents: usize,
    window: Window,
}

impl Gathered {
    fn is_full(&self, segment_bytes: u64) -> bool {
        self.extents >= EXTENTS_MAX
            || self.window.manifests >= MANIFESTS_MAX
            || self.window.bytes >= segment_bytes.saturating_mul(SEGMENTS_MAX)
    }

    fn row(&mut self, row: TailRow) {
        match row {
            TailRow::Manifest {
                manifest, receipt, ..
            } => {
                self.window.manifests += 1;
                for (partition, extent) in extents_of(&manifest, &receipt.outcomes) {
                    self.extent(partition, extent);
                }
            }
            TailRow::Markers {
                commit_time,
                markers,
            } => {
                for marker in markers {
                    self.extent(marker.partition, marker.extent(commit_time));
                }
            }
            TailRow::Command { .. } => {}
        }
    }

    fn extent(&mut self, partition: TopicPartition, extent: Extent) {
        self.window.bytes += u64::from(extent.byte_count());
        self.extents += 1;
        self.runs.entry(partition).or_default().push(extent);
    }
}

impl Planning {
    pub(crate) fn new(parts: &SequencerParts, shard: ShardId) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            keys: parts.keys,
            catalogue: parts.catalogue.clone(),
            shard,
            classes: parts.classes.clone(),
            segment_bytes: parts.settings.merge.bytes,
        }
    }

    /// How far the shard has been merged.
    pub(super) async fn merged(&self) -> Result<MergedRow, SequencerError> {
        let mut transaction = self.store.begin().await?;
        let key = self.keys.merged(self.shard);
        let value = transaction.get(&key, ReadMode::Snapshot).await?;
        Ok(value
            .map(MergedRow::decode)
            .transpose()?
            .unwrap_or_default())
    }

    /// What is to be merged between two groups; nothing of it changes meanwhile, since nobody but the caller makes
    /// entries go.
    pub(super) async fn window(
        &self,
        merged: MergedRow,
        checkpoint: GroupNumber,
    ) -> Result<Window, SequencerError> {
        let end = self.keys.tail(self.shard, checkpoint, u32::MAX);
        let mut rest = Some(KeyRange {
            end: Some(KeyRange::successor(&end)),
            ..self.keys.tail_after(self.shard, merged.group)
        });
        let mut gathered = Gathered::default();
        gathered.window.merged = merged;
        let mut is_all = true;
        while let Some(range) = rest.take() {
            let mut transaction = self.store.begin().await?;
            let options = ScanOptions::limit(ROWS).snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for row in page.rows {
                let (group, row) = TailRow::of_row(row)?;
                let at = gathered.window.merged.group;
                if group > at && gathered.is_full(self.segment_bytes) {
                    rest = None;
                    is_all = false;
                    break;
                }
                gathered.window.merged = MergedRow {
                    group,
                    commit_time: row.commit_time(),
                };
                gathered.row(row);
            }
        }
        if is_all {
            gathered.window.merged.group = checkpoint;
        }
        let mut window = gathered.window;
        window.segments = self.cut(gathered.runs).await?;
        Ok(window)
    }

    /// Cuts what was gathered into segments, each of one class, as far as it is worth it.
    pub(super) async fn cut(
        &self,
        runs: BTreeMap<TopicPartition, Vec<Extent>>,
    ) -> Result<Vec<Planned>, SequencerError> {
        let mut segments = self.cut_all(runs).await?;
        segments.retain(Planned::is_worth_it);
        Ok(segments)
    }

    /// Cuts all that was gathered into segments, each of one class.
    pub(super) async fn cut_all(
        &self,
        runs: BTreeMap<TopicPartition, Vec<Extent>>,
    ) -> Result<Vec<Planned>, SequencerError> {
        let partitions: Vec<TopicPartition> = runs.keys().copied().collect();
        let reclaimed = self.reclaimed(&partitions).await?;
        let mut topics: HashMap<TopicNumber, Option<Arc<TopicInfo>>> = HashMap::new();
        let mut classes: BTreeMap<Class, Vec<MergeRun>> = BTreeMap::new();
        let runs = runs.into_iter().zip(reclaimed);
        let left = runs.map(|((partition, mut extents), reclaimed)| async move {
            extents.retain(|extent| extent.offsets.next > reclaimed);
            let extents = self.left(partition, extents).await?;
            Ok::<_, SequencerError>((partition, extents))
        });
        // Whoever asks for merges waits for all of it.
        let mut left = stream::iter(left).buffered(READS_AT_ONCE);
        while let Some((partition, extents)) = left.try_next().await? {
            let topic = match topics.entry(partition.topic) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(topic_of(&self.catalogue, partition.topic).await?),
            };
            // Of one that is purged all goes anyway.
            let is_kept =
                |topic: &&Arc<TopicInfo>| !matches!(topic.state, TopicState::Purging { .. });
            let topic = topic.as_ref().filter(is_kept);
            let Some((topic, there)) = topic.zip(bucket_of_run(&extents)) else {
                // Nobody has it any more, or there are markers alone, which take no bytes as they are.
                continue;
            };
            let bucket = self.classes.of(&topic.config, there);
            let partition_count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            classes
                .entry(Class::of(topic, bucket))
                .or_default()
                .push(MergeRun {
                    topic_id: topic.id,
                    topic_name: topic.name.clone(),
                    partition_count,
                    partition,
                    extents,
                });
        }
        let mut all = Vec::new();
        for (class, mut runs) in classes {
            runs.sort_unstable_by_key(|run| (run.topic_id, run.partition.partition));
            let bucket = BucketId::new(class.bucket);
            all.extend(segments(bucket, runs, self.segment_bytes));
        }
        Ok(all)
    }

    /// The class of what a topic has in a bucket.
    pub(super) fn class_of(&self, topic: &TopicInfo, there: BucketId) -> Class {
        Class::of(topic, self.classes.of(&topic.config, there))
    }

    async fn reclaimed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<tidelog_types::Offset>, SequencerError> {
        let mut reclaimed = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(ROWS) {
            let mut transaction = self.store.begin().await?;
            let keys = some
                .iter()
                .map(|at| (self.keys.partition(*at), ReadMode::Snapshot));
            let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
            for value in values {
                let row = value.map(PartitionRow::decode).transpose()?;
                reclaimed.push(row.unwrap_or_default().reclaimed);
            }
        }
        Ok(reclaimed)
    }
}

/// The bucket that a run is merged in: the one that it lies in, as far as that is not the store. What lies there alone
/// goes where the log began. Nothing if it lies nowhere.
fn bucket_of_run(extents: &[Extent]) -> Option<BucketId> {
    let buckets = extents.iter().filter_map(bucket_of);
    let mut in_store = None;
    for bucket in buckets {
        if !bucket.is_store() {
            return Some(bucket);
        }
        in_store = Some(BucketId::default());
    }
    in_store
}

const fn bucket_of(extent: &Extent) -> Option<BucketId> {
    match extent.location {
        Location::Segment { bucket, .. } => Some(bucket),
        Location::Inline { .. } | Location::Marker(_) => None,
    }
}

/// Bytes that an extent takes when it is merged.
pub(super) const fn merged_bytes(extent: &Extent) -> u64 {
    match extent.location {
        Location::Segment { length, .. } => length as u64,
        Location::Marker(_) => MARKER_BATCH_BYTES as u64,
        Location::Inline { .. } => 0,
    }
}

/// Cuts runs into segments that are full but the last. A run may be cut, between two extents.
fn segments(bucket: BucketId, runs: Vec<MergeRun>, segment_bytes: u64) -> Vec<Planned> {
    let mut segments = Vec::new();
    let empty = || Planned {
        bucket,
        bytes: 0,
        runs: Vec::new(),
    };
    let mut open = empty();
    let mut size = 0;
    for run in runs {
        let MergeRun {
            topic_id,
            topic_name,
            partition_count,
            partition,
            extents,
        } = run;
        let mut is_begun = false;
        for extent in extents {
            let bytes = merged_bytes(&extent);
            let index = INDEX_EXTENT_BYTES * (1 + bytes / EXTENT_BYTES);
            let of_run = |is_begun| if is_begun { 0 } else { INDEX_RUN_BYTES };
            let is_long = is_begun
                && open
                    .runs
                    .last()
                    .is_some_and(|run| run.extents.len() >= RUN_EXTENTS_MAX);
            let is_over = size + bytes + index + of_run(is_begun) > segment_bytes;
            if (is_long || is_over) && !open.runs.is_empty() {
                segments.push(std::mem::replace(&mut open, empty()));
                size = 0;
                is_begun = false;
            }
            size += bytes + index + of_run(is_begun);
            open.bytes += bytes;
            match open.runs.last_mut().filter(|_| is_begun) {
                Some(run) => run.extents.push(extent),
                None => open.runs.push(MergeRun {
                    topic_id,
                    topic_name: topic_name.clone(),
                    partition_count,
                    partition,
                    extents: vec![extent],
                }),
            }
            is_begun = true;
        }
    }
    if !open.runs.is_empty() {
        segments.push(open);
    }
    segments
}

impl Planned {
    /// Whether something moves out of the store.
    pub(super) fn is_in_store(&self) -> bool {
        let mut extents = self.runs.iter().flat_map(|run| &run.extents);
        extents.any(is_in_store)
    }

    /// Whether fewer extents come of it, or fewer segments stay, or something gets into the bucket where it is to stay.
    fn is_worth_it(&self) -> bool {
        if self.is_in_store() {
            return true;
        }
        let extents = self.runs.iter().flat_map(|run| &run.extents);
        let mut buckets = extents.clone().filter_map(bucket_of);
        if buckets.any(|bucket| bucket != self.bucket) {
            return true;
        }
        let mut segments = extents.filter_map(|extent| match extent.location {
            Location::Segment { segment, .. } => Some(segment),
            Location::Inline { .. } | Location::Marker(_) => None,
        });
        let first = segments.next();
        segments.any(|segment| Some(segment) != first)
    }
}
