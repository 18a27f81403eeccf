//! The rows that the log of a partition becomes.

use tidelog_types::{Offset, TopicPartition};

use super::Rebuilding;
use super::chain::Piece;
use super::log::LogState;
use super::standing::{Standing, Sum};
use crate::backup::Change;
use crate::keyspace::{PAGE_EXTENTS_MAX, PageRow};

impl Rebuilding<'_> {
    /// Pages anew from the first extent on that is not in the ones that there are, and the bytes of all up to the end.
    pub(super) fn pages(
        &self,
        partition: TopicPartition,
        standing: &Standing,
        pieces: &[Piece],
        start: Offset,
    ) -> (Vec<Change>, u64) {
        let row = &standing.row;
        let mut sum = Sum {
            max_timestamp: row.max_timestamp,
            bytes: row.total,
        };
        let mut changes = Vec::new();
        let delete = |base: &Offset| Change::Delete(self.keys.page(partition, *base));
        let mut from = pieces
            .iter()
            .position(Piece::is_new)
            .unwrap_or(pieces.len());
        let first_new = pieces.get(from).map(|piece| piece.extent.offsets.base);
        if standing.begins_before(start) {
            // All of what there was is left behind.
            from = 0;
            changes.extend(standing.pages.iter().map(|(base, _)| delete(base)));
        } else if let Some(first_new) = first_new.filter(|first_new| *first_new < row.next) {
            // The page that has the first of them, too: what it has before stays in it.
            let at = standing
                .pages
                .iter()
                .rposition(|(base, _)| *base <= first_new);
            let gone = standing
                .pages
                .get(at.unwrap_or_default()..)
                .unwrap_or_default();
            changes.extend(gone.iter().map(|(base, _)| delete(base)));
            if let Some((base, page)) = gone.first() {
                let kept = |piece: &Piece| piece.extent.offsets.base >= *base;
                from = pieces.iter().position(kept).unwrap_or(from);
                let first = pieces.get(from).map(|piece| piece.extent.offsets.base);
                sum = Sum {
                    max_timestamp: page.max_before,
                    bytes: page.bytes_before,
                };
                // What is off the books goes from it.
                let off = page.extents.iter();
                let off =
                    off.filter(|extent| first.is_some_and(|first| extent.offsets.next <= first));
                off.for_each(|extent| sum.add(extent));
            }
        }
        let rest = pieces.get(from..).unwrap_or_default();
        for chunk in rest.chunks(PAGE_EXTENTS_MAX) {
            let times = chunk.iter().map(|piece| piece.committed_at);
            let page = PageRow {
                max_before: sum.max_timestamp,
                bytes_before: sum.bytes,
                committed_at: times.max().unwrap_or_default(),
                extents: chunk.iter().map(|piece| piece.extent.clone()).collect(),
            };
            page.extents.iter().for_each(|extent| sum.add(extent));
            if let Some(offsets) = page.offsets() {
                let key = self.keys.page(partition, offsets.base);
                changes.push(Change::Put(key, page.encode()));
            }
        }
        (changes, sum.bytes)
    }

    /// What the log says of transactions and producers.
    pub(super) fn told_by_log(&self, partition: TopicPartition, state: &LogState) -> Vec<Change> {
        let aborted = state.aborted.iter().map(|(at, row)| {
            let key = self.keys.aborted(partition, *at);
            Change::Put(key, row.encode())
        });
        let producers = state.producers.iter().map(|(producer, row)| {
            let key = self.keys.producer(partition, *producer);
            Change::Put(key, row.encode())
        });
        aborted.chain(producers).collect()
    }
}
