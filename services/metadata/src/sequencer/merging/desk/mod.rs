//! Where janitors ask for merges of a shard, while its owner has it.

mod parts;
mod rewriting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Clock, MonoTime};
use tidelog_metadata_api::{
    Extent, MergeError, MergeId, MergeRun, MergeTask, MergedRun, SWAP_RUNS_MAX, SwapOutcome,
};
use tidelog_types::{GroupNumber, OffsetRange, SegmentName, Timestamp, TopicPartition};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::super::error::SequencerError;
use super::again::{Again, Noted};
use super::plan::{EXTENTS_MAX, Planned, Planning, SEGMENTS_MAX, Window};
use super::sparse::Sparse;
use super::step::MergeMessage;
use super::swapping::check_merged;
use super::windows::{Due, MergeSettings, Unmerged};
use crate::keyspace::MergedRow;
use crate::metrics::Merging;
use rewriting::Rewriting;

/// How often a merge is lent before its extents stay as they are: something is wrong with them. Janitors may die of
/// other things, some of them one after the other, and a bucket may be out of reach for some minutes.
const LENT_MAX: u32 = 12;
/// And for how long at least: what only seems to be wrong with them, such as a bucket that janitors cannot reach, is over by
/// then.
const LENT_FOR_MIN: Duration = Duration::from_hours(1);
/// The same where something lies in the store: nothing else ever moves it from there, and while it waits little more comes
/// to lie there.
const LENT_FOR_MIN_IN_STORE: Duration = Duration::from_hours(24);

/// What there is to do.
#[derive(Debug)]
pub(crate) enum NextMerge {
    /// This merge.
    Task(MergeTask),
    /// Nothing for so long, or before there is news.
    Wait(Option<Duration>),
}

/// The merges of one shard.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) planning: Planning,
    pub(super) settings: MergeSettings,
    pub(super) unmerged: watch::Receiver<Unmerged>,
    pub(super) again: Arc<Again>,
    pub(super) sparse: Arc<Sparse>,
    pub(super) messages: mpsc::Sender<MergeMessage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) epoch: u64,
    pub(super) metrics: Merging,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last task that was made up.
    number: u64,
    /// Of the tail.
    window: Option<OpenWindow>,
    /// What is merged again. Its extents are no others than those of the window.
    again: Vec<Lending>,
    rewriting: Rewriting,
}

impl State {
    fn task(&mut self, id: MergeId) -> Option<&mut Lending> {
        let window = self.window.iter_mut().flat_map(|window| &mut window.tasks);
        let mut all = window.chain(&mut self.again).chain(self.rewriting.tasks());
        all.find(|task| task.task.id == id)
    }
}

/// A window that is being merged.
#[derive(Debug)]
struct OpenWindow {
    merged: MergedRow,
    manifests: u64,
    bytes: u64,
    tasks: Vec<Lending>,
}

/// A merge, and who has it.
#[derive(Debug)]
struct Lending {
    task: Arc<MergeTask>,
    /// What each run is made of.
    runs: HashMap<TopicPartition, Arc<[Extent]>>,
    lent: u32,
    first_lent: Option<MonoTime>,
    lent_until: Option<MonoTime>,
    is_finished: bool,
    /// Whether something of it lies in the store.
    in_store: bool,
    /// The partitions whose runs were swapped.
    swapped: HashSet<TopicPartition>,
}

impl OpenWindow {
    fn is_finished(&self) -> bool {
        self.tasks.iter().all(|task| task.is_finished)
    }
}

/// What was noted to be merged again, and is noted anew if nobody plans it, as when who asks goes away.
struct TakenAgain<'a> {
    desk: &'a Desk,
    taken: Vec<(TopicPartition, Noted)>,
}

impl Drop for TakenAgain<'_> {
    fn drop(&mut self) {
        let now = self.desk.clock.now();
        for (partition, noted) in self.taken.drain(..) {
            self.desk.again.note(partition, noted, now);
        }
    }
}

impl Desk {
    pub(crate) fn new(
        planning: Planning,
        settings: MergeSettings,
        (unmerged, again, sparse): (watch::Receiver<Unmerged>, Arc<Again>, Arc<Sparse>),
        messages: mpsc::Sender<MergeMessage>,
        clock: Arc<dyn Clock>,
        epoch: u64,
        metrics: Merging,
    ) -> Self {
        let state = State {
            rewriting: Rewriting::new(&planning, &settings),
            ..State::default()
        };
        Self {
            planning,
            settings,
            unmerged,
            again,
            sparse,
            messages,
            clock,
            epoch,
            metrics,
            state: Mutex::new(state),
        }
    }

    /// A merge, if there is one to be made now: of the tail first, so that it stays short.
    pub(crate) async fn next(&self) -> Result<NextMerge, SequencerError> {
        let mut state = self.state.lock().await;
        let tail = match self.next_of_tail(&mut state).await? {
            NextMerge::Wait(wait) => wait,
            task @ NextMerge::Task(_) => return Ok(task),
        };
        let again = match self.next_again(&mut state).await? {
            NextMerge::Wait(wait) => wait,
            task @ NextMerge::Task(_) => return Ok(task),
        };
        let rewrite = match self.next_rewrite(&mut state).await? {
            NextMerge::Wait(wait) => wait,
            task @ NextMerge::Task(_) => return Ok(task),
        };
        let waits = [tail, again, rewrite].into_iter().flatten();
        Ok(NextMerge::Wait(waits.min()))
    }

    async fn next_of_tail(&self, state: &mut State) -> Result<NextMerge, SequencerError> {
        loop {
            if let Some(window) = &mut state.window {
                if let Some(next) = self.lend(&mut window.tasks) {
                    return Ok(next);
                }
                // All are finished, or were given up.
                let (merged, counts) = (window.merged, (window.manifests, window.bytes));
                if self.finish_window(merged, counts).await.is_err() {
                    return Ok(NextMerge::Wait(Some(self.settings.lent_for)));
                }
                state.window = None;
            }
            let unmerged = *self.unmerged.borrow();
            match unmerged.due(&self.settings, self.clock.wall()) {
                Due::Now => self.plan(state, unmerged.checkpoint).await?,
                Due::In(left) => return Ok(NextMerge::Wait(Some(left))),
                Due::Never => return Ok(NextMerge::Wait(None)),
            }
        }
    }

    async fn next_again(&self, state: &mut State) -> Result<NextMerge, SequencerError> {
        loop {
            if let Some(next) = self.lend(&mut state.again) {
                return Ok(next);
            }
            state.again.clear();
            let now = self.clock.now();
            match self.again.due(&self.settings, now) {
                Due::Now => self.plan_again(state, now).await?,
                Due::In(left) => return Ok(NextMerge::Wait(Some(left))),
                Due::Never => return Ok(NextMerge::Wait(None)),
            }
        }
    }

    /// Lends the first merge that nobody has; nothing if there is none to wait for either.
    fn lend(&self, tasks: &mut [Lending]) -> Option<NextMerge> {
        let now = self.clock.now();
        for task in &mut *tasks {
            let is_free = task.lent_until.is_none_or(|until| until <= now);
            if task.is_finished || !is_free {
                continue;
            }
            let first = *task.first_lent.get_or_insert(now);
            let lent_for_min = if task.in_store {
                LENT_FOR_MIN_IN_STORE
            } else {
                LENT_FOR_MIN
            };
            if task.lent >= LENT_MAX && now - first >= lent_for_min {
                tracing::warn!(
                    merge = ?task.task.id,
                    "a merge was not made although it was tried some times: what it was to be made of stays"
                );
                self.metrics.given_up.inc();
                task.is_finished = true;
                continue;
            }
            task.lent += 1;
            task.lent_until = Some(now + self.settings.lent_for);
            return Some(NextMerge::Task(MergeTask::clone(&task.task)));
        }
        let open = tasks.iter().filter(|task| !task.is_finished);
        let until = open.filter_map(|task| task.lent_until).min()?;
        Some(NextMerge::Wait(Some(until.saturating_since(now))))
    }

    async fn plan(&self, state: &mut State, checkpoint: GroupNumber) -> Result<(), SequencerError> {
        let merged = self.planning.merged().await?;
        let Window {
            merged,
            manifests,
            bytes,
            segments,
        } = self.planning.window(merged, checkpoint).await?;
        let tasks = self.lendings(&mut state.number, segments, merged.commit_time);
        state.window = Some(OpenWindow {
            merged,
            manifests,
            bytes,
            tasks,
        });
        Ok(())
    }

    async fn plan_again(&self, state: &mut State, now: MonoTime) -> Result<(), SequencerError> {
        let bytes_max = self.settings.bytes.saturating_mul(SEGMENTS_MAX);
        let taken = self.again.take(EXTENTS_MAX, bytes_max, now);
        let mut taken = TakenAgain { desk: self, taken };
        let planned = self.planning.again(&taken.taken, &self.settings).await;
        if matches!(planned, Ok(_) | Err(SequencerError::Row(_))) {
            // What is damaged would be so the next time.
            taken.taken.clear();
        }
        let planned = planned?;
        let bytes = planned.segments.iter().map(|segment| segment.bytes).sum();
        self.metrics.again_bytes.inc_by(bytes);
        state.again = self.lendings(&mut state.number, planned.segments, planned.committed_at);
        Ok(())
    }

    fn lendings(
        &self,
        number: &mut u64,
        segments: Vec<Planned>,
        committed_at: Timestamp,
    ) -> Vec<Lending> {
        let mut tasks = Vec::with_capacity(segments.len());
        for planned in segments {
            let in_store = planned.is_in_store();
            let Planned {
                bucket,
                bytes,
                runs,
            } = planned;
            *number += 1;
            let id = MergeId {
                shard: self.planning.shard,
                epoch: self.epoch,
                number: *number,
            };
            let of = |run: &MergeRun| (run.partition, Arc::from(run.extents.as_slice()));
            tasks.push(Lending {
                runs: runs.iter().map(of).collect(),
                task: Arc::new(MergeTask {
                    id,
                    bucket,
                    bytes,
                    committed_at,
                    runs,
                    sparse: Vec::new(),
                }),
                lent: 0,
                first_lent: None,
                lent_until: None,
                is_finished: false,
                in_store,
                swapped: HashSet::new(),
            });
        }
        tasks
    }

    /// Whoever has a merge is still at it.
    pub(crate) async fn keep(&self, id: MergeId) -> Result<(), MergeError> {
        let mut state = self.state.lock().await;
        let task = state.task(id).filter(|task| !task.is_finished);
        let task = task.ok_or(MergeError::Gone)?;
        task.lent_until = Some(self.clock.now() + self.settings.lent_for);
        Ok(())
    }

    /// Swaps runs of a merge.
    pub(crate) async fn swap(
        &self,
        id: MergeId,
        segment: SegmentName,
        runs: Vec<MergedRun>,
    ) -> Result<Vec<SwapOutcome>, MergeError> {
        if runs.len() > SWAP_RUNS_MAX {
            return Err(malformed("there are too many runs"));
        }
        let runs = {
            let mut state = self.state.lock().await;
            let task = state.task(id).filter(|task| !task.is_finished);
            let task = task.ok_or(MergeError::Gone)?;
            task.lent_until = Some(self.clock.now() + self.settings.lent_for);
            let bucket = task.task.bucket;
            let known = runs.into_iter().map(|run| {
                let old = task.runs.get(&run.partition);
                let old = old.ok_or_else(|| malformed("a run is not one of the merge"))?;
                let (first, last) = old
                    .first()
                    .zip(old.last())
                    .ok_or_else(|| malformed("a run is empty"))?;
                let offsets = OffsetRange {
                    base: first.offsets.base,
                    next: last.offsets.next,
                };
                check_merged((bucket, segment), offsets, &run).map_err(malformed)?;
                Ok((Arc::clone(old), run))
            });
            known.collect::<Result<Vec<_>, MergeError>>()?
        };
        let partitions: Vec<_> = runs.iter().map(|(_, run)| run.partition).collect();
        let outcomes = self
            .ask(|reply| MergeMessage::Swap {
                segment,
                runs,
                reply,
            })
            .await?;
        let swapped = partitions.into_iter().zip(&outcomes);
        let swapped = swapped.filter(|(_, outcome)| **outcome == SwapOutcome::Swapped);
        if let Some(task) = self.state.lock().await.task(id) {
            task.swapped.extend(swapped.map(|(partition, _)| partition));
        }
        Ok(outcomes)
    }

    /// Takes note that a merge is made. When it was the last one of its window, that is durable.
    pub(crate) async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        let mut state = self.state.lock().await;
        let mut number = state.number;
        let task = state.task(id).ok_or(MergeError::Gone)?;
        if !task.is_finished {
            let parts = self.in_parts(&mut number, task).await;
            let parts = parts.map_err(|error| MergeError::Unavailable {
                reason: error.to_string(),
            })?;
            task.is_finished = true;
            state.number = number;
            if let Some(window) = &mut state.window {
                window.tasks.extend(parts);
            }
        }
        let finished = state.window.as_ref().filter(|window| window.is_finished());
        if let Some(window) = finished {
            let (merged, counts) = (window.merged, (window.manifests, window.bytes));
            self.finish_window(merged, counts).await?;
            state.window = None;
        }
        Ok(())
    }

    async fn finish_window(&self, merged: MergedRow, counts: (u64, u64)) -> Result<(), MergeError> {
        self.ask(|reply| MergeMessage::Finish {
            merged,
            counts,
            reply,
        })
        .await
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
