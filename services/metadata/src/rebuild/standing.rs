//! A partition as the backup has it, and as it becomes.

use std::collections::BTreeMap;

use tidelog_metadata_api::Extent;
use tidelog_types::{Offset, ProducerId, Timestamp};

use super::chain::Piece;
use super::log::LogState;
use crate::keyspace::{PageRow, PartitionRow, ProducerRow};

/// A partition as it is in the store.
pub(super) struct Standing {
    pub(super) row: PartitionRow,
    /// Its pages, in order, each with the offset in its key.
    pub(super) pages: Vec<(Offset, PageRow)>,
    pub(super) producers: BTreeMap<ProducerId, ProducerRow>,
}

/// What all extents up to one come to.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    pub(super) max_timestamp: Timestamp,
    pub(super) bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, extent: &Extent) {
        self.max_timestamp = self.max_timestamp.max(extent.max_timestamp);
        self.bytes = self.bytes.saturating_add(u64::from(extent.byte_count()));
    }
}

impl Standing {
    /// Whether there is something before an offset, which is to be left behind.
    pub(super) fn begins_before(&self, start: Offset) -> bool {
        let known = self.known();
        let first = known.first().map(|known| known.extent.offsets.base);
        first.map_or(self.row.next < start, |first| first < start)
    }

    /// The row of the partition as its log has become.
    pub(super) fn extended(
        &self,
        pieces: &[Piece],
        start: Offset,
        total: u64,
        state: &LogState,
    ) -> PartitionRow {
        let before = &self.row;
        let times = pieces.iter().map(|piece| piece.extent.max_timestamp);
        let mut row = PartitionRow {
            max_timestamp: times
                .chain([before.max_timestamp])
                .max()
                .unwrap_or_default(),
            aborted_below: state.aborted_below,
            open: state.open(),
            total: total.max(before.total),
            ..before.clone()
        };
        if let Some(last) = pieces.last() {
            row.next = last.extent.offsets.next;
        }
        if row.since == Timestamp::NONE {
            row.since = pieces.first().map_or(row.since, |first| first.committed_at);
        }
        if self.begins_before(start) {
            row.log_start = row.log_start.max(start);
            row.reclaimed = row.reclaimed.max(start);
            row.reclaimed_bytes = before.total;
        }
        row
    }

    /// The extents that are on the books, each once.
    pub(super) fn known(&self) -> Vec<Piece> {
        let mut known: Vec<Piece> = Vec::new();
        for (_, page) in &self.pages {
            for extent in &page.extents {
                let after = known
                    .last()
                    .map_or(self.row.reclaimed, |last| last.extent.offsets.next);
                if extent.offsets.next > after {
                    known.push(Piece::whole(extent.clone(), page.committed_at, None));
                }
            }
        }
        known
    }
}
