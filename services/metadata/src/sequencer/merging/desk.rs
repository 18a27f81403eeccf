//! Where janitors ask for merges of a shard, while its owner has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::{Clock, MonoTime};
use tidelog_metadata_api::{
    Extent, MergeError, MergeId, MergeTask, MergedRun, SWAP_RUNS_MAX, SwapOutcome,
};
use tidelog_types::{GroupNumber, OffsetRange, SegmentName, TopicPartition};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::super::error::SequencerError;
use super::plan::{Planned, Planning, Window};
use super::step::{MergeMessage, check_merged};
use super::windows::{Due, MergeSettings, Unmerged};
use crate::keyspace::MergedRow;
use crate::metrics::Merging;

/// How often a merge is lent before its extents stay as they are: something is wrong with them.
const LENT_MAX: u32 = 3;

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
    window: Option<OpenWindow>,
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
    lent_until: Option<MonoTime>,
    is_finished: bool,
}

impl OpenWindow {
    fn is_finished(&self) -> bool {
        self.tasks.iter().all(|task| task.is_finished)
    }

    fn task(&mut self, id: MergeId) -> Option<&mut Lending> {
        self.tasks.iter_mut().find(|task| task.task.id == id)
    }
}

impl Desk {
    pub(crate) fn new(
        planning: Planning,
        settings: MergeSettings,
        unmerged: watch::Receiver<Unmerged>,
        messages: mpsc::Sender<MergeMessage>,
        clock: Arc<dyn Clock>,
        epoch: u64,
        metrics: Merging,
    ) -> Self {
        Self {
            planning,
            settings,
            unmerged,
            messages,
            clock,
            epoch,
            metrics,
            state: Mutex::default(),
        }
    }

    /// A merge, if there is one to be made now.
    pub(crate) async fn next(&self) -> Result<NextMerge, SequencerError> {
        let mut state = self.state.lock().await;
        loop {
            let mut wait = None;
            if let Some(window) = &mut state.window {
                match self.lend(window) {
                    Some(NextMerge::Wait(until)) => return Ok(NextMerge::Wait(until)),
                    Some(task) => return Ok(task),
                    // All are finished, or were given up.
                    None => {}
                }
                let (merged, counts) = (window.merged, (window.manifests, window.bytes));
                if self.finish_window(merged, counts).await.is_err() {
                    return Ok(NextMerge::Wait(Some(self.settings.lent_for)));
                }
                state.window = None;
            }
            let unmerged = *self.unmerged.borrow();
            match unmerged.due(&self.settings, self.clock.wall()) {
                Due::Now => {}
                Due::In(left) => wait = Some(left),
                Due::Never => return Ok(NextMerge::Wait(None)),
            }
            if wait.is_some() {
                return Ok(NextMerge::Wait(wait));
            }
            self.plan(&mut state, unmerged.checkpoint).await?;
        }
    }

    /// Lends the first merge that nobody has; nothing if there is none to wait for either.
    fn lend(&self, window: &mut OpenWindow) -> Option<NextMerge> {
        let now = self.clock.now();
        for task in &mut window.tasks {
            let is_free = task.lent_until.is_none_or(|until| until <= now);
            if task.is_finished || !is_free {
                continue;
            }
            if task.lent == LENT_MAX {
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
        let open = window.tasks.iter().filter(|task| !task.is_finished);
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
        let committed_at = merged.commit_time;
        let mut tasks = Vec::with_capacity(segments.len());
        for Planned {
            bucket,
            bytes,
            runs,
        } in segments
        {
            state.number += 1;
            let id = MergeId {
                shard: self.planning.shard,
                epoch: self.epoch,
                number: state.number,
            };
            let of = |run: &tidelog_metadata_api::MergeRun| {
                (run.partition, Arc::from(run.extents.as_slice()))
            };
            tasks.push(Lending {
                runs: runs.iter().map(of).collect(),
                task: Arc::new(MergeTask {
                    id,
                    bucket,
                    bytes,
                    committed_at,
                    runs,
                }),
                lent: 0,
                lent_until: None,
                is_finished: false,
            });
        }
        state.window = Some(OpenWindow {
            merged,
            manifests,
            bytes,
            tasks,
        });
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
            let window = state.window.as_mut();
            let task = window.and_then(|window| window.task(id));
            let task = task.filter(|task| !task.is_finished);
            let task = task.ok_or(MergeError::Gone)?;
            task.lent_until = Some(self.clock.now() + self.settings.lent_for);
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
                check_merged(segment, offsets, &run).map_err(malformed)?;
                Ok((Arc::clone(old), run))
            });
            known.collect::<Result<Vec<_>, MergeError>>()?
        };
        self.ask(|reply| MergeMessage::Swap {
            segment,
            runs,
            reply,
        })
        .await
    }

    /// Takes note that a merge is made. When it was the last one of its window, that is durable.
    pub(crate) async fn finish(&self, id: MergeId) -> Result<(), MergeError> {
        let mut state = self.state.lock().await;
        let window = state.window.as_mut().ok_or(MergeError::Gone)?;
        window.task(id).ok_or(MergeError::Gone)?.is_finished = true;
        if window.is_finished() {
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
