//! Old extents, read from pages of the store by snapshot: the sequencer's task has no part in it.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_metadata_api::{AbortedTransaction, ActiveProducer, Extent, LogError};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Store, Transaction};
use tidelog_types::{Offset, OffsetRange, ShardId, Timestamp, TopicPartition};

use super::producer::ProducerState;
use super::state::PartitionState;
use crate::keyspace::{
    AbortedRow, CheckpointRow, Keyspace, PageRow, PartitionRow, ProducerRow, RowError,
};
use crate::numbers::log_error;

/// Pages after the first that one answer looks into.
const PAGES_AHEAD: usize = 7;
/// Pages that are read at once where a search by time has to go on page by page.
const PAGES_SCANNED: usize = 128;
/// How often that is done for one search.
const SCANS_MAX: usize = 64;

/// Rows of aborted transactions and of producers that are read at once, at first and at most.
const ROWS_AT_FIRST: usize = 32;
const ROWS_MAX: usize = 1_000;

/// Reads rows and pages of partitions.
#[derive(Clone, Debug)]
pub(crate) struct History {
    store: Arc<dyn Store>,
    keys: Keyspace,
}

/// Where a search went.
enum Found {
    Here(Extent),
    /// Up to here there was none.
    NotBefore(Offset),
}

impl History {
    pub(crate) fn new(store: Arc<dyn Store>, keys: Keyspace) -> Self {
        Self { store, keys }
    }

    /// What the row of a partition says.
    pub(crate) async fn partition(
        &self,
        partition: TopicPartition,
    ) -> Result<PartitionState, LogError> {
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        let key = self.keys.partition(partition);
        let value = transaction.get(&key, ReadMode::Snapshot).await;
        let row = value
            .map_err(log_error)?
            .map(PartitionRow::decode)
            .transpose();
        let row = row.map_err(|error| damaged(&error))?;
        Ok(PartitionState::from_row(row.unwrap_or_default()))
    }

    /// The same of a partition in a shard that another process may own: what its last checkpoint has
    /// written. Nothing if there are no pages that go with the row.
    pub(crate) async fn checkpointed(
        &self,
        shard: ShardId,
        partition: TopicPartition,
    ) -> Result<Option<PartitionState>, LogError> {
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        let mut get = async |key: Bytes| {
            let value = transaction.get(&key, ReadMode::Snapshot).await;
            value.map_err(log_error)
        };
        let checkpoint = get(self.keys.checkpoint(shard)).await?;
        let checkpoint = checkpoint.map(CheckpointRow::decode).transpose();
        if !checkpoint
            .map_err(|error| damaged(&error))?
            .is_some_and(|row| row.is_paged)
        {
            return Ok(None);
        }
        let row = get(self.keys.partition(partition)).await?;
        let row = row.map(PartitionRow::decode).transpose();
        let row = row.map_err(|error| damaged(&error))?;
        Ok(row.map(PartitionState::from_row))
    }

    /// The extents from `offset` on, which is in a page; about `bytes_max` of them, at least one.
    pub(crate) async fn extents(
        &self,
        partition: TopicPartition,
        offset: Offset,
        bytes_max: u64,
        extents_max: usize,
    ) -> Result<Vec<Extent>, LogError> {
        let mut taking = Taking {
            next: offset,
            bytes: 0,
            extents: Vec::new(),
        };
        let page = self.page_with(partition, offset).await?;
        taking.take(page.extents, bytes_max, extents_max);
        if !taking.is_done(bytes_max, extents_max) {
            for page in self.pages_after(partition, offset, PAGES_AHEAD).await? {
                taking.take(page.extents, bytes_max, extents_max);
            }
        }
        Ok(taking.extents)
    }

    /// The page that has an offset: the last one that begins at or before it.
    async fn page_with(
        &self,
        partition: TopicPartition,
        offset: Offset,
    ) -> Result<PageRow, LogError> {
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        self.page_in(transaction.as_mut(), partition, offset).await
    }

    async fn page_in(
        &self,
        transaction: &mut dyn Transaction,
        partition: TopicPartition,
        offset: Offset,
    ) -> Result<PageRow, LogError> {
        let range = self.keys.pages_until(partition, offset);
        let options = ScanOptions::limit(1).backward().snapshot();
        let found = transaction.scan(range, options).await.map_err(log_error)?;
        let page = found.rows.into_iter().next().map(decode).transpose()?;
        let has_offset = |page: &PageRow| {
            let offsets = page.offsets();
            offsets.is_some_and(|offsets| offsets.contains(offset))
        };
        if let Some(page) = page.filter(has_offset) {
            return Ok(page);
        }
        // Whoever asks may have heard of a log start from before.
        let key = self.keys.partition(partition);
        let row = transaction.get(&key, ReadMode::Snapshot).await;
        let row = row.map_err(log_error)?.map(PartitionRow::decode);
        let row = row.transpose().map_err(|error| damaged(&error))?;
        if row.is_some_and(|row| offset < row.reclaimed) {
            return Err(LogError::Behind);
        }
        Err(LogError::Corrupt {
            reason: format!("no page has offset `{offset}` of partition `{partition}`"),
        })
    }

    async fn pages_after(
        &self,
        partition: TopicPartition,
        offset: Offset,
        count: usize,
    ) -> Result<Vec<PageRow>, LogError> {
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        let range = self.keys.pages_after(partition, offset);
        let options = ScanOptions::limit(count).snapshot();
        let found = transaction.scan(range, options).await.map_err(log_error)?;
        found.rows.into_iter().map(decode).collect()
    }

    /// The first extent of `offsets` in which a record of `time` or later can be. If the largest
    /// timestamps lie before `offsets`, a halving search finds nothing, and pages are read one by one;
    /// after very many the answer is the place reached: what is sought is not before it.
    pub(crate) async fn at_time(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
        time: Timestamp,
    ) -> Result<Option<Extent>, LogError> {
        let (mut low, mut high) = (offsets.base, offsets.next);
        while low < high {
            let middle = Offset::new(low.get() + (high.get() - low.get()) / 2);
            let page = self.page_with(partition, middle).await?;
            let Some(covered) = page.offsets() else {
                break;
            };
            if page.max_before >= time {
                if covered.base <= low {
                    break;
                }
                high = covered.base;
            } else if page
                .extents
                .iter()
                .any(|extent| extent.max_timestamp >= time)
            {
                low = low.max(covered.base);
                break;
            } else {
                low = covered.next;
            }
        }
        if low >= offsets.next {
            return Ok(None);
        }
        let offsets = OffsetRange {
            base: low,
            next: offsets.next,
        };
        let is_late = |extent: &Extent| extent.max_timestamp >= time;
        let from = self.scan(partition, offsets, is_late).await?;
        match from {
            Found::Here(extent) => Ok(Some(extent)),
            Found::NotBefore(next) if next >= offsets.next => Ok(None),
            Found::NotBefore(next) => {
                let page = self.page_with(partition, next).await?;
                Ok(page
                    .extents
                    .into_iter()
                    .find(|extent| extent.offsets.contains(next)))
            }
        }
    }

    /// The first extent of `offsets` with the largest timestamp of those looked at, which are all but
    /// of a very long log.
    pub(crate) async fn at_max_timestamp(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Option<Extent>, LogError> {
        let mut best: Option<Extent> = None;
        let keep_best = |extent: &Extent| {
            let is_better = best
                .as_ref()
                .is_none_or(|best| extent.max_timestamp > best.max_timestamp);
            if is_better {
                best = Some(extent.clone());
            }
            false
        };
        self.scan(partition, offsets, keep_best).await?;
        Ok(best)
    }

    /// The page that has an offset, and some behind it, all as they are at one moment: they may be merged meanwhile.
    async fn pages_from(
        &self,
        partition: TopicPartition,
        offset: Offset,
        count: usize,
    ) -> Result<Vec<PageRow>, LogError> {
        let mut transaction = self.store.begin().await.map_err(log_error)?;
        let first = self
            .page_in(transaction.as_mut(), partition, offset)
            .await?;
        if count == 0 {
            return Ok(vec![first]);
        }
        let range = self.keys.pages_after(partition, offset);
        let options = ScanOptions::limit(count).snapshot();
        let found = transaction.scan(range, options).await.map_err(log_error)?;
        let behind = found.rows.into_iter().map(decode);
        std::iter::once(Ok(first)).chain(behind).collect()
    }

    /// Looks at the extents of `offsets` in order, within a bound.
    async fn scan(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
        mut is_wanted: impl FnMut(&Extent) -> bool + Send,
    ) -> Result<Found, LogError> {
        if offsets.base >= offsets.next {
            return Ok(Found::NotBefore(offsets.next));
        }
        let mut next = offsets.base;
        let mut count = 0;
        for _ in 0..SCANS_MAX {
            let before = next;
            for page in self.pages_from(partition, next, count).await? {
                for extent in page.extents {
                    if extent.offsets.next <= next {
                        continue;
                    }
                    if extent.offsets.base >= offsets.next {
                        return Ok(Found::NotBefore(offsets.next));
                    }
                    next = extent.offsets.next;
                    if is_wanted(&extent) {
                        return Ok(Found::Here(extent));
                    }
                }
            }
            if next >= offsets.next || next == before {
                return Ok(Found::NotBefore(offsets.next));
            }
            count = PAGES_SCANNED;
        }
        Ok(Found::NotBefore(next))
    }
}

impl History {
    /// The aborted transactions that have a record in `offsets`, which end at the last stable offset or before.
    pub(crate) async fn aborted(
        &self,
        partition: TopicPartition,
        offsets: OffsetRange,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut found = Vec::new();
        let range = self.keys.aborted_from(partition, offsets.base);
        let mut reading = Reading::new(self, range);
        while let Some(rows) = reading.next().await? {
            for (key, value) in rows {
                let last = Keyspace::aborted_marker(&key).ok_or_else(|| {
                    damaged(&RowError {
                        kind: "aborted",
                        what: "its key has another length",
                    })
                })?;
                let row = AbortedRow::decode(value).map_err(|error| damaged(&error))?;
                if row.first < offsets.next {
                    found.push(AbortedTransaction {
                        producer: row.producer,
                        first: row.first,
                        last,
                    });
                }
                if row.last_stable >= offsets.next {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Looks at what the rows say of the producers of a partition, in the order of their ids.
    pub(crate) async fn producers(
        &self,
        partition: TopicPartition,
        mut look: impl FnMut(ActiveProducer) + Send,
    ) -> Result<(), LogError> {
        let mut reading = Reading::new(self, self.keys.producers_of(partition));
        while let Some(rows) = reading.next().await? {
            for (key, value) in rows {
                let id = Keyspace::producer_id(&key).ok_or_else(|| {
                    damaged(&RowError {
                        kind: "producer",
                        what: "its key has another length",
                    })
                })?;
                let row = ProducerRow::decode(value).map_err(|error| damaged(&error))?;
                look(ProducerState::from_row(&row).to_active(id));
            }
        }
        Ok(())
    }
}

/// Reads a range of rows, more and more at once, each time in a transaction of its own so that none grows old.
struct Reading<'a> {
    history: &'a History,
    rest: Option<KeyRange>,
    rows: usize,
}

impl<'a> Reading<'a> {
    const fn new(history: &'a History, range: KeyRange) -> Self {
        Self {
            history,
            rest: Some(range),
            rows: ROWS_AT_FIRST,
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, LogError> {
        let Some(range) = self.rest.take() else {
            return Ok(None);
        };
        let mut transaction = self.history.store.begin().await.map_err(log_error)?;
        let options = ScanOptions::limit(self.rows).snapshot();
        let page = transaction.scan(range.clone(), options).await;
        let page = page.map_err(log_error)?;
        self.rest = page.next(&range, options.direction);
        self.rows = (2 * self.rows).min(ROWS_MAX);
        Ok(Some(page.rows))
    }
}

/// Gathers extents for an answer.
struct Taking {
    next: Offset,
    bytes: u64,
    extents: Vec<Extent>,
}

impl Taking {
    fn is_done(&self, bytes_max: u64, extents_max: usize) -> bool {
        !self.extents.is_empty() && (self.bytes >= bytes_max || self.extents.len() >= extents_max)
    }

    /// Pages may overlap: what was taken already is passed over.
    fn take(&mut self, extents: Vec<Extent>, bytes_max: u64, extents_max: usize) {
        for extent in extents {
            if self.is_done(bytes_max, extents_max) || extent.offsets.base > self.next {
                return;
            }
            if extent.offsets.next > self.next {
                self.next = extent.offsets.next;
                self.bytes += u64::from(extent.byte_count());
                self.extents.push(extent);
            }
        }
    }
}

fn decode(row: (Bytes, Bytes)) -> Result<PageRow, LogError> {
    let page = PageRow::of_row(row).map_err(|error| damaged(&error))?;
    Ok(page.1)
}

/// What a damaged row means to whoever asked.
fn damaged(error: &RowError) -> LogError {
    LogError::Corrupt {
        reason: error.to_string(),
    }
}
