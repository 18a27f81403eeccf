//! What metadata says of segments and partitions, read page by page while the cluster works.
//!
//! The order of reading makes most of it fit together: floors, then live bytes, then checkpoints, pages and tails, then
//! live bytes once more. Whatever changed on the way is told by the live bytes, or looks like a fault; so nothing that is
//! found here counts before it was found a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, TopicState};
use tidelog_store::{KeyRange, RowSource, StoreError};
use tidelog_types::{
    GroupNumber, Offset, OffsetRange, PartitionIndex, ShardId, TopicNumber, TopicPartition,
};

use super::difference::{Difference, LogFault, Part};
use super::known::{Named, Picture};
use super::scope::Scope;
use super::writers::Writers;
use crate::backup::{Pages, Rest};
use crate::keyspace::{
    CheckpointRow, ClusterRow, InlineRow, KeyKind, Keyspace, LiveBytesRow, PageRow, PartitionRow,
    RestoreRow, RowError, TopicRow,
};

/// Why there is no picture.
#[derive(Debug)]
pub(super) enum Unread {
    Store(StoreError),
    /// More is in the scope than memory is meant for.
    Large,
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A picture that is being made.
pub(super) struct Painter<'a, R: ?Sized> {
    pub(super) pages: &'a Pages<'a, R>,
    pub(super) keys: Keyspace,
    pub(super) scope: &'a Scope,
    /// Segments and extents at most.
    pub(super) entries_max: usize,
    entries: usize,
    pub(super) picture: Picture,
    /// Up to where the extents of each partition go that were met.
    pub(super) ends: HashMap<TopicPartition, Offset>,
    /// Partitions from before there were pages: all there is of them is in the tail.
    pub(super) unpaged: BTreeSet<TopicPartition>,
    /// The last group that is in the rows, by shard.
    pub(super) shards: BTreeMap<ShardId, GroupNumber>,
    /// Topics that are being purged.
    pub(super) purging: BTreeSet<TopicNumber>,
    /// Whether a shard has nothing of a topic any more, of those that were asked for.
    pub(super) gone: HashMap<(TopicNumber, ShardId), bool>,
}

/// A partition as its row has it.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    next: Offset,
    reclaimed: Offset,
}

/// Which of two times live bytes are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    First,
    Last,
}

impl<'a, R: RowSource + ?Sized> Painter<'a, R> {
    pub(super) fn new(pages: &'a Pages<'a, R>, scope: &'a Scope, entries_max: usize) -> Self {
        Self {
            pages,
            keys: Keyspace::default(),
            scope,
            entries_max,
            entries: 0,
            picture: Picture::default(),
            ends: HashMap::new(),
            unpaged: BTreeSet::new(),
            shards: BTreeMap::new(),
            purging: BTreeSet::new(),
            gone: HashMap::new(),
        }
    }

    pub(super) async fn paint(mut self) -> Result<Picture, Unread> {
        self.restore().await?;
        // Before live bytes: what lies below a floor has its row by now, or never gets one.
        self.picture.writers = Writers::read(self.pages, self.keys).await?;
        self.live_bytes(Time::First).await?;
        self.dying().await?;
        self.checkpoints().await?;
        self.topics().await?;
        self.tails().await?;
        self.inline().await?;
        self.live_bytes(Time::Last).await?;
        Ok(self.picture)
    }

    pub(super) fn fault(&mut self, key: &[u8], error: &RowError) {
        self.picture.faults.insert(Difference::Row {
            kind: error.kind,
            key: hex(key),
            fault: error.what.to_owned(),
        });
    }

    pub(super) fn log_fault(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        next: Offset,
        fault: LogFault,
    ) {
        let offsets = OffsetRange { base, next };
        let part = Part { partition, offsets };
        self.picture.faults.insert(Difference::Log { part, fault });
    }

    fn count_entry(&mut self) -> Result<(), Unread> {
        self.entries += 1;
        if self.entries > self.entries_max {
            return Err(Unread::Large);
        }
        Ok(())
    }

    async fn restore(&mut self) -> Result<(), Unread> {
        let key = self.keys.restore();
        if let Some(value) = self.pages.value(key.clone()).await? {
            match RestoreRow::decode(value) {
                Ok(row) => self.picture.restored = Some(row.backup),
                Err(error) => {
                    self.fault(&key, &error);
                    self.picture.restored = Some("unknown".to_owned());
                }
            }
        }
        Ok(())
    }

    async fn live_bytes(&mut self, time: Time) -> Result<(), Unread> {
        let mut rest = Rest::of(self.keys.all(KeyKind::LiveBytes));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let named = Keyspace::receipt_segment(&key).zip(Keyspace::last_shard(&key));
                let Some((segment, shard)) = named else {
                    self.fault(&key, &short("live bytes"));
                    continue;
                };
                if !self.scope.has(segment) {
                    continue;
                }
                let bytes = match LiveBytesRow::decode(value) {
                    Ok(row) => row.bytes,
                    Err(error) => {
                        self.fault(&key, &error);
                        continue;
                    }
                };
                self.count_entry()?;
                let known = self.picture.segments.entry(segment).or_default();
                let rows = match time {
                    Time::First => &mut known.before,
                    Time::Last => &mut known.after,
                };
                rows.insert(shard, bytes);
            }
        }
        Ok(())
    }

    async fn dying(&mut self) -> Result<(), Unread> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Dying));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, _) in rows {
                let Some(segment) = Keyspace::receipt_segment(&key) else {
                    continue;
                };
                if let Some(known) = self.picture.segments.get_mut(&segment) {
                    known.is_dying = true;
                } else if self.scope.has(segment) {
                    self.count_entry()?;
                    self.picture.dying.insert(segment);
                }
            }
        }
        Ok(())
    }

    /// Segments that lie in the store. Each is proven: nothing else has its bytes.
    async fn inline(&mut self) -> Result<(), Unread> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Inline));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let Some(segment) = Keyspace::receipt_segment(&key) else {
                    self.fault(&key, &short("inline"));
                    continue;
                };
                if !self.scope.has(segment) {
                    continue;
                }
                match InlineRow::decode(value) {
                    Ok(row) => {
                        self.count_entry()?;
                        let bytes = row.segment.len() as u64;
                        self.picture.inline.insert(segment, bytes);
                    }
                    Err(error) => self.fault(&key, &error),
                }
            }
        }
        Ok(())
    }

    async fn checkpoints(&mut self) -> Result<(), Unread> {
        if let Some(value) = self.pages.value(self.keys.cluster()).await?
            && let Ok(cluster) = ClusterRow::decode(value)
        {
            for shard in (0..cluster.shards).map(ShardId::new) {
                self.shards.entry(shard).or_default();
            }
        }
        let mut rest = Rest::of(self.keys.all(KeyKind::Checkpoint));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let Some(shard) = Keyspace::last_shard(&key) else {
                    self.fault(&key, &short("checkpoint"));
                    continue;
                };
                match CheckpointRow::decode(value) {
                    Ok(row) => drop(self.shards.insert(shard, row.group)),
                    Err(error) => self.fault(&key, &error),
                }
            }
        }
        Ok(())
    }

    async fn topics(&mut self) -> Result<(), Unread> {
        let mut rest = Rest::of(self.keys.all(KeyKind::Topic));
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                match TopicRow::decode(value) {
                    Ok(row) => self.topic(&row).await?,
                    Err(error) => self.fault(&key, &error),
                }
            }
        }
        Ok(())
    }

    async fn topic(&mut self, row: &TopicRow) -> Result<(), Unread> {
        let info = row.info();
        if matches!(row.state(), TopicState::Purging { .. }) {
            self.purging.insert(info.number);
        }
        self.picture.names.insert(info.number, info.name.clone());
        self.picture.counts.partitions += u64::from(info.partition_count());
        let shards: Vec<ShardId> = info.partitions.iter().map(|info| info.shard).collect();
        let mut bounds = self.partitions(info.number).await?;
        let at = |index| TopicPartition::new(info.number, PartitionIndex::new(index));
        let mut rest = Rest::of(KeyRange {
            start: self.keys.page(at(0), Offset::ZERO),
            end: self.keys.pages_of(at(u32::MAX)).end,
        });
        let mut walk: Option<(TopicPartition, Offset, bool)> = None;
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let Some(partition) = Keyspace::partition_of(&key) else {
                    self.fault(&key, &short("page"));
                    continue;
                };
                if self.unpaged.contains(&partition) {
                    continue;
                }
                let index = usize::try_from(partition.partition.get()).unwrap_or(usize::MAX);
                let Some(shard) = shards.get(index).copied() else {
                    let what = "its topic has fewer partitions";
                    self.fault(&key, &RowError { kind: "page", what });
                    continue;
                };
                if walk.is_none_or(|(walked, ..)| walked != partition) {
                    self.end_walk(walk.take(), &mut bounds);
                    let from = bounds.get(&partition).map(|bounds| bounds.reclaimed);
                    walk = Some((partition, from.unwrap_or_default(), true));
                }
                if let Some((_, at, is_first)) = &mut walk {
                    self.page((key, value), (partition, shard), at, is_first)?;
                }
            }
        }
        self.end_walk(walk, &mut bounds);
        // Of these there are no pages at all.
        for (partition, bounds) in bounds {
            self.end_walk(
                Some((partition, bounds.reclaimed, true)),
                &mut BTreeMap::from([(partition, bounds)]),
            );
        }
        Ok(())
    }

    /// The rows of a topic's partitions.
    async fn partitions(
        &mut self,
        topic: TopicNumber,
    ) -> Result<BTreeMap<TopicPartition, Bounds>, Unread> {
        let at = |index| TopicPartition::new(topic, PartitionIndex::new(index));
        let mut rest = Rest::of(KeyRange {
            start: self.keys.partition(at(0)),
            end: Some(KeyRange::successor(&self.keys.partition(at(u32::MAX)))),
        });
        let mut bounds = BTreeMap::new();
        while let Some(rows) = self.pages.next(&mut rest).await? {
            for (key, value) in rows {
                let Some(partition) = Keyspace::partition_of(&key) else {
                    self.fault(&key, &short("partition"));
                    continue;
                };
                let has_pages = PartitionRow::has_pages(&value);
                match PartitionRow::decode(value) {
                    Ok(row) if has_pages => {
                        let (next, reclaimed) = (row.next, row.reclaimed);
                        bounds.insert(partition, Bounds { next, reclaimed });
                    }
                    Ok(_) => drop(self.unpaged.insert(partition)),
                    Err(error) => self.fault(&key, &error),
                }
            }
        }
        Ok(bounds)
    }

    /// All pages of a partition were met: they must have come to where its row ends.
    fn end_walk(
        &mut self,
        walk: Option<(TopicPartition, Offset, bool)>,
        bounds: &mut BTreeMap<TopicPartition, Bounds>,
    ) {
        let Some((partition, at, _)) = walk else {
            return;
        };
        let next = bounds.remove(&partition).map(|bounds| bounds.next);
        let next = next.unwrap_or_default();
        if at < next {
            self.log_fault(partition, at, next, LogFault::Hole);
        }
        self.ends.insert(partition, at.max(next));
    }

    fn page(
        &mut self,
        (key, value): (Bytes, Bytes),
        (partition, shard): (TopicPartition, ShardId),
        at: &mut Offset,
        is_first: &mut bool,
    ) -> Result<(), Unread> {
        let page = match PageRow::of_row((key.clone(), value)) {
            Ok((_, page)) => page,
            Err(error) => {
                self.fault(&key, &error);
                return Ok(());
            }
        };
        for extent in &page.extents {
            let OffsetRange { base, next } = extent.offsets;
            // It is off the books, or said twice: pages may overlap.
            if next <= *at {
                continue;
            }
            if base > *at {
                self.log_fault(partition, *at, base, LogFault::Hole);
            } else if base < *at && !*is_first {
                self.log_fault(partition, base, *at, LogFault::Overlap);
            }
            *is_first = false;
            *at = next;
            self.extent(partition, shard, extent)?;
        }
        Ok(())
    }

    pub(super) fn extent(
        &mut self,
        partition: TopicPartition,
        shard: ShardId,
        extent: &Extent,
    ) -> Result<(), Unread> {
        self.picture.counts.extents += 1;
        let Location::Segment {
            bucket,
            segment,
            position,
            length,
        } = extent.location
        else {
            return Ok(());
        };
        if !self.scope.has(segment) {
            return Ok(());
        }
        self.count_entry()?;
        let known = self.picture.segments.entry(segment).or_default();
        let part = Part {
            partition,
            offsets: extent.offsets,
        };
        known.buckets.insert(bucket);
        known.extents.push(Named {
            part,
            shard,
            position,
            length,
            crc32c: extent.crc32c,
        });
        Ok(())
    }
}

fn short(kind: &'static str) -> RowError {
    RowError {
        kind,
        what: "its key has another length",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}
