//! The part of the task that owns a shard that keeps as much of each log as its topic says: between groups, in small
//! steps. What goes is a command in a group, as when a client deletes records.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_env::MonoTime;
use tidelog_metadata_api::{CatalogueError, TopicInfo, TopicSelector};
use tidelog_store::{ReadMode, ScanOptions, StoreError, Transaction};
use tidelog_types::{Offset, PartitionIndex, TopicNumber, TopicPartition};
use tokio::sync::broadcast::error::RecvError;

use super::actor::{Actor, Ended};
use super::error::{Next, SequencerError};
use super::message::Message;
use super::retention::{Aged, Cut, Limits};
use super::state::PartitionState;
use crate::catalogue::Catalogue;
use crate::keyspace::{CompactedRow, Keyspace, PageRow, PartitionRow, RowError};

/// Topics that a step of a pass finds.
const TOPICS: usize = 100;
/// Partitions of a topic that a step sees.
const PARTITIONS_SEEN: usize = 1_000;
/// Partitions whose beginning a step looks at, each within some pages.
const PARTITIONS: usize = 16;
/// Moves in one group.
const MOVES: usize = 500;
/// Pages of one partition that a step looks at: what lies beyond goes in a later one.
const PAGES: usize = 16;

/// What became of a look at a partition.
struct Looked {
    cut: Cut,
    /// Where the log starts.
    from: Offset,
    /// The bytes of the log, at most.
    size: u64,
    /// Whether there may be more that is due.
    has_more: bool,
}

impl Actor {
    /// A topic was changed by this process; it is not known which, or some changes were missed.
    pub(super) fn topic_changed(&mut self, changed: &Result<Option<TopicNumber>, RecvError>) {
        match changed {
            Ok(Some(topic)) => self.retention.see(*topic),
            // The sender lives as long as this task.
            Ok(None) | Err(RecvError::Lagged(_) | RecvError::Closed) => self.retention.see_all(),
        }
    }

    fn keeping_deadline(&self) -> Option<MonoTime> {
        let clock = &self.parts.env.clock;
        let retention = self.retention.deadline(clock.now(), clock.wall());
        let purge = self.purge.deadline(clock.now(), clock.wall());
        let all = [self.reclaim.deadline(), retention, purge];
        all.into_iter().flatten().min()
    }

    /// Whether there is something to do for retention now.
    pub(super) fn keeping_is_due(&self) -> bool {
        let now = self.parts.env.clock.now();
        let deadline = self.keeping_deadline();
        deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Ends when there is; never where nothing is ever due (invariant I8).
    pub(super) async fn keeping_time(&self) {
        match self.keeping_deadline() {
            Some(deadline) => self.parts.env.clock.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Does a little of what is to be done.
    pub(super) async fn keeping_step(&mut self) -> Result<(), Ended> {
        let clock = Arc::clone(&self.parts.env.clock);
        if let Some(partition) = self.reclaim.next(clock.now()) {
            return self.reclaim_step(partition).await;
        }
        if let Some(job) = self.purge.next(clock.now(), clock.wall()) {
            return self.purge_step(job).await;
        }
        self.retention.begin_check(clock.now(), clock.wall());
        let (partitions, is_check) = self.retention.next_partitions(PARTITIONS);
        let done = if !partitions.is_empty() {
            self.look_at(partitions, is_check).await
        } else if let Some((topic, from)) = self.retention.next_topic() {
            self.see_topic(topic, from).await
        } else if let Some(after) = self.retention.next_pass() {
            self.pass(after).await
        } else {
            Ok(())
        };
        match done {
            Ok(()) => self.expire().await,
            Err(error) if error.next() == Next::Fenced => Err(self.end(Vec::new(), &error)),
            Err(error) => {
                // It was only read: there is nothing to settle.
                self.parts.metrics.keeping.failures.inc();
                self.warn("retention has to wait", &error);
                self.retention.pause(clock.now());
                Ok(())
            }
        }
    }

    /// Moves log starts up, many in one group.
    async fn expire(&mut self) -> Result<(), Ended> {
        let moves = self.retention.take_moves(MOVES);
        if moves.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(moves.len()).unwrap_or(u64::MAX);
        self.run_group(vec![Message::Expire { moves }]).await?;
        self.parts.metrics.keeping.log_starts_moved.inc_by(count);
        Ok(())
    }

    // ----- topics -----------------------------------------------------------------------------------

    async fn pass(&mut self, after: TopicNumber) -> Result<(), SequencerError> {
        let found = self.parts.catalogue.numbers(after, TOPICS).await;
        let numbers = found.map_err(catalogue_error)?;
        let rest = numbers.last().copied();
        let rest = rest.filter(|_| numbers.len() == TOPICS);
        let now = self.parts.env.clock.now();
        self.retention.passed(numbers, rest, now);
        Ok(())
    }

    /// Sees partitions of a topic that are of this shard: those whose limits are others than before are looked at.
    async fn see_topic(&mut self, number: TopicNumber, from: u32) -> Result<(), SequencerError> {
        let Some(topic) = topic_of(&self.parts.catalogue, number).await? else {
            self.retention.seen(number, None);
            self.purge.forget(number);
            return Ok(());
        };
        if from == 0 {
            self.purge_sees(&topic);
        }
        let limits = Limits::of(&topic);
        let shard = self.lease.shard;
        let mut rest = None;
        let mut seen = Vec::new();
        for (index, info) in (0..).zip(&topic.partitions).skip(index_of(from)) {
            let partition = TopicPartition::new(number, PartitionIndex::new(index));
            if info.shard != shard || self.retention.knows(partition, limits) {
                continue;
            }
            if seen.len() == PARTITIONS_SEEN {
                rest = Some(index);
                break;
            }
            seen.push(partition);
        }
        self.see_partitions(seen, limits).await?;
        self.retention.seen(number, rest);
        Ok(())
    }

    /// Finds those that have something that may go, and those that an owner before has not taken everything off of.
    async fn see_partitions(
        &mut self,
        partitions: Vec<TopicPartition>,
        limits: Limits,
    ) -> Result<(), SequencerError> {
        let mut transaction = self.parts.store.begin().await?;
        let keys = partitions.iter();
        let keys = keys.map(|at| (self.parts.keys.partition(*at), ReadMode::Snapshot));
        let values = transaction.get_many(&keys.collect::<Vec<_>>()).await?;
        for (partition, value) in partitions.into_iter().zip(values) {
            let state = match self.state.partitions.get(&partition) {
                Some(state) => Ok(state.clone()),
                None => of_row(value),
            };
            let Ok(state) = state else {
                // Whoever needs the damaged row will say so.
                continue;
            };
            if state.reclaimed < state.log_start {
                self.reclaim.note(partition);
            }
            if limits.are_none() {
                self.retention.looked(partition, limits, None, false);
            } else if state.log_start < state.next {
                self.retention.refresh(partition);
            } else {
                // What was known of it is of other limits.
                self.retention.forget(partition);
            }
        }
        Ok(())
    }

    /// The partition as it is in memory, or as its row says. It is not kept in memory for that.
    async fn state_of(&self, partition: TopicPartition) -> Result<PartitionState, SequencerError> {
        if let Some(state) = self.state.partitions.get(&partition) {
            return Ok(state.clone());
        }
        let mut transaction = self.parts.store.begin().await?;
        let key = self.parts.keys.partition(partition);
        Ok(of_row(transaction.get(&key, ReadMode::Snapshot).await?)?)
    }

    // ----- partitions -------------------------------------------------------------------------------

    /// Looks at the beginning of partitions. In a check what is due is to go; else it only takes note of when that is.
    async fn look_at(
        &mut self,
        partitions: Vec<TopicPartition>,
        is_check: bool,
    ) -> Result<(), SequencerError> {
        for partition in partitions {
            let Some(topic) = topic_of(&self.parts.catalogue, partition.topic).await? else {
                self.retention.forget(partition);
                continue;
            };
            let limits = Limits::of(&topic);
            if limits.are_none() {
                self.retention.looked(partition, limits, None, false);
                continue;
            }
            match self.look(partition, limits, is_check).await {
                Ok(looked) if is_check => {
                    if looked.cut.reached > looked.from {
                        let reached = looked.cut.reached;
                        self.retention.moves(partition, reached, looked.has_more);
                    }
                    if !looked.has_more {
                        let due = looked.cut.due;
                        self.retention.looked(partition, limits, due, false);
                    }
                }
                Ok(Looked { cut, size, .. }) => {
                    let is_large = limits.bytes.is_some_and(|bytes| size > bytes);
                    self.retention.looked(partition, limits, cut.due, is_large);
                }
                Err(error @ SequencerError::Row(_)) => {
                    self.warn("retention passes a partition over", &error);
                    self.retention.forget(partition);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Looks for the first extent that stays; for the first one of all if there is no check.
    async fn look(
        &self,
        partition: TopicPartition,
        limits: Limits,
        is_check: bool,
    ) -> Result<Looked, SequencerError> {
        let state = self.state_of(partition).await?;
        let mut looked = Looked {
            cut: Cut {
                limits,
                now: self.parts.env.clock.wall(),
                total: state.total,
                last_stable: if is_check {
                    state.last_stable()
                } else {
                    Offset::ZERO
                },
                reached: state.log_start,
                due: None,
                compacted: self.compacted(partition, &state, limits).await?,
            },
            from: state.log_start,
            size: state.total.saturating_sub(state.reclaimed_bytes),
            has_more: false,
        };
        let window_base = {
            let view = self.view.read();
            let view = view.partition(partition);
            view.map_or(state.next, |view| view.shown().window_base)
        };
        if state.log_start < window_base {
            let mut transaction = self.parts.store.begin().await?;
            let keys = self.parts.keys;
            let is_over = looked.pages(transaction.as_mut(), keys, partition).await?;
            if is_over || looked.cut.reached < window_base {
                looked.has_more = !is_over;
                return Ok(looked);
            }
        }
        if let Some(view) = self.view.read().partition(partition) {
            view.walk(looked.cut.reached, |extent| looked.cut.passes(extent));
        }
        Ok(looked)
    }
}

impl Actor {
    /// Of a partition that was compacted before its topic came to say something else: the first page behind that, and how
    /// many bytes there are from it on. What pages say of those before counts what has gone.
    async fn compacted(
        &self,
        partition: TopicPartition,
        state: &PartitionState,
        limits: Limits,
    ) -> Result<Option<(Offset, u64)>, SequencerError> {
        if limits.bytes.is_none() {
            return Ok(None);
        }
        let keys = self.parts.keys;
        let mut transaction = self.parts.store.begin().await?;
        let key = keys.compacted(partition);
        let row = transaction.get(&key, ReadMode::Snapshot).await?;
        let row = row.map(CompactedRow::decode).transpose()?;
        let cleaned = row.map(|row| row.cleaned);
        let Some(cleaned) = cleaned.filter(|at| *at > state.log_start) else {
            return Ok(None);
        };
        let range = keys.pages_after(partition, Offset::new(cleaned.get().saturating_sub(1)));
        let page = transaction
            .scan(range, ScanOptions::limit(1).snapshot())
            .await?;
        let page = page.rows.into_iter().next();
        let Some((base, page)) = page.map(PageRow::of_row).transpose()? else {
            // It is still being written, and nothing goes before it is.
            return Ok(Some((state.next, 0)));
        };
        Ok(Some((base, state.total.saturating_sub(page.bytes_before))))
    }
}

impl Looked {
    /// Looks at pages from where it is on; whether it has found the extent that stays.
    async fn pages(
        &mut self,
        transaction: &mut dyn Transaction,
        keys: Keyspace,
        partition: TopicPartition,
    ) -> Result<bool, SequencerError> {
        let from = self.cut.reached;
        let range = keys.pages_until(partition, from);
        let options = ScanOptions::limit(1).backward().snapshot();
        let mut rows = transaction.scan(range, options).await?.rows;
        let range = keys.pages_after(partition, from);
        let options = ScanOptions::limit(PAGES).snapshot();
        rows.extend(transaction.scan(range, options).await?.rows);
        for row in rows {
            let (_, page) = PageRow::of_row(row)?;
            for (extent, bytes_so_far) in page.sized() {
                let aged = Aged {
                    offsets: extent.offsets,
                    max_timestamp: extent.max_timestamp,
                    committed_at: page.committed_at,
                    bytes_so_far,
                };
                if !self.cut.passes(&aged) {
                    return Ok(true);
                }
            }
        }
        if self.cut.reached == from {
            return Err(damaged("none has the offset at which the log starts").into());
        }
        Ok(false)
    }
}

fn of_row(value: Option<Bytes>) -> Result<PartitionState, RowError> {
    let row = value.map(PartitionRow::decode).transpose()?;
    Ok(PartitionState::from_row(row.unwrap_or_default()))
}

const fn damaged(what: &'static str) -> RowError {
    RowError { kind: "page", what }
}

fn index_of(from: u32) -> usize {
    usize::try_from(from).unwrap_or(usize::MAX)
}

/// A topic; nothing if it is gone.
pub(super) async fn topic_of(
    catalogue: &Catalogue,
    topic: TopicNumber,
) -> Result<Option<Arc<TopicInfo>>, SequencerError> {
    match catalogue.topic(&TopicSelector::Number(topic)).await {
        Ok(topic) => Ok(Some(topic)),
        Err(CatalogueError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(catalogue_error(error)),
    }
}

/// What the catalogue could not say.
pub(super) fn catalogue_error(error: CatalogueError) -> SequencerError {
    SequencerError::Read(match error {
        CatalogueError::NotOwner => StoreError::Fenced,
        error => StoreError::Unavailable(Arc::new(error)),
    })
}
