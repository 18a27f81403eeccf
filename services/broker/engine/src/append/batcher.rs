//! The task that gathers batches into segments and closes them in time. What becomes of a closed segment
//! is told in [`super::passage`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidelog_blob::RequestBudget;
use tidelog_env::{CancellationToken, Env, MonoTime};
use tidelog_metadata_api::Log;
use tidelog_types::{BucketId, ShardId};
use tokio::sync::{mpsc, oneshot};

use super::TailCache;
use super::lanes::{Lanes, OpenLane};
use super::passage::Event;
use super::pipeline::Pipeline;
use super::request::{AppendError, Entry};
use super::retries::CommitRetries;
use super::senders::BrokenSenders;
use super::upload::Uploader;
use crate::classes::{Classes, Lane};
use crate::crash::CrashPlan;
use crate::memory::MemoryShare;
use crate::metrics::{AppendMetrics, CloseReason};
use crate::settings::AppendSettings;

/// What callers send.
#[derive(Debug)]
pub(super) enum Message {
    /// Append a batch.
    Append(Box<Entry>),
    /// Answer everything that was taken, then say so.
    Drain(oneshot::Sender<()>),
}

/// What the task works with.
#[derive(Debug)]
pub(super) struct BatcherParts {
    pub(super) env: Env,
    /// What batches hold until they are answered.
    pub(super) memory: MemoryShare,
    pub(super) log: Arc<dyn Log>,
    pub(super) settings: AppendSettings,
    pub(super) classes: Arc<Classes>,
    pub(super) uploader: Uploader,
    pub(super) budget: RequestBudget,
    pub(super) tail: Arc<dyn TailCache>,
    pub(super) metrics: AppendMetrics,
    pub(super) crash: CrashPlan,
    /// To be cancelled when the writer's incarnation has ended.
    pub(super) ended: CancellationToken,
}

/// The task's state.
#[derive(Debug)]
pub(super) struct Batcher {
    pub(super) parts: BatcherParts,
    pub(super) lanes: Lanes,
    pub(super) pipeline: Pipeline,
    pub(super) broken: BrokenSenders,
    pub(super) retries: CommitRetries,
    /// Until when segments of a shard are put into the bucket whatever their size, since the store takes none of it.
    pub(super) pauses: BTreeMap<ShardId, MonoTime>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    drains: Vec<oneshot::Sender<()>>,
}

impl Batcher {
    /// Runs until every handle is gone and everything is answered.
    pub(super) async fn run(parts: BatcherParts, mut messages: mpsc::UnboundedReceiver<Message>) {
        // Each segment under way has at most one report, and their number is bounded.
        let (events, mut reports) = mpsc::unbounded_channel();
        let retries = CommitRetries::new(parts.settings.commit_retry);
        let mut batcher = Self {
            lanes: Lanes::new(parts.settings, &parts.classes),
            parts,
            pipeline: Pipeline::default(),
            broken: BrokenSenders::default(),
            retries,
            pauses: BTreeMap::new(),
            events,
            drains: Vec::new(),
        };
        loop {
            let timer = batcher.timer();
            tokio::select! {
                biased;
                Some(report) = reports.recv() => batcher.on_event(report),
                message = messages.recv(), if batcher.takes_more() => match message {
                    Some(message) => batcher.on_messages(message, &mut messages),
                    None => break,
                },
                () = timer => {}
            }
            batcher.close_if_due();
            batcher.answer_drains();
        }
    }

    // ----- taking batches -------------------------------------------------------------------------

    /// Back-pressure: a full segment that cannot be closed yet takes nothing more; what callers send
    /// waits in the mailbox, whose bytes they hold. Others do not wait for the segments of a bucket that is busy: what
    /// is for those waits beside them.
    fn takes_more(&self) -> bool {
        let may_close = self.may_close();
        let mut lanes = self.lanes.iter();
        lanes.all(|(_, lane)| {
            let takes = lane.overflow.is_empty() && (may_close || !lane.is_full());
            takes || self.is_busy(lane.bucket)
        })
    }

    /// Takes what has come, until the segment is full.
    fn on_messages(&mut self, first: Message, messages: &mut mpsc::UnboundedReceiver<Message>) {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Append(entry) => self.on_append(*entry),
                Message::Drain(done) => self.drains.push(done),
            }
            if self.lanes.has_full() {
                self.close_if_due();
            }
            if self.takes_more() {
                next = messages.try_recv().ok();
            }
        }
    }

    fn on_append(&mut self, mut entry: Entry) {
        if let Some(error) = self.broken.refusal(&entry) {
            entry.answer(Err(error));
        } else if self.is_crowded(self.lanes.of(&entry)) {
            let error = AppendError::NotStored {
                reason: "the bucket of its class takes less than is sent to it".to_owned(),
            };
            self.broken.on_failed(entry.senders().collect(), &error);
            entry.answer(Err(error));
        } else {
            self.take(entry);
        }
    }

    fn take(&mut self, mut entry: Entry) {
        if self.parts.ended.is_cancelled() {
            entry.answer(Err(AppendError::ShuttingDown));
            return;
        }
        let now = self.parts.env.clock.now();
        let lane = self.lanes.of(&entry);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.push(entry, now);
        }
    }

    /// Whether so much waits for a bucket that is busy that others would not have half of the memory any more.
    fn is_crowded(&self, lane: Lane) -> bool {
        let Some(lane) = self.lanes.get(lane) else {
            return false;
        };
        if lane.overflow.is_empty() || !self.is_busy(lane.bucket) {
            return false;
        }
        let lanes = self.lanes.iter().map(|(_, lane)| lane);
        let there = lanes.filter(|other| other.bucket == lane.bucket);
        let waiting: u64 = there.map(OpenLane::bytes).sum();
        let (_, uploading) = self.pipeline.uploading_to(lane.bucket);
        waiting.saturating_add(uploading) > self.parts.settings.memory_bytes / 2
    }

    // ----- closing --------------------------------------------------------------------------------

    /// Whether one more segment may be under way.
    fn may_close(&self) -> bool {
        self.uploading() < self.parts.settings.uploads_max
            && self.pipeline.len() < self.parts.settings.unanswered_max
    }

    /// Whether a bucket has all uploads that it may have: where there are others no more than half, so that one that does
    /// not answer leaves them theirs.
    fn is_busy(&self, bucket: BucketId) -> bool {
        // What the store has refused is older than what would close, and is put when there is room for one more.
        let refused = self.pipeline.refused_of(bucket);
        self.has_its_share(bucket, refused)
    }

    /// Whether a bucket has all uploads that it may have, beside so many that are to come.
    pub(super) fn has_its_share(&self, bucket: BucketId, to_come: usize) -> bool {
        let uploading = self.pipeline.uploading_to(bucket).0;
        self.lanes.has_several_buckets() && uploading + to_come >= self.share_of_bucket()
    }

    fn share_of_bucket(&self) -> usize {
        (self.parts.settings.uploads_max / 2).max(1)
    }

    /// The uploads that others have to wait for: of a bucket no more than its share, whatever goes there because the store has
    /// not taken it.
    fn uploading(&self) -> usize {
        if !self.lanes.has_several_buckets() {
            return self.pipeline.uploading();
        }
        let most = self.share_of_bucket();
        let buckets: BTreeSet<BucketId> = self.lanes.iter().map(|(_, lane)| lane.bucket).collect();
        let uploading = buckets
            .into_iter()
            .map(|bucket| self.pipeline.uploading_to(bucket).0);
        uploading.map(|count| count.min(most)).sum()
    }

    /// The segment that is to be closed now, if one is, and why: those that must close go first, and then who has
    /// the least time left.
    fn due(&self) -> Option<(Lane, CloseReason)> {
        if let Some(lane) = self.express_due() {
            return Some((lane, CloseReason::Express));
        }
        if !self.may_close() {
            return None;
        }
        let now = self.parts.env.clock.now();
        // One batch of a class that waits long keeps all memory of the request that it came with: others must not
        // wait for that.
        let is_scarce = self.parts.memory.free_bytes() < self.parts.settings.memory_bytes / 4;
        let reason = |lane: &OpenLane| {
            let deadline = lane.deadline()?;
            if self.is_busy(lane.bucket) {
                None
            } else if lane.is_full() {
                Some(CloseReason::Full)
            } else if !self.drains.is_empty() {
                Some(CloseReason::Drain)
            } else if is_scarce && !lane.closes_early {
                Some(CloseReason::Memory)
            } else {
                (now >= deadline).then_some(CloseReason::Linger)
            }
        };
        let mut lanes = self.lanes.iter();
        if let Some(due) = lanes.find_map(|(lane, open)| Some((lane, reason(open)?))) {
            return Some(due);
        }
        let waiting = self.early().map(|(lane, deadline)| (deadline, lane));
        let (_, lane) = waiting.min_by_key(|(deadline, _)| *deadline)?;
        self.parts
            .budget
            .try_take()
            .then_some((lane, CloseReason::Idle))
    }

    /// The segments that may close early, since nothing is being uploaded to their bucket, and when their linger is over.
    fn early(&self) -> impl Iterator<Item = (Lane, MonoTime)> {
        let is_idle = |lane: &OpenLane| self.pipeline.uploading_to(lane.bucket).0 == 0;
        let lanes = self.lanes.iter();
        let early = lanes.filter(move |(id, lane)| {
            lane.closes_early && is_idle(lane) && !self.is_express(*id, lane)
        });
        early.filter_map(|(lane, open)| Some((lane, open.deadline()?)))
    }

    fn close_if_due(&mut self) {
        // All that a batch waited for may have failed.
        let mut freed = VecDeque::new();
        for lane in self.lanes.iter_mut() {
            if lane.waiting().is_none() {
                freed.extend(lane.overflow.take());
            }
        }
        self.take_again(freed);
        while let Some((lane, reason)) = self.due() {
            self.close_open(lane, reason);
            let lane = self.lanes.get_mut(lane);
            let waited = lane.map(|lane| lane.overflow.take());
            self.take_again(waited.unwrap_or_default());
        }
    }

    /// Takes batches that have waited for a segment to close. What they came behind has not failed: see
    /// [`Batcher::fail_behind`].
    fn take_again(&mut self, waited: VecDeque<Box<Entry>>) {
        for entry in waited {
            self.take(*entry);
        }
    }

    /// Ends when the open segment may be due. Pending when nothing is open: no timer runs on an idle
    /// broker.
    fn timer(&self) -> impl Future<Output = ()> + Send + use<> {
        let lanes = self.lanes.iter();
        let lanes = lanes.filter(|(_, lane)| !self.is_busy(lane.bucket));
        let lingers = lanes.filter_map(|(_, lane)| lane.deadline());
        // If none may close, a report will come.
        let deadline = lingers.min().filter(|_| self.may_close()).map(|linger| {
            let may_be_early = self.early().next().is_some();
            let idle = may_be_early.then(|| self.parts.budget.next_available());
            idle.map_or(linger, |idle| idle.min(linger))
        });
        let deadline = deadline.into_iter().chain(self.pause_end()).min();
        let sleep = deadline.map(|deadline| self.parts.env.clock.sleep_until(deadline));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        }
    }

    fn answer_drains(&mut self) {
        let idle = self.lanes.is_empty() && self.pipeline.is_empty();
        if idle {
            for done in self.drains.drain(..) {
                // Who does not wait any more does not matter.
                let _ = done.send(());
            }
        }
    }
}
