//! Looks at the partitions of a shard for those that are to be compacted.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::{CatalogueError, Extent, TopicInfo};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Store, StoreError};
use tidelog_types::{
    BucketId, Offset, PartitionIndex, ShardId, Timestamp, TopicNumber, TopicPartition,
};

use super::super::SequencerParts;
use super::super::error::SequencerError;
use super::super::extents::extents_of;
use super::super::keeping::topic_of;
use super::due::{Dirty, Seen, Verdict, Wanted, earlier};
use crate::ClassBuckets;
use crate::catalogue::Catalogue;
use crate::keyspace::{CompactedRow, Keyspace, MergedRow, PageRow, PartitionRow, TailRow};

/// Topics and rows that are read at once.
const TOPICS: usize = 100;
const ROWS: usize = 256;
/// Pages that are read at once, and of one partition in one look: what lies beyond comes in a later one.
const PAGES: usize = 32;
const PAGES_MAX: usize = 4_096;
/// Partitions that one look brings at most: those of which the largest part is dirty.
const FOUND_MAX: usize = 256;

/// A partition that is due.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) topic: Arc<TopicInfo>,
    pub(crate) partition: TopicPartition,
    pub(crate) wanted: Wanted,
    pub(crate) bucket: BucketId,
    pub(crate) start: Offset,
    pub(crate) cleaned: Offset,
    pub(crate) end: Offset,
    pub(crate) committed_at: Timestamp,
    pub(crate) ratio: f64,
}

/// What a look at all partitions has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// The dirtiest first.
    pub(crate) found: Vec<Found>,
    /// When something else is due, as things are.
    pub(crate) due: Option<Timestamp>,
    /// Partitions with rows that cannot be read.
    pub(crate) damaged: usize,
}

/// What a look at one partition comes to.
#[derive(Debug)]
enum Seeing {
    Due(Found),
    /// Not before this time, as things are.
    Later(Option<Timestamp>),
}

/// Reads what there is to know. All of it is read by snapshot, and what has changed since is found out by the swap.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    store: Arc<dyn Store>,
    keys: Keyspace,
    pub(super) catalogue: Catalogue,
    pub(super) shard: ShardId,
    classes: ClassBuckets,
}

impl Look {
    pub(crate) fn new(parts: &SequencerParts, shard: ShardId) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            keys: parts.keys,
            catalogue: parts.catalogue.clone(),
            shard,
            classes: parts.classes.clone(),
        }
    }

    /// What is wanted of a topic by now; nothing if its logs are not to be compacted.
    pub(crate) async fn wanted(
        &self,
        topic: TopicNumber,
    ) -> Result<Option<Wanted>, SequencerError> {
        let topic = topic_of(&self.catalogue, topic).await?;
        Ok(topic.and_then(|topic| Wanted::of(&topic)))
    }

    /// Looks at all partitions but some.
    pub(crate) async fn all(
        &self,
        now: Timestamp,
        is_left_out: impl Fn(TopicPartition) -> bool,
    ) -> Result<Looked, SequencerError> {
        let mut looked = Looked::default();
        let mut unmerged = None;
        let mut after = TopicNumber::default();
        loop {
            let numbers = self.catalogue.numbers(after, TOPICS).await;
            let numbers = numbers.map_err(unread)?;
            for number in &numbers {
                let Some(topic) = topic_of(&self.catalogue, *number).await? else {
                    continue;
                };
                let Some(wanted) = Wanted::of(&topic) else {
                    continue;
                };
                let mut partitions = self.partitions(&topic);
                partitions.retain(|partition| !is_left_out(*partition));
                if partitions.is_empty() {
                    continue;
                }
                if unmerged.is_none() {
                    unmerged = Some(self.unmerged().await?);
                }
                let bounds = unmerged.as_ref();
                for some in partitions.chunks(ROWS) {
                    self.some(&topic, wanted, some, bounds, now, &mut looked)
                        .await?;
                }
            }
            match numbers.last() {
                Some(last) if numbers.len() == TOPICS => after = *last,
                _ => break,
            }
        }
        looked
            .found
            .sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
        looked.found.truncate(FOUND_MAX);
        Ok(looked)
    }

    /// The partitions of a topic that are of this shard.
    fn partitions(&self, topic: &TopicInfo) -> Vec<TopicPartition> {
        let indexed = (0..).zip(&topic.partitions);
        let ours = indexed.filter(|(_, info)| info.shard == self.shard);
        ours.map(|(index, _)| TopicPartition::new(topic.number, PartitionIndex::new(index)))
            .collect()
    }

    /// Where in each partition the first extent lies that is not merged. Partitions without one are merged as a whole.
    async fn unmerged(&self) -> Result<HashMap<TopicPartition, Offset>, SequencerError> {
        let mut transaction = self.store.begin().await?;
        let key = self.keys.merged(self.shard);
        let merged = transaction.get(&key, ReadMode::Snapshot).await?;
        let merged = merged.map(MergedRow::decode).transpose()?;
        let mut rest = Some(
            self.keys
                .tail_after(self.shard, merged.unwrap_or_default().group),
        );
        let mut first: HashMap<TopicPartition, Offset> = HashMap::new();
        let mut note = |partition, base| {
            first.entry(partition).or_insert(base);
        };
        while let Some(range) = rest.take() {
            let mut transaction = self.store.begin().await?;
            let options = ScanOptions::limit(ROWS).snapshot();
            let page = transaction.scan(range.clone(), options).await?;
            rest = page.next(&range, options.direction);
            for row in page.rows {
                match TailRow::of_row(row)?.1 {
                    TailRow::Manifest {
                        manifest, receipt, ..
                    } => {
                        for (partition, extent) in extents_of(&manifest, &receipt.outcomes) {
                            note(partition, extent.offsets.base);
                        }
                    }
                    TailRow::Markers { markers, .. } => {
                        for marker in markers {
                            note(marker.partition, marker.offset);
                        }
                    }
                    TailRow::Command { .. } => {}
                }
            }
        }
        Ok(first)
    }

    async fn some(
        &self,
        topic: &Arc<TopicInfo>,
        wanted: Wanted,
        partitions: &[TopicPartition],
        unmerged: Option<&HashMap<TopicPartition, Offset>>,
        now: Timestamp,
        looked: &mut Looked,
    ) -> Result<(), SequencerError> {
        let mut transaction = self.store.begin().await?;
        let both = partitions
            .iter()
            .flat_map(|at| [self.keys.partition(*at), self.keys.compacted(*at)]);
        let both: Vec<_> = both.map(|key| (key, ReadMode::Snapshot)).collect();
        let mut values = transaction.get_many(&both).await?.into_iter();
        drop(transaction);
        for partition in partitions {
            let (Some(row), Some(compacted)) = (values.next(), values.next()) else {
                break;
            };
            let Some(row) = row.filter(|value| PartitionRow::has_pages(value)) else {
                continue;
            };
            let first_unmerged = unmerged.and_then(|first| first.get(partition)).copied();
            let seen = self.one(
                topic,
                *partition,
                (row, compacted),
                first_unmerged,
                (wanted, now),
            );
            match seen.await {
                Ok(Seeing::Due(found)) => looked.found.push(found),
                Ok(Seeing::Later(due)) => looked.due = earlier(looked.due, due),
                Err(SequencerError::Row(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, %partition, "a partition is not compacted");
                    looked.damaged += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn one(
        &self,
        topic: &Arc<TopicInfo>,
        partition: TopicPartition,
        (row, compacted): (Bytes, Option<Bytes>),
        first_unmerged: Option<Offset>,
        (wanted, now): (Wanted, Timestamp),
    ) -> Result<Seeing, SequencerError> {
        let row = PartitionRow::decode(row)?;
        let compacted = compacted.map(CompactedRow::decode).transpose()?;
        let compacted = compacted.unwrap_or_default();
        let open = row.open.first().map(|(first, _)| *first);
        let limit = [Some(row.next), first_unmerged, open];
        let limit = limit.into_iter().flatten().min().unwrap_or_default();
        let start = row.log_start.max(row.reclaimed);
        let cleaned = compacted.cleaned.max(start);
        let mut dirty = Dirty::new(wanted, now, cleaned, limit);
        let mut at = At::default();
        self.extents(partition, cleaned, |page, extent| {
            let taken = dirty.take(&seen(page, extent));
            if taken {
                at.take(page, extent);
            }
            taken
        })
        .await?;
        Ok(match dirty.verdict(&compacted) {
            Verdict::Due { end, ratio } => Seeing::Due(Found {
                topic: Arc::clone(topic),
                partition,
                wanted,
                bucket: self.classes.of(&topic.config, at.bucket),
                start,
                // From the first batch on that could not be read, keys are taken note of once more.
                cleaned: cleaned.min(compacted.unread.unwrap_or(cleaned).max(start)),
                end,
                committed_at: at.committed_at,
                ratio,
            }),
            Verdict::Later(due) => Seeing::Later(due),
        })
    }

    /// Goes through extents from an offset on, as long as they are wanted.
    async fn extents(
        &self,
        partition: TopicPartition,
        from: Offset,
        mut wants: impl FnMut(&PageRow, &Extent) -> bool,
    ) -> Result<(), SequencerError> {
        // A transaction each: all of it takes longer than one may.
        let mut transaction = self.store.begin().await?;
        let range = self.keys.pages_until(partition, from);
        let options = ScanOptions::limit(1).backward().snapshot();
        let mut rows = transaction.scan(range, options).await?.rows;
        drop(transaction);
        let mut rest: Option<KeyRange> = Some(self.keys.pages_after(partition, from));
        let mut count = 0;
        loop {
            for row in rows {
                let (_, page) = PageRow::of_row(row)?;
                count += 1;
                if !page.extents.iter().all(|extent| wants(&page, extent)) {
                    return Ok(());
                }
            }
            let Some(range) = rest.take().filter(|_| count < PAGES_MAX) else {
                return Ok(());
            };
            let options = ScanOptions::limit(PAGES).snapshot();
            let mut transaction = self.store.begin().await?;
            let found = transaction.scan(range.clone(), options).await?;
            rest = found.next(&range, options.direction);
            rows = found.rows;
        }
    }
}

/// What the last extent that was taken says.
#[derive(Clone, Copy, Debug)]
struct At {
    bucket: BucketId,
    committed_at: Timestamp,
}

impl Default for At {
    fn default() -> Self {
        Self {
            bucket: BucketId::new(0),
            committed_at: Timestamp::NONE,
        }
    }
}

impl At {
    fn take(&mut self, page: &PageRow, extent: &Extent) {
        // What lies in the store goes where the rest of the log is.
        if let Location::Segment { bucket, .. } = extent.location
            && !bucket.is_store()
        {
            self.bucket = bucket;
        }
        self.committed_at = self.committed_at.max(page.committed_at);
    }
}

fn seen(page: &PageRow, extent: &Extent) -> Seen {
    let time = extent.max_timestamp;
    // A producer may say that its records are of the future, or of no time at all.
    let is_told = time >= Timestamp::from_millis(0) && time < page.committed_at;
    Seen {
        next: extent.offsets.next,
        bytes: u64::from(extent.byte_count()),
        time: if is_told { time } else { page.committed_at },
    }
}

fn unread(error: CatalogueError) -> SequencerError {
    SequencerError::Read(match error {
        CatalogueError::NotOwner => StoreError::Fenced,
        error => StoreError::Unavailable(Arc::new(error)),
    })
}
