//! Puts merged segments in the place of what they were made of, some runs at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_format::location::Location;
use tidelog_metadata_api::{Extent, MergeError, MergedRun, SwapOutcome};
use tidelog_store::{ReadMode, ScanOptions, Transaction};
use tidelog_types::{BucketId, Offset, OffsetRange, SegmentName, TopicPartition};

use super::super::actor::{Actor, Ended};
use super::super::error::SequencerError;
use super::super::floors::read_floor;
use super::super::message::read_oldest_live;
use super::again::{Noted, Rule};
use super::swap::{Swap, Swapped, swap};
use crate::keyspace::{DyingRow, Keyspace, LiveBytesRow, PageRow, PartitionRow, RowError};

/// Bytes of rows of one transaction, about: it comes between two groups, so it must not be long.
const STEP_BYTES: usize = 192 * 1024;
/// Bytes of the rows of one segment with their keys, at most.
const SEGMENT_BYTES: usize = 128;
/// Pages of one partition that are read at once.
const PAGES: usize = 16;
/// Pages before a run that are read at once: nearly always the first is the only one.
const PAGES_BEFORE: usize = 2;
/// Pages of one run at most: plans have fewer.
const PAGES_MAX: usize = 512;
/// How often a step is made anew before whoever asked is told that it did not work.
const ATTEMPTS: u32 = 3;

/// What became of some runs.
struct Stepped {
    outcomes: Vec<SwapOutcome>,
    /// Each with what is to be merged again now that it was swapped.
    swapped: Vec<(TopicPartition, Offset, Option<Noted>)>,
}

/// Rows of a step under construction.
#[derive(Default)]
struct Rows {
    deleted: Vec<Bytes>,
    written: Vec<(Bytes, Bytes)>,
    lowered: BTreeMap<SegmentName, u64>,
    raised: u64,
    bytes: usize,
}

impl Rows {
    fn take(&mut self, keys: Keyspace, partition: TopicPartition, swap: Swap) {
        for base in swap.deleted {
            self.deleted.push(keys.page(partition, base));
        }
        for (base, page) in swap.written {
            let (key, value) = (keys.page(partition, base), page.encode());
            self.bytes += key.len() + value.len();
            self.written.push((key, value));
        }
        for (segment, bytes) in swap.lowered {
            let lowered = self.lowered.entry(segment).or_insert_with(|| {
                self.bytes += SEGMENT_BYTES;
                0
            });
            *lowered += bytes;
        }
        self.raised += swap.raised;
    }
}

impl Actor {
    pub(super) async fn swap_all(
        &mut self,
        segment: SegmentName,
        runs: &[(Arc<[Extent]>, MergedRun)],
    ) -> Result<Result<Vec<SwapOutcome>, MergeError>, Ended> {
        let mut outcomes = Vec::with_capacity(runs.len());
        let mut attempts = 0;
        while let Some(rest) = runs.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            match self.try_swap(segment, rest).await {
                Ok(Ok(stepped)) => {
                    attempts = 0;
                    let mut view = self.view.write();
                    for (partition, next, _) in &stepped.swapped {
                        view.forget_below(*partition, *next);
                    }
                    drop(view);
                    self.note_again(&stepped.swapped);
                    outcomes.extend(stepped.outcomes);
                }
                Ok(Err(refused)) => return Ok(Err(refused)),
                Err(error) => {
                    self.parts.metrics.merging.failures.inc();
                    self.warn("merged extents were not swapped", &error);
                    if matches!(error, SequencerError::Row(_)) {
                        // Nothing was sent, and what is there stays.
                        return Ok(Err(MergeError::Malformed {
                            reason: error.to_string(),
                        }));
                    }
                    // What lands late would put old pages over new ones.
                    if let Err(error) = self.recover_patiently().await {
                        return Err(self.end(Vec::new(), &error));
                    }
                    attempts += 1;
                    if attempts >= ATTEMPTS {
                        return Ok(Err(MergeError::Unavailable {
                            reason: error.to_string(),
                        }));
                    }
                }
            }
        }
        let swapped = outcomes
            .iter()
            .filter(|outcome| **outcome == SwapOutcome::Swapped);
        let count = u64::try_from(swapped.count()).unwrap_or(u64::MAX);
        self.parts.metrics.merging.runs.inc_by(count);
        Ok(Ok(outcomes))
    }

    /// Swaps as many of the runs as one transaction should have, at least one.
    async fn try_swap(
        &self,
        segment: SegmentName,
        runs: &[(Arc<[Extent]>, MergedRun)],
    ) -> Result<Result<Stepped, MergeError>, SequencerError> {
        let keys = self.parts.keys;
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        // Whoever looks for orphans raises the floor first, or the oldest live incarnation.
        let oldest_live = read_oldest_live(keys, transaction.as_mut()).await?;
        let floor = read_floor(keys, transaction.as_mut(), segment.incarnation).await?;
        if segment.incarnation < oldest_live || segment.sequence < floor {
            return Ok(Err(MergeError::BelowFloor(segment)));
        }
        let mut rows = Rows::default();
        let mut stepped = Stepped {
            outcomes: Vec::new(),
            swapped: Vec::new(),
        };
        for (old, run) in runs {
            if rows.bytes >= STEP_BYTES {
                break;
            }
            let partition = run.partition;
            let (found, again) = self.look_at_run(transaction.as_mut(), old, run).await?;
            let outcome = match found {
                Swapped::Changed => SwapOutcome::Changed,
                Swapped::Before => SwapOutcome::Swapped,
                Swapped::Now(swap) => {
                    rows.take(keys, partition, swap);
                    SwapOutcome::Swapped
                }
            };
            if let (SwapOutcome::Swapped, Some(last)) = (outcome, run.extents.last()) {
                stepped.swapped.push((partition, last.offsets.next, again));
            }
            stepped.outcomes.push(outcome);
        }
        if rows.written.is_empty() {
            return Ok(Ok(stepped));
        }
        self.write_swap(transaction, segment, rows).await?;
        Ok(Ok(stepped))
    }

    /// Takes note of what is to be merged again, and tells janitors if there is such.
    fn note_again(&self, swapped: &[(TopicPartition, Offset, Option<Noted>)]) {
        let now = self.parts.env.clock.now();
        let found = swapped.iter();
        let found = found.filter_map(|(partition, _, noted)| Some((*partition, (*noted)?)));
        let mut is_any = false;
        for (partition, noted) in found {
            self.again.note(partition, noted, now);
            is_any = true;
        }
        if is_any {
            self.parts.merge_news.send_replace(());
        }
    }

    async fn look_at_run(
        &self,
        transaction: &mut dyn Transaction,
        old: &[Extent],
        run: &MergedRun,
    ) -> Result<(Swapped, Option<Noted>), SequencerError> {
        let keys = self.parts.keys;
        let key = keys.partition(run.partition);
        // Only the owner writes it, so the read need not conflict: the lease row does.
        let value = transaction.get(&key, ReadMode::Snapshot).await?;
        let Some(value) = value.filter(|value| PartitionRow::has_pages(value)) else {
            return Ok((Swapped::Changed, None));
        };
        let row = PartitionRow::decode(value)?;
        let Some((first, last)) = old.first().zip(old.last()) else {
            return Ok((Swapped::Changed, None));
        };
        let offsets = OffsetRange {
            base: first.offsets.base.max(row.reclaimed),
            next: last.offsets.next,
        };
        if offsets.base >= offsets.next || offsets.next > row.next {
            return Ok((Swapped::Changed, None));
        }
        let pages = read_pages(transaction, keys, run.partition, offsets).await?;
        let found = swap(row.reclaimed, &pages, old, &run.extents);
        let again = match &found {
            Swapped::Now(swap) => {
                let retention = self.retention.kept_millis(run.partition);
                let rule = Rule::new(&self.parts.settings.merge, retention);
                Noted::at_end(rule, &swap.leaves(&pages, row.reclaimed, offsets.next))
            }
            Swapped::Before | Swapped::Changed => None,
        };
        Ok((found, again))
    }

    async fn write_swap(
        &self,
        mut transaction: Box<dyn Transaction>,
        segment: SegmentName,
        rows: Rows,
    ) -> Result<(), SequencerError> {
        let (keys, shard) = (self.parts.keys, self.lease.shard);
        let merged = keys.live_bytes(segment, shard);
        let value = transaction.get(&merged, ReadMode::Snapshot).await?;
        let before = value.map(LiveBytesRow::decode).transpose()?;
        let before = before.unwrap_or(LiveBytesRow::committed(0));
        let live = LiveBytesRow {
            bytes: before.bytes.saturating_add(rows.raised),
            committed: before.committed.saturating_add(rows.raised),
        };
        self.lower(transaction.as_mut(), &rows.lowered).await?;
        for key in rows.deleted {
            transaction.delete(key);
        }
        for (key, value) in rows.written {
            transaction.put(key, value);
        }
        transaction.put(merged, live.encode());
        if live.bytes == 0 {
            transaction.put(keys.dying(segment), DyingRow::default().encode());
        }
        transaction.commit().await?;
        self.parts.deletions.tell();
        Ok(())
    }
}

/// The pages that have something of some offsets, with the one before and the one behind.
pub(super) async fn read_pages(
    transaction: &mut dyn Transaction,
    keys: Keyspace,
    partition: TopicPartition,
    offsets: OffsetRange,
) -> Result<Vec<(Offset, PageRow)>, SequencerError> {
    let before = Offset::new(offsets.base.get().saturating_sub(1));
    let mut range = Some(keys.pages_until(partition, before));
    let mut pages = Vec::new();
    // Pages may overlap where an owner was replaced: those that come later never end earlier.
    'before: while let Some(rest) = range.take().filter(|_| pages.len() < PAGES_MAX) {
        let options = ScanOptions::limit(PAGES_BEFORE).backward().snapshot();
        let found = transaction.scan(rest.clone(), options).await?;
        range = found.next(&rest, options.direction);
        for row in found.rows {
            let (base, page) = PageRow::of_row(row)?;
            let is_last = page
                .offsets()
                .is_none_or(|found| found.next <= offsets.base);
            pages.push((base, page));
            if is_last {
                break 'before;
            }
        }
    }
    pages.reverse();
    let mut at = before;
    while pages.len() < PAGES_MAX {
        let range = keys.pages_after(partition, at);
        let found = transaction.scan(range, ScanOptions::limit(PAGES).snapshot());
        let found = found.await?;
        for row in found.rows {
            let (base, page) = PageRow::of_row(row)?;
            at = base;
            pages.push((base, page));
            if base >= offsets.next {
                return Ok(pages);
            }
        }
        if !found.more {
            return Ok(pages);
        }
    }
    Err(RowError {
        kind: "page",
        what: "there are more than a run can have",
    }
    .into())
}

/// Whether merged extents are what they must be: in the merged segment, dense, and with the offsets of the run.
pub(crate) fn check_merged(
    (bucket, segment): (BucketId, SegmentName),
    offsets: OffsetRange,
    run: &MergedRun,
) -> Result<(), &'static str> {
    let mut next = offsets.base;
    for extent in &run.extents {
        if extent.offsets.base != next || extent.offsets.next <= next {
            return Err("extents do not follow each other");
        }
        next = extent.offsets.next;
        let is_merged = matches!(
            extent.location,
            Location::Segment { bucket: there, segment: found, length, .. }
                if (there, found) == (bucket, segment) && length > 0
        );
        if !is_merged {
            return Err("an extent lies elsewhere than in the merged segment");
        }
    }
    if next == offsets.next {
        Ok(())
    } else {
        Err("extents do not end where the run does")
    }
}
