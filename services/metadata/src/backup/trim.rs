//! Pages of partitions whose rows were read before them: what is newer than the row is cut off.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_store::KeyRange;
use tidelog_types::{Offset, TopicPartition};

use super::scan::Row;
use crate::keyspace::{Keyspace, PageRow, PartitionRow, RowError};

/// Partition rows that were read together, and what their pages must end with.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// Up to where pages are kept; none for a row without pages.
    ends: BTreeMap<TopicPartition, Option<Offset>>,
}

impl Trim {
    /// Takes note of partition rows.
    pub(super) fn new(rows: &[Row]) -> Result<Self, RowError> {
        let mut ends = BTreeMap::new();
        for (key, value) in rows {
            let partition = Keyspace::partition_of(key).ok_or(RowError {
                kind: "partition",
                what: "its key has another length",
            })?;
            let row = PartitionRow::decode(value.clone())?;
            let end = PartitionRow::has_pages(value).then_some(row.next);
            ends.insert(partition, end);
        }
        Ok(Self { ends })
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

    /// What is kept of a page.
    pub(super) fn page(&self, key: &Bytes, value: Bytes) -> Result<Option<Bytes>, RowError> {
        let damaged = |what| RowError { kind: "page", what };
        let partition = Keyspace::partition_of(key).zip(Keyspace::page_base(key));
        let (partition, base) = partition.ok_or(damaged("its key has another length"))?;
        let Some(Some(end)) = self.ends.get(&partition).copied() else {
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
        Ok(Some(if is_whole { value } else { page.encode() }))
    }
}
