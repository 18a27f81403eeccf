//! The part of the task that owns a shard that puts merged segments in the place of what they were made of, between
//! groups, in small steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_format::location::Location;
use tidelog_metadata_api::{MergeError, MergedRun, SwapOutcome};
use tidelog_store::{KeyRange, ReadMode, ScanOptions, Transaction};
use tidelog_types::{GroupNumber, Offset, OffsetRange, SegmentName, Timestamp, TopicPartition};
use tokio::sync::{mpsc, oneshot};

use super::super::actor::{Actor, Ended};
use super::super::error::{Next, SequencerError};
use super::super::floors::read_floor;
use super::super::message::read_oldest_live;
use super::swap::{Swap, Swapped, swap};
use super::windows::Unmerged;
use crate::keyspace::{
    DyingRow, Keyspace, LiveBytesRow, MergedRow, PageRow, PartitionRow, RowError, TailRow,
};

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
/// Entries of the tail that a step deletes at most.
const TRIMMED_ROWS: usize = 500;
/// How often a step is made anew before whoever asked is told that it did not work.
const ATTEMPTS: u32 = 3;

/// What is asked of the task.
#[derive(Debug)]
pub(crate) enum MergeMessage {
    /// Swap runs.
    Swap {
        segment: SegmentName,
        /// Each with what it was made of.
        runs: Vec<(Arc<[tidelog_metadata_api::Extent]>, MergedRun)>,
        reply: oneshot::Sender<Result<Vec<SwapOutcome>, MergeError>>,
    },
    /// Take note that all up to a group is merged.
    Finish {
        merged: MergedRow,
        /// How many manifests, and bytes of them, that were.
        counts: (u64, u64),
        reply: oneshot::Sender<Result<(), MergeError>>,
    },
}

/// What the task has yet to do for merges.
#[derive(Debug)]
pub(crate) struct MergeQueue {
    /// Up to which groups the tail goes, and when.
    trims: VecDeque<(MonoTime, GroupNumber)>,
    /// Whether the last step between groups was one of a merge.
    has_stepped: bool,
}

impl MergeQueue {
    /// What was merged before by whoever owned the shard goes as late as what is merged now.
    pub(crate) fn new(merged: GroupNumber, kept: MonoTime) -> Self {
        let trims = (merged > GroupNumber::default()).then_some((kept, merged));
        Self {
            trims: trims.into_iter().collect(),
            has_stepped: false,
        }
    }

    /// What comes after a group, every other time.
    pub(crate) fn turn(
        &mut self,
        messages: &mut mpsc::Receiver<MergeMessage>,
    ) -> Option<MergeMessage> {
        self.has_stepped = !self.has_stepped;
        let message = self.has_stepped.then(|| messages.try_recv().ok());
        message.flatten()
    }

    fn due(&mut self, now: MonoTime) -> Option<GroupNumber> {
        let mut due = None;
        while let Some((_, group)) = self.trims.front().filter(|(at, _)| *at <= now) {
            due = Some(*group);
            self.trims.pop_front();
        }
        due
    }
}

/// What became of some runs.
struct Stepped {
    outcomes: Vec<SwapOutcome>,
    swapped: Vec<(TopicPartition, Offset)>,
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
    /// Does what was asked, and answers.
    pub(crate) async fn merge_step(&mut self, message: MergeMessage) -> Result<(), Ended> {
        match message {
            MergeMessage::Swap {
                segment,
                runs,
                reply,
            } => {
                let swapped = self.swap_all(segment, &runs).await?;
                // Who does not wait for it any more asks again, or does without.
                let _ = reply.send(swapped);
            }
            MergeMessage::Finish {
                merged,
                counts,
                reply,
            } => {
                let finished = self.finish_merge(merged, counts).await?;
                let _ = reply.send(finished);
            }
        }
        Ok(())
    }

    /// Deletes entries of the tail that were merged long ago. It comes only after a group (invariant I8).
    pub(crate) async fn trim_step(&mut self) -> Result<bool, Ended> {
        let now = self.parts.env.clock.now();
        let Some(group) = self.merges.due(now) else {
            return Ok(false);
        };
        match self.try_trim(group).await {
            Ok(false) => {}
            Ok(true) => self.merges.trims.push_front((now, group)),
            Err(error) if error.next() == Next::Fenced => return Err(self.end(Vec::new(), &error)),
            Err(error) => {
                self.warn("merged entries of the tail were not deleted", &error);
                // What lands late is true all the same.
                let later = now + Duration::from_mins(1);
                self.merges.trims.push_front((later, group));
            }
        }
        Ok(true)
    }

    /// Deletes some entries, from the first on; returns whether there are more.
    async fn try_trim(&self, group: GroupNumber) -> Result<bool, SequencerError> {
        let (keys, shard) = (self.parts.keys, self.lease.shard);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let start = keys.tail_of(shard).start;
        let range = KeyRange::new(start.clone(), keys.tail_after(shard, group).start);
        let options = ScanOptions::limit(TRIMMED_ROWS).snapshot();
        let found = transaction.scan(range, options).await?;
        let Some((last, _)) = found.rows.last() else {
            return Ok(false);
        };
        transaction.delete_range(KeyRange::new(start, KeyRange::successor(last)));
        transaction.commit().await?;
        Ok(found.more)
    }

    /// Tells janitors what there is to merge.
    pub(crate) fn publish_unmerged(&self) {
        let unmerged = Unmerged {
            checkpoint: self.state.checkpoint,
            merged: self.state.merged,
            since: self.state.tail_since,
            ..self.unmerged
        };
        self.unmerged_shown.send_replace(unmerged);
        self.parts.merge_news.send_replace(());
    }

    // ----- swaps ------------------------------------------------------------------------------------

    async fn swap_all(
        &mut self,
        segment: SegmentName,
        runs: &[(Arc<[tidelog_metadata_api::Extent]>, MergedRun)],
    ) -> Result<Result<Vec<SwapOutcome>, MergeError>, Ended> {
        let mut outcomes = Vec::with_capacity(runs.len());
        let mut attempts = 0;
        while let Some(rest) = runs.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            match self.try_swap(segment, rest).await {
                Ok(Ok(stepped)) => {
                    attempts = 0;
                    let mut view = self.view.write();
                    for (partition, next) in stepped.swapped {
                        view.forget_below(partition, next);
                    }
                    drop(view);
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
        runs: &[(Arc<[tidelog_metadata_api::Extent]>, MergedRun)],
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
            let found = self.look_at_run(transaction.as_mut(), old, run).await?;
            let outcome = match found {
                Swapped::Changed => SwapOutcome::Changed,
                Swapped::Before => SwapOutcome::Swapped,
                Swapped::Now(swap) => {
                    rows.take(keys, partition, swap);
                    SwapOutcome::Swapped
                }
            };
            if let (SwapOutcome::Swapped, Some(last)) = (outcome, run.extents.last()) {
                stepped.swapped.push((partition, last.offsets.next));
            }
            stepped.outcomes.push(outcome);
        }
        if rows.written.is_empty() {
            return Ok(Ok(stepped));
        }
        self.write_swap(transaction, segment, rows).await?;
        Ok(Ok(stepped))
    }

    async fn look_at_run(
        &self,
        transaction: &mut dyn Transaction,
        old: &[tidelog_metadata_api::Extent],
        run: &MergedRun,
    ) -> Result<Swapped, SequencerError> {
        let keys = self.parts.keys;
        let key = keys.partition(run.partition);
        // Only the owner writes it, so the read need not conflict: the lease row does.
        let value = transaction.get(&key, ReadMode::Snapshot).await?;
        let Some(value) = value.filter(|value| PartitionRow::has_pages(value)) else {
            return Ok(Swapped::Changed);
        };
        let row = PartitionRow::decode(value)?;
        let Some((first, last)) = old.first().zip(old.last()) else {
            return Ok(Swapped::Changed);
        };
        let offsets = OffsetRange {
            base: first.offsets.base.max(row.reclaimed),
            next: last.offsets.next,
        };
        if offsets.base >= offsets.next || offsets.next > row.next {
            return Ok(Swapped::Changed);
        }
        let pages = read_pages(transaction, keys, run.partition, offsets).await?;
        Ok(swap(row.reclaimed, &pages, old, &run.extents))
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

    // ----- the end of a window ----------------------------------------------------------------------

    async fn finish_merge(
        &mut self,
        merged: MergedRow,
        (manifests, bytes): (u64, u64),
    ) -> Result<Result<(), MergeError>, Ended> {
        match self.try_finish(merged).await {
            Ok(tail_since) => {
                let clock = &self.parts.env.clock;
                let kept = clock.now() + self.parts.settings.tail_kept;
                self.merges.trims.push_back((kept, merged.group));
                self.state.merged = self.state.merged.max(merged.group);
                self.state.tail_since = tail_since;
                self.unmerged.merged(manifests, bytes, tail_since);
                self.publish_unmerged();
                Ok(Ok(()))
            }
            Err(error) => {
                self.parts.metrics.merging.failures.inc();
                self.warn("it was not noted what is merged", &error);
                if let Err(error) = self.recover_patiently().await {
                    return Err(self.end(Vec::new(), &error));
                }
                Ok(Err(MergeError::Unavailable {
                    reason: error.to_string(),
                }))
            }
        }
    }

    /// Writes how far it has come; returns the commit time of the first entry of the tail behind it.
    async fn try_finish(&self, merged: MergedRow) -> Result<Option<Timestamp>, SequencerError> {
        let (keys, shard) = (self.parts.keys, self.lease.shard);
        let mut transaction = self.parts.store.begin().await?;
        self.lease.check(transaction.as_mut()).await?;
        let rest = keys.tail_after(shard, merged.group);
        let first = transaction
            .scan(rest, ScanOptions::limit(1).snapshot())
            .await?;
        let first = first.rows.into_iter().next();
        let first = first.map(|(_, value)| TailRow::decode(value)).transpose()?;
        transaction.put(keys.merged(shard), merged.encode());
        transaction.commit().await?;
        Ok(first.map(|row| row.commit_time()))
    }
}

/// The pages that have something of some offsets, with the one before and the one behind.
async fn read_pages(
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
pub(super) fn check_merged(
    segment: SegmentName,
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
            Location::Segment { segment: found, length, .. } if found == segment && length > 0
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
