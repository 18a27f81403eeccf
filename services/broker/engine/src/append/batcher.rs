//! The task that gathers batches into segments and closes them in time. What becomes of a closed segment
//! is told in [`super::passage`].

use std::sync::Arc;

use tidelog_blob::RequestBudget;
use tidelog_env::{CancellationToken, Env};
use tidelog_metadata_api::Log;
use tokio::sync::{mpsc, oneshot};

use super::TailCache;
use super::passage::Event;
use super::pipeline::Pipeline;
use super::request::{AppendError, Entry};
use super::retries::CommitRetries;
use super::segment::OpenSegment;
use super::senders::BrokenSenders;
use super::upload::Uploader;
use crate::crash::CrashPlan;
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
    pub(super) log: Arc<dyn Log>,
    pub(super) settings: AppendSettings,
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
    pub(super) open: Option<OpenSegment>,
    /// A batch that did not fit into the open segment; it begins the next one.
    overflow: Option<Box<Entry>>,
    pub(super) pipeline: Pipeline,
    pub(super) broken: BrokenSenders,
    pub(super) retries: CommitRetries,
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
            parts,
            open: None,
            overflow: None,
            pipeline: Pipeline::default(),
            broken: BrokenSenders::default(),
            retries,
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
    /// waits in the mailbox, whose bytes they hold.
    fn takes_more(&self) -> bool {
        self.overflow.is_none() && (self.may_close() || !self.is_full())
    }

    /// Takes what has come, until the segment is full.
    fn on_messages(&mut self, first: Message, messages: &mut mpsc::UnboundedReceiver<Message>) {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Append(entry) => self.on_append(*entry),
                Message::Drain(done) => self.drains.push(done),
            }
            if self.overflow.is_some() || self.is_full() {
                self.close_if_due();
            }
            if self.takes_more() {
                next = messages.try_recv().ok();
            }
        }
    }

    fn on_append(&mut self, mut entry: Entry) {
        if self.parts.ended.is_cancelled() {
            entry.answer(Err(AppendError::ShuttingDown));
            return;
        }
        if let Some(error) = self.broken.refusal(&entry) {
            entry.answer(Err(error));
            return;
        }
        let now = self.parts.env.clock.now();
        let open = self.open.get_or_insert_with(|| OpenSegment::new(now));
        // A segment that is a little larger than its target would take one more page to read.
        let bytes = open.writer.bytes() + u64::from(entry.append.batch.size());
        let is_larger = bytes > u64::from(self.parts.settings.segment_bytes);
        if is_larger && !open.entries.is_empty() {
            self.overflow = Some(Box::new(entry));
        } else if let Err((entry, _)) = open.push(entry) {
            self.overflow = Some(entry);
        }
    }

    // ----- closing --------------------------------------------------------------------------------

    fn is_full(&self) -> bool {
        let settings = &self.parts.settings;
        self.overflow.is_some()
            || self.open.as_ref().is_some_and(|open| {
                open.writer.bytes() >= u64::from(settings.segment_bytes)
                    || open.writer.slice_count() >= to_usize(settings.segment_slices)
                    || open.writer.manifest_bytes_max() >= to_usize(settings.manifest_bytes)
            })
    }

    /// Whether one more segment may be under way.
    fn may_close(&self) -> bool {
        self.pipeline.uploading() < self.parts.settings.uploads_max
            && self.pipeline.len() < self.parts.settings.unanswered_max
    }

    /// Why the open segment is to be closed now, if it is.
    fn reason_to_close(&self) -> Option<CloseReason> {
        let open = self.open.as_ref().filter(|open| !open.entries.is_empty())?;
        if !self.may_close() {
            return None;
        }
        if self.is_full() {
            return Some(CloseReason::Full);
        }
        if !self.drains.is_empty() {
            return Some(CloseReason::Drain);
        }
        if self.parts.env.clock.now() >= open.opened_at + self.parts.settings.linger {
            return Some(CloseReason::Linger);
        }
        (self.pipeline.uploading() == 0 && self.parts.budget.try_take())
            .then_some(CloseReason::Idle)
    }

    fn close_if_due(&mut self) {
        // All that it waited for may have failed.
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.entries.is_empty())
            && let Some(entry) = self.overflow.take()
        {
            self.on_append(*entry);
        }
        while let Some(reason) = self.reason_to_close() {
            self.close_open(reason);
            if let Some(entry) = self.overflow.take() {
                self.on_append(*entry);
            }
        }
    }

    /// Ends when the open segment may be due. Pending when nothing is open: no timer runs on an idle
    /// broker.
    fn timer(&self) -> impl Future<Output = ()> + Send + use<> {
        let deadline = self
            .open
            .as_ref()
            .filter(|open| !open.entries.is_empty())
            .and_then(|open| {
                if !self.may_close() {
                    // A report will come.
                    return None;
                }
                let linger = open.opened_at + self.parts.settings.linger;
                let idle =
                    (self.pipeline.uploading() == 0).then(|| self.parts.budget.next_available());
                Some(idle.map_or(linger, |idle| idle.min(linger)))
            });
        let sleep = deadline.map(|deadline| self.parts.env.clock.sleep_until(deadline));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        }
    }

    fn answer_drains(&mut self) {
        let idle = self
            .open
            .as_ref()
            .is_none_or(|open| open.entries.is_empty())
            && self.pipeline.is_empty();
        if idle {
            for done in self.drains.drain(..) {
                // Who does not wait any more does not matter.
                let _ = done.send(());
            }
        }
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
