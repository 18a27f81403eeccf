//! Where janitors ask for partitions of a shard to compact, while its owner has it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Clock, MonoTime, error_chain};
use tidelog_metadata_api::{
    Compacted, CompactionTask, Extent, MergeError, MergeId, MergedRun, REPLACED_EXTENTS_MAX,
    SwapOutcome,
};
use tidelog_types::{GroupNumber, OffsetRange, SegmentName, Timestamp, TopicPartition};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::super::error::SequencerError;
use super::super::merging::{MergeMessage, MergeSettings, Unmerged, check_merged};
use super::due::Wanted;
use super::look::{Found, Look};
use super::step::NoteCompacted;
use crate::keyspace::CompactedRow;
use crate::metrics::Compacting;

/// Partitions that are being compacted at once.
const LENT_MAX: usize = 4;
/// How long a partition is left alone that could not be compacted.
const LEFT_ALONE: Duration = Duration::from_mins(10);
/// Partitions that are remembered to be left alone, at most: more are tried again.
const LEFT_ALONE_MAX: usize = 10_000;

/// What there is to do.
#[derive(Debug)]
pub(crate) enum NextCompaction {
    /// This partition.
    Task(CompactionTask),
    /// Nothing for so long, or before there is news.
    Wait(Option<Duration>),
}

/// The compactions of one shard.
#[derive(Debug)]
pub(crate) struct CompactionDesk {
    look: Look,
    settings: MergeSettings,
    unmerged: watch::Receiver<Unmerged>,
    messages: mpsc::Sender<MergeMessage>,
    clock: Arc<dyn Clock>,
    epoch: u64,
    metrics: Compacting,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last task that was made up.
    number: u64,
    queue: VecDeque<Found>,
    lent: Vec<Lent>,
    left_alone: HashMap<TopicPartition, MonoTime>,
    /// Those of which the last task was given up.
    refused: HashSet<TopicPartition>,
    /// Of the last look: partitions with rows that cannot be read, and the largest share of bytes that are due.
    damaged: usize,
    dirtiest: f64,
    /// As of the last look: what was merged, and how often a topic was changed.
    seen: Option<(GroupNumber, u64)>,
    looked_at: Option<MonoTime>,
    /// When something is due that was not at the last look.
    due: Option<Timestamp>,
}

#[derive(Debug)]
struct Lent {
    task: CompactionTask,
    /// What the topic wanted then.
    wanted: Wanted,
    until: MonoTime,
}

impl State {
    fn is_lent(&self, partition: TopicPartition) -> bool {
        self.lent
            .iter()
            .any(|lent| lent.task.partition == partition)
    }

    /// Who has kept a task for too long does not go on with it.
    fn take_back(&mut self, now: MonoTime) {
        let mut kept = Vec::with_capacity(self.lent.len());
        for lent in std::mem::take(&mut self.lent) {
            if lent.until > now {
                kept.push(lent);
                continue;
            }
            tracing::info!(
                partition = %lent.task.partition,
                "a compaction was not heard of any more, and is tried again"
            );
            self.seen = None;
        }
        self.lent = kept;
    }

    fn lent(&mut self, id: MergeId) -> Result<&mut Lent, MergeError> {
        let lent = self.lent.iter_mut().find(|lent| lent.task.id == id);
        lent.ok_or(MergeError::Gone)
    }
}

impl CompactionDesk {
    pub(crate) fn new(
        look: Look,
        settings: MergeSettings,
        unmerged: watch::Receiver<Unmerged>,
        messages: mpsc::Sender<MergeMessage>,
        clock: Arc<dyn Clock>,
        epoch: u64,
        metrics: Compacting,
    ) -> Self {
        Self {
            look,
            settings,
            unmerged,
            messages,
            clock,
            epoch,
            metrics,
            state: Mutex::default(),
        }
    }

    /// A partition, if one is to be compacted now.
    pub(crate) async fn next(&self) -> Result<NextCompaction, SequencerError> {
        if !self.settings.is_on {
            return Ok(NextCompaction::Wait(None));
        }
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        state.take_back(now);
        loop {
            if state.lent.len() >= LENT_MAX {
                let until = state.lent.iter().map(|lent| lent.until).min();
                let wait = until.map(|until| until.saturating_since(now));
                return Ok(NextCompaction::Wait(wait));
            }
            if let Some(found) = state.queue.pop_front() {
                // The look may have been some time ago. If it is something else that is wanted by now, the next one sees it.
                let wanted = self.look.wanted(found.partition.topic).await?;
                if wanted == Some(found.wanted) && !state.is_lent(found.partition) {
                    return Ok(NextCompaction::Task(self.lend(&mut state, &found, now)));
                }
                continue;
            }
            if let Some(wait) = self.wait(&state, now) {
                return Ok(wait);
            }
            self.look(&mut state, now).await?;
        }
    }

    /// How long there is no need to look; nothing if there is one now.
    fn wait(&self, state: &State, now: MonoTime) -> Option<NextCompaction> {
        let merged = self.unmerged.borrow().merged;
        let has_news = state.seen != Some((merged, self.look.catalogue.changes()));
        let wall = self.clock.wall().as_millis();
        let left = state.due.map(|due| due.as_millis().saturating_sub(wall));
        let left = left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default()));
        let taken = state
            .lent
            .iter()
            .map(|lent| lent.until.saturating_since(now));
        if !has_news && left.is_none_or(|left| !left.is_zero()) {
            return Some(NextCompaction::Wait(taken.chain(left).min()));
        }
        let looked_at = state.looked_at?;
        let rest = (looked_at + self.settings.compaction_interval).saturating_since(now);
        (!rest.is_zero()).then_some(NextCompaction::Wait(Some(rest)))
    }

    async fn look(&self, state: &mut State, now: MonoTime) -> Result<(), SequencerError> {
        state.left_alone.retain(|_, until| *until > now);
        let seen = (self.unmerged.borrow().merged, self.look.catalogue.changes());
        let left_alone = |at| state.left_alone.contains_key(&at) || state.is_lent(at);
        let wall = self.clock.wall();
        let looked = self.look.all(wall, left_alone).await;
        state.looked_at = Some(now);
        let looked = looked?;
        let mut refused = HashSet::new();
        for partition in &state.refused {
            if self.look.wanted(partition.topic).await?.is_some() {
                refused.insert(*partition);
            }
        }
        state.refused = refused;
        state.seen = Some(seen);
        state.due = looked.due;
        if let Some(until) = state.left_alone.values().min() {
            let left = until.saturating_since(now).as_millis();
            let again = wall
                .as_millis()
                .saturating_add(i64::try_from(left).unwrap_or(i64::MAX));
            let again = Timestamp::from_millis(again);
            state.due = Some(state.due.map_or(again, |due| due.min(again)));
        }
        let ratio = looked.found.first().map_or(0.0, |found| found.ratio);
        state.dirtiest = ratio;
        state.damaged = looked.damaged;
        state.queue = looked.found.into();
        self.report(state);
        Ok(())
    }

    fn report(&self, state: &State) {
        let uncleanable = state.refused.len() + state.damaged;
        let uncleanable = i64::try_from(uncleanable).unwrap_or(i64::MAX);
        self.metrics
            .report(self.look.shard, state.dirtiest, uncleanable);
    }

    fn lend(&self, state: &mut State, found: &Found, now: MonoTime) -> CompactionTask {
        state.number += 1;
        let topic = &found.topic;
        let task = CompactionTask {
            id: MergeId {
                shard: self.look.shard,
                epoch: self.epoch,
                number: state.number,
            },
            topic_id: topic.id,
            topic_name: topic.name.clone(),
            partition_count: topic.partition_count(),
            partition: found.partition,
            bucket: found.bucket,
            start: found.start,
            cleaned: found.cleaned,
            end: found.end,
            tombstones_millis: found.wanted.tombstones_millis,
            span_millis: found.wanted.span_millis,
            committed_at: found.committed_at,
            now: self.clock.wall(),
        };
        state.lent.push(Lent {
            task: task.clone(),
            wanted: found.wanted,
            until: now + self.settings.lent_for,
        });
        task
    }

    /// Lends a task for longer, as long as the topic wants what it did.
    async fn prolong(&self, id: MergeId) -> Result<CompactionTask, MergeError> {
        let mut state = self.state.lock().await;
        let lent = state.lent(id)?;
        lent.until = self.clock.now() + self.settings.lent_for;
        let (task, wanted) = (lent.task.clone(), lent.wanted);
        drop(state);
        let now = self.look.wanted(task.partition.topic).await;
        let now = now.map_err(|error| MergeError::Unavailable {
            reason: error_chain(&error),
        })?;
        if now != Some(wanted) {
            tracing::info!(
                partition = %task.partition, topic = %task.topic_name,
                "a compaction is let be: its topic wants something else by now"
            );
            self.end(id).await;
            return Err(MergeError::Gone);
        }
        Ok(task)
    }

    /// Swaps a run.
    pub(crate) async fn replace(
        &self,
        id: MergeId,
        segment: SegmentName,
        old: Vec<Extent>,
        new: Vec<Extent>,
    ) -> Result<SwapOutcome, MergeError> {
        let CompactionTask {
            partition, bucket, ..
        } = self.prolong(id).await?;
        if old.len() + new.len() > REPLACED_EXTENTS_MAX {
            return Err(malformed("there are too many extents"));
        }
        let (first, last) = old
            .first()
            .zip(old.last())
            .ok_or_else(|| malformed("a run is empty"))?;
        let offsets = OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        };
        let run = MergedRun {
            partition,
            extents: new,
        };
        check_merged((bucket, segment), offsets, &run).map_err(malformed)?;
        let runs = vec![(Arc::from(old), run)];
        let swapped = self.ask(|reply| MergeMessage::Swap {
            segment,
            runs,
            reply,
        });
        let swapped = swapped.await?.pop();
        swapped.ok_or_else(|| malformed("nothing was swapped"))
    }

    /// Takes note of how far a partition has come.
    pub(crate) async fn compacted(
        &self,
        id: MergeId,
        compacted: Compacted,
        is_last: bool,
    ) -> Result<(), MergeError> {
        let task = self.prolong(id).await?;
        let partition = task.partition;
        if compacted.cleaned < task.cleaned || compacted.cleaned > task.end {
            return Err(malformed("it cannot have come so far"));
        }
        let row = CompactedRow {
            cleaned: compacted.cleaned,
            bytes: compacted.bytes,
            tombstones_until: compacted.tombstones_until,
            unread: compacted.unread,
        };
        self.ask(|reply| {
            MergeMessage::Compacted(NoteCompacted {
                partition,
                row,
                reply,
            })
        })
        .await?;
        self.metrics.rounds.inc();
        if is_last {
            self.state.lock().await.refused.remove(&partition);
            self.end(id).await;
        }
        Ok(())
    }

    /// Holds a task, or gives it up.
    pub(crate) async fn hold(
        &self,
        id: MergeId,
        given_up: Option<String>,
    ) -> Result<(), MergeError> {
        let partition = self.prolong(id).await?.partition;
        let Some(reason) = given_up else {
            return Ok(());
        };
        tracing::warn!(%partition, reason, "a partition cannot be compacted for now");
        self.metrics.given_up.inc();
        let mut state = self.state.lock().await;
        if state.left_alone.len() < LEFT_ALONE_MAX {
            let until = self.clock.now() + LEFT_ALONE;
            state.left_alone.insert(partition, until);
            state.refused.insert(partition);
        }
        self.report(&state);
        drop(state);
        self.end(id).await;
        Ok(())
    }

    /// Forgets a task, and sees to it that there is another look: the partition may be due again at some time.
    async fn end(&self, id: MergeId) {
        let mut state = self.state.lock().await;
        state.lent.retain(|lent| lent.task.id != id);
        state.seen = None;
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, MergeError>>) -> MergeMessage,
    ) -> Result<T, MergeError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.messages.send(message(reply)).await;
        sent.map_err(|_| MergeError::Gone)?;
        answer.await.unwrap_or(Err(MergeError::Gone))
    }
}

fn malformed(what: &str) -> MergeError {
    MergeError::Malformed {
        reason: what.to_owned(),
    }
}
