//! Pages and aborted transactions of partitions whose rows were read before them: what is newer than the row is cut
//! off.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_metadata_api::Extent;
use tidelog_store::KeyRange;
use tidelog_types::{Offset, TopicPartition};

use super::scan::Row;
use crate::keyspace::{Keyspace, PageRow, PartitionRow, RowError};

/// Partition rows that were read together, and what their pages must end with.
#[derive(Debug, Default)]
pub(super) struct Trim {
    rows: Vec<Row>,
    /// What is kept of their pages, each extent once.
    extents: BTreeMap<TopicPartition, Vec<Extent>>,
    ends: BTreeMap<TopicPartition, End>,
}

/// A partition's row, and what goes with it.
#[derive(Debug)]
pub(super) struct TrimmedRow {
    pub(super) partition: TopicPartition,
    pub(super) row: Row,
    pub(super) extents: Vec<Extent>,
}

/// Where a partition ends by its row.
#[derive(Clone, Copy, Debug)]
struct End {
    next: Offset,
    reclaimed: Offset,
    has_pages: bool,
}

fn partition_of(key: &[u8]) -> Result<TopicPartition, RowError> {
    Keyspace::partition_of(key).ok_or(RowError {
        kind: "partition",
        what: "its key has another length",
    })
}

impl Trim {
    /// Takes note of partition rows.
    pub(super) fn new(rows: Vec<Row>) -> Result<Self, RowError> {
        let mut ends = BTreeMap::new();
        for (key, value) in &rows {
            let partition = partition_of(key)?;
            let row = PartitionRow::decode(value.clone())?;
            let end = End {
                next: row.next,
                reclaimed: row.reclaimed,
                has_pages: PartitionRow::has_pages(value),
            };
            ends.insert(partition, end);
        }
        Ok(Self {
            rows,
            extents: BTreeMap::new(),
            ends,
        })
    }

    /// Where the rows lie.
    pub(super) fn range(&self, keys: Keyspace) -> Option<KeyRange> {
        let (first, _) = self.ends.first_key_value()?;
        let (last, _) = self.ends.last_key_value()?;
        Some(KeyRange {
            start: keys.partition(*first),
            end: Some(KeyRange::successor(&keys.partition(*last))),
        })
    }

    /// Takes note of all rows that were read after the pages: what was taken off the books by then may be in no page.
    /// Of one that is gone by then all was taken off, since its topic is purged.
    pub(super) fn raise(&mut self, rows: &[Row]) -> Result<(), RowError> {
        let mut now = BTreeMap::new();
        for (key, value) in rows {
            let reclaimed = PartitionRow::decode(value.clone())?.reclaimed;
            now.insert(partition_of(key)?, reclaimed);
        }
        for (partition, end) in &mut self.ends {
            let reclaimed = now.get(partition).copied().unwrap_or(end.next);
            end.reclaimed = end.reclaimed.max(reclaimed.min(end.next));
        }
        Ok(())
    }

    /// The rows as they go with their pages, each with its partition and the extents of these.
    pub(super) fn into_rows(self) -> Result<Vec<TrimmedRow>, RowError> {
        let Self {
            rows,
            mut extents,
            ends,
        } = self;
        let mut trimmed = Vec::with_capacity(rows.len());
        for (key, mut value) in rows {
            let partition = partition_of(&key)?;
            let mut row = PartitionRow::decode(value.clone())?;
            let end = ends.get(&partition);
            if let Some(end) = end.filter(|end| end.reclaimed > row.reclaimed) {
                row.reclaimed = end.reclaimed;
                row.log_start = row.log_start.max(end.reclaimed);
                value = row.encode();
            }
            let extents = extents.remove(&partition).unwrap_or_default();
            trimmed.push(TrimmedRow {
                partition,
                row: (key, value),
                extents,
            });
        }
        Ok(trimmed)
    }

    /// Where the pages of these partitions lie.
    pub(super) fn pages(&self, keys: Keyspace) -> Option<KeyRange> {
        let (first, _) = self.ends.first_key_value()?;
        let (last, _) = self.ends.last_key_value()?;
        Some(KeyRange {
            start: keys.page(*first, Offset::ZERO),
            end: keys.pages_after(*last, Offset::ZERO).end,
        })
    }

    /// Where the aborted transactions of these partitions lie.
    pub(super) fn aborted(&self, keys: Keyspace) -> Option<KeyRange> {
        let (first, _) = self.ends.first_key_value()?;
        let (last, _) = self.ends.last_key_value()?;
        Some(KeyRange {
            start: keys.aborted(*first, Offset::ZERO),
            end: keys.aborted_from(*last, Offset::ZERO).end,
        })
    }

    /// Whether the marker of an aborted transaction lies below the end of its partition. What lies beyond follows
    /// from the tail.
    pub(super) fn has_marker(&self, key: &[u8]) -> Result<bool, RowError> {
        let marker = Keyspace::partition_of(key).zip(Keyspace::aborted_marker(key));
        let (partition, marker) = marker.ok_or(RowError {
            kind: "aborted",
            what: "its key has another length",
        })?;
        let end = self.ends.get(&partition);
        Ok(end.is_some_and(|end| marker < end.next))
    }

    /// Takes a row of a partition that was read after the one that is known.
    pub(super) fn renew(
        &mut self,
        partition: TopicPartition,
        value: &Bytes,
    ) -> Result<(), RowError> {
        let row = PartitionRow::decode(value.clone())?;
        let end = End {
            next: row.next,
            reclaimed: row.reclaimed,
            has_pages: PartitionRow::has_pages(value),
        };
        self.ends.insert(partition, end);
        for (key, known) in &mut self.rows {
            if Keyspace::partition_of(key) == Some(partition) {
                known.clone_from(value);
            }
        }
        Ok(())
    }

    /// Whether pages of a partition, in order, have all that its row knows of, from `from` on: as they are at one moment
    /// they do, but not if they were merged between two reads. Without `from`, what lies before the first page may be
    /// gone.
    pub(super) fn is_whole(
        &self,
        partition: TopicPartition,
        pages: &[Row],
        from: Option<Offset>,
    ) -> Result<bool, RowError> {
        let end = self.ends.get(&partition).filter(|end| end.has_pages);
        let Some(end) = end.map(|end| end.next) else {
            return Ok(true);
        };
        let mut at = from;
        for row in pages {
            let (_, page) = PageRow::of_row(row.clone())?;
            let Some(offsets) = page.offsets() else {
                continue;
            };
            // A merged one that lies across the end was not there when the row was read.
            let across = |extent: &Extent| extent.offsets.base < end && extent.offsets.next > end;
            let has_gap = at.is_some_and(|at| offsets.base > at && at < end);
            if has_gap || page.extents.iter().any(across) {
                return Ok(false);
            }
            at = Some(at.map_or(offsets.next, |at| at.max(offsets.next)));
        }
        Ok(at.is_none_or(|at| at >= end))
    }

    /// What is kept of a page.
    pub(super) fn page(&mut self, key: &Bytes, value: Bytes) -> Result<Option<Bytes>, RowError> {
        let damaged = |what| RowError { kind: "page", what };
        let partition = Keyspace::partition_of(key).zip(Keyspace::page_base(key));
        let (partition, base) = partition.ok_or(damaged("its key has another length"))?;
        let end = self.ends.get(&partition).filter(|end| end.has_pages);
        let Some(end) = end.map(|end| end.next) else {
            return Ok(None);
        };
        if base >= end {
            return Ok(None);
        }
        let mut page = PageRow::decode(base, value.clone())?;
        let whole = page.extents.len();
        page.extents.retain(|extent| extent.offsets.base < end);
        if page.offsets().is_none_or(|offsets| offsets.next > end) {
            return Err(damaged("an extent lies across the end of its partition"));
        }
        let is_whole = page.extents.len() == whole;
        let kept = if is_whole { value } else { page.encode() };
        // Pages may overlap, and then say the same.
        let extents = self.extents.entry(partition).or_default();
        for extent in page.extents {
            let last = extents.last();
            if last.is_none_or(|last| extent.offsets.next > last.offsets.next) {
                extents.push(extent);
            }
        }
        Ok(Some(kept))
    }
}
