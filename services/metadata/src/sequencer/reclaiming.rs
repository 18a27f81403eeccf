//! The part of the task that owns a shard that takes extents below the log starts off the books, between groups, in small
//! steps. Each is a transaction under the lease.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_store::{ReadMode, ScanOptions, Transaction};
use tidelog_types::{Offset, SegmentName, TopicPartition};

use super::actor::{Actor, Ended};
use super::error::SequencerError;
use super::reclaim::{Rest, Taken};
use crate::keyspace::{
    DyingRow, Keyspace, LiveBytesRow, PAGE_EXTENTS_MAX, PARTITION_BYTES_MAX, PageRow, PartitionRow,
    RowError,
};

/// Pages that a step takes off at most.
const PAGES: usize = 8;
/// Bytes of the rows of one segment with their keys, at most.
const SEGMENT_BYTES: usize = 128;

// A step is a transaction between two groups, so it must not be long.
const _: () = assert!(
    PAGES * PAGE_EXTENTS_MAX * SEGMENT_BYTES + PARTITION_BYTES_MAX + PAGES * 64
        <= tidelog_types::limits::STORE_TRANSACTION_BYTES_MAX / 2
);

impl Actor {
    /// Takes some extents of a partition off.
    pub(super) async fn reclaim_step(&mut self, partition: TopicPartition) -> Result<(), Ended> {
        let error = match self.try_reclaim(partition).await {
            Ok((taken, rest)) => {
                self.reclaimed(partition, &taken);
                self.reclaim.done(partition, rest);
                // A step that could take nothing waits for a checkpoint, and so does whoever waits for it.
                let has_taken = !taken.segments.is_empty() || !taken.pages.is_empty();
                if has_taken && self.reclaim.is_idle() {
                    self.purge.wake();
                }
                if self.reclaim.take_missed() {
                    self.retention.begin_anew();
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.parts.metrics.keeping.failures.inc();
        self.warn("extents were not reclaimed", &error);
        if matches!(error, SequencerError::Row(_)) {
            // It stays as it is, which costs storage and nothing else. Nothing was sent.
            self.reclaim.done(partition, Rest::None);
            return Ok(());
        }
        self.reclaim.pause(self.parts.env.clock.now());
        // As for a checkpoint: what lands late would put old rows over new ones.
        match self.recover_patiently().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.end(Vec::new(), &error)),
        }
    }

    /// What a durable step has changed is changed in memory, so that no checkpoint writes the old values.
    fn reclaimed(&mut self, partition: TopicPartition, taken: &Taken) {
        if let Some(state) = self.state.partitions.get_mut(&partition) {
            state.reclaimed = state.reclaimed.max(taken.reclaimed);
            state.reclaimed_bytes = state.reclaimed_bytes.max(taken.reclaimed_bytes);
        }
        let bytes = taken.segments.values().sum();
        self.parts.metrics.keeping.reclaimed_bytes.inc_by(bytes);
        if bytes > 0 {
            self.parts.deletions.tell();
        }
    }

    async fn try_reclaim(
        &self,
        partition: TopicPartition,
    ) -> Result<(Taken, Rest), SequencerError> {
        let keys = self.parts.keys;
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let key = keys.partition(partition);
        // Only the owner writes it, so the read need not conflict: the lease row does.
        let value = transaction.get(&key, ReadMode::Snapshot).await?;
        let Some(value) = value.filter(|value| PartitionRow::has_pages(value)) else {
            return Ok((Taken::default(), Rest::Unwritten));
        };
        let mut row = PartitionRow::decode(value)?;
        let state = self.state.partitions.get(&partition);
        let log_start = state.map_or(row.log_start, |state| state.log_start);
        let (pages, has_more) =
            read_pages(transaction.as_mut(), keys, partition, row.reclaimed).await?;
        // What the row does not know of yet is in the tail, and would be replayed.
        let from = (row.reclaimed, row.reclaimed_bytes);
        let mut taken = Taken::of(from, log_start.min(row.next), &pages, has_more);
        // Merged extents have bytes of markers, which counted nothing when they came.
        taken.reclaimed_bytes = taken.reclaimed_bytes.min(row.total);
        let rest = if taken.has_more {
            Rest::More
        } else if log_start > row.next {
            Rest::Unwritten
        } else {
            Rest::None
        };
        if taken.reclaimed == row.reclaimed && taken.pages.is_empty() {
            return Ok((taken, rest));
        }
        self.lower(transaction.as_mut(), &taken.segments).await?;
        for base in &taken.pages {
            transaction.delete(keys.page(partition, *base));
        }
        row.log_start = row.log_start.max(taken.reclaimed);
        row.reclaimed = taken.reclaimed;
        row.reclaimed_bytes = taken.reclaimed_bytes;
        transaction.put(key, row.encode());
        transaction.commit().await?;
        Ok((taken, rest))
    }

    /// Lowers the live bytes of segments. Who has none left is looked at by whoever deletes segments.
    pub(super) async fn lower(
        &self,
        transaction: &mut dyn Transaction,
        segments: &BTreeMap<SegmentName, u64>,
    ) -> Result<(), SequencerError> {
        let keys = self.parts.keys;
        let of = |(segment, _): (&SegmentName, _)| keys.live_bytes(*segment, self.lease.shard);
        let asked: Vec<Bytes> = segments.iter().map(of).collect();
        let reads = asked.iter().map(|key| (key.clone(), ReadMode::Snapshot));
        let values = transaction.get_many(&reads.collect::<Vec<_>>()).await?;
        for ((key, value), (segment, bytes)) in asked.into_iter().zip(values).zip(segments) {
            let row = value.map(LiveBytesRow::decode).transpose()?;
            let left = row.and_then(|row| {
                let bytes = row.bytes.checked_sub(*bytes)?;
                Some(LiveBytesRow { bytes, ..row })
            });
            let left = left.ok_or(RowError {
                kind: "live bytes",
                what: "there are fewer than extents name",
            })?;
            transaction.put(key, left.encode());
            // If this does not become durable, a segment is looked into for nothing.
            self.note_sparse(*segment, &left);
            if left.bytes == 0 {
                transaction.put(keys.dying(*segment), DyingRow::default().encode());
            }
        }
        Ok(())
    }
}

impl Actor {
    /// Takes note of what of a segment is named, and tells janitors if it is to be written anew at some time.
    fn note_sparse(&self, segment: SegmentName, live: &LiveBytesRow) {
        let settings = &self.parts.settings.merge;
        if !settings.is_on {
            return;
        }
        let now = self.parts.env.clock.now();
        if self.sparse.note(&settings.rewrite, segment, live, now) {
            self.parts.merge_news.send_replace(());
        }
    }
}

/// The pages of a partition from the one that has an offset on, and whether there are more behind them.
async fn read_pages(
    transaction: &mut dyn Transaction,
    keys: Keyspace,
    partition: TopicPartition,
    from: Offset,
) -> Result<(Vec<(Offset, PageRow)>, bool), SequencerError> {
    let range = keys.pages_until(partition, from);
    let options = ScanOptions::limit(1).backward().snapshot();
    let mut rows = transaction.scan(range, options).await?.rows;
    let range = keys.pages_after(partition, from);
    let behind = transaction.scan(range, ScanOptions::limit(PAGES).snapshot());
    let behind = behind.await?;
    rows.extend(behind.rows);
    let pages: Result<_, RowError> = rows.into_iter().map(PageRow::of_row).collect();
    Ok((pages?, behind.more))
}
