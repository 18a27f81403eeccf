//! The task that gathers batches into segments and leads each segment to its answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidelog_blob::RequestBudget;
use tidelog_env::{Env, MonoTime};
use tidelog_format::manifest::RefusalDetail;
use tidelog_format::segment::SealedSegment;
use tidelog_metadata_api::{BrokenOrders, CommitAnswer, CommitError, Log};
use tidelog_types::ErrorCode;
use tokio::sync::{mpsc, oneshot};

use super::TailCache;
use super::pipeline::{Pending, Pipeline, Stage, Ticket};
use super::request::{AppendError, Entry, OrderedBy, Sender};
use super::segment::{OpenSegment, StoredSegment, fail_dependants};
use super::upload::{UploadError, Uploader};
use crate::crash::{CrashPlan, CrashPoint};
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

/// What the tasks of a segment report.
#[derive(Debug)]
enum Event {
    Uploaded(Ticket, Result<StoredSegment, UploadError>),
    Answered(Ticket, Vec<(usize, Result<CommitAnswer, CommitError>)>),
    CommitAgain(Ticket),
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
}

/// The task's state.
#[derive(Debug)]
pub(super) struct Batcher {
    parts: BatcherParts,
    open: Option<OpenSegment>,
    /// A batch that did not fit into the open segment; it begins the next one.
    overflow: Option<Box<Entry>>,
    pipeline: Pipeline,
    broken: BrokenOrders,
    drains: Vec<oneshot::Sender<()>>,
    events: mpsc::UnboundedSender<Event>,
    commit_retries: u32,
}

impl Batcher {
    /// Runs until every handle is gone and everything is answered.
    pub(super) async fn run(parts: BatcherParts, mut messages: mpsc::UnboundedReceiver<Message>) {
        // Each segment under way has at most one report, and their number is bounded.
        let (events, mut reports) = mpsc::unbounded_channel();
        let mut batcher = Self {
            parts,
            open: None,
            overflow: None,
            pipeline: Pipeline::default(),
            broken: BrokenOrders::default(),
            drains: Vec::new(),
            events,
            commit_retries: 0,
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
        if let Some((code, detail)) = self.broken_order(&entry) {
            entry.answer(Err(AppendError::Refused { code, detail }));
            return;
        }
        let now = self.parts.env.clock.now();
        let open = self.open.get_or_insert_with(|| OpenSegment::new(now));
        if let Err((entry, _)) = open.push(entry) {
            self.overflow = Some(entry);
        }
    }

    fn broken_order(&self, entry: &Entry) -> Option<(ErrorCode, RefusalDetail)> {
        let order = entry.append.order?;
        self.broken.get((order, entry.partition)).cloned()
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
        while let Some(reason) = self.reason_to_close() {
            let Some(open) = self.open.take() else {
                return;
            };
            self.parts.metrics.close(reason);
            let segment = open.close();
            let writer = Arc::clone(&segment.writer);
            let ticket = self.pipeline.push(segment, self.parts.env.clock.now());
            self.parts.metrics.unanswered.inc();
            self.upload(ticket, writer);
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

    // ----- the way of a segment -------------------------------------------------------------------

    fn upload(&self, ticket: Ticket, writer: Arc<tidelog_format::segment::SegmentWriter>) {
        let uploader = self.parts.uploader.clone();
        let tail = Arc::clone(&self.parts.tail);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("upload", async move {
            let stored = uploader.store(&writer).await;
            let stored = stored.map(|sealed| {
                tail.insert(&sealed);
                stored_segment(sealed)
            });
            // The task that receives lives as long as the process.
            let _ = events.send(Event::Uploaded(ticket, stored));
        }));
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Uploaded(ticket, Ok(stored)) => {
                if let Some(pending) = self.pipeline.get_mut(ticket) {
                    pending.stage = Stage::Stored(stored);
                }
                self.commit_ready();
            }
            Event::Uploaded(ticket, Err(error)) => self.on_upload_failed(ticket, &error),
            Event::Answered(ticket, answers) => self.on_answered(ticket, answers),
            Event::CommitAgain(ticket) => self.commit_open(ticket),
        }
    }

    fn on_upload_failed(&mut self, ticket: Ticket, error: &UploadError) {
        self.parts.metrics.uploads_failed.inc();
        let cause = error as &dyn std::error::Error;
        tracing::warn!(error = cause, "segment was not stored");
        tidelog_env::invariant!(
            I3,
            !matches!(error, UploadError::Foreign(_)),
            "another process writes under the incarnation of this one: {error}"
        );
        let reason = AppendError::NotStored {
            reason: chain(cause),
        };
        let Some(mut pending) = self.pipeline.remove(ticket) else {
            return;
        };
        self.parts.metrics.unanswered.dec();
        pending.segment.fail_all(&reason);
        let senders = std::mem::take(&mut pending.segment.senders);
        self.fail_behind(ticket, senders, &reason);
        self.commit_ready();
    }

    /// Fails what the same senders have sent after a segment that is lost.
    fn fail_behind(&mut self, ticket: Ticket, senders: HashSet<OrderedBy>, error: &AppendError) {
        let mut senders = self.pipeline.fail_behind(ticket, senders, error);
        if let Some(open) = &mut self.open {
            senders.extend(fail_dependants(&mut open.entries, &senders, error));
        }
        for (sender, partition) in senders {
            if let Sender::Order(order) = sender {
                let reason = (error.code(), RefusalDetail::None);
                self.broken.insert((order, partition), reason);
            }
        }
    }

    fn commit_ready(&mut self) {
        for ticket in self.pipeline.ready() {
            let Some(pending) = self.pipeline.get_mut(ticket) else {
                continue;
            };
            if let Stage::Stored(stored) = std::mem::replace(&mut pending.stage, Stage::Uploading) {
                let open = (0..stored.manifests.len()).collect();
                pending.stage = Stage::Committing { stored, open };
            }
            self.commit_open(ticket);
        }
    }

    /// Hands the unanswered manifests of a segment to the metadata service. They are in its queue when
    /// this returns.
    fn commit_open(&mut self, ticket: Ticket) {
        let Some(pending) = self.pipeline.get_mut(ticket) else {
            return;
        };
        let Stage::Committing { stored, open } = &pending.stage else {
            return;
        };
        let commits = pending.segment.commits(stored, open);
        let open = open.clone();
        let answers = self.parts.log.commit(commits);
        self.parts.crash.pass(CrashPoint::CommitSent);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("commit", async move {
            let answers = open.into_iter().zip(answers.await).collect();
            let _ = events.send(Event::Answered(ticket, answers));
        }));
    }

    fn on_answered(
        &mut self,
        ticket: Ticket,
        answers: Vec<(usize, Result<CommitAnswer, CommitError>)>,
    ) {
        let Some(mut pending) = self.pipeline.remove(ticket) else {
            return;
        };
        let Stage::Committing { stored, .. } =
            std::mem::replace(&mut pending.stage, Stage::Uploading)
        else {
            return;
        };
        let mut open = Vec::new();
        let mut upload_again = false;
        for (manifest, answer) in answers {
            match answer {
                Ok(answer) => self.on_committed(&mut pending, &stored, manifest, &answer),
                Err(error) if error.may_ask_again() => {
                    self.note_retry(&error);
                    open.push(manifest);
                }
                Err(CommitError::BelowFloor { .. }) => upload_again = true,
                Err(error) => {
                    let reason = chain(&error);
                    tracing::error!(segment = %stored.name, reason, "manifest was refused");
                    let error = AppendError::Refused {
                        code: error.code(),
                        detail: RefusalDetail::None,
                    };
                    pending.segment.fail_manifest(&stored, manifest, &error);
                }
            }
        }
        if !open.is_empty() {
            // A manifest below the floor stays refused: it is asked about again with the others.
            if upload_again {
                open = (0..stored.manifests.len()).collect();
            }
            pending.stage = Stage::Committing { stored, open };
            self.pipeline.put_back(ticket, pending);
            self.commit_later(ticket);
        } else if upload_again {
            self.upload_again(ticket, pending);
        } else {
            self.commit_retries = 0;
            self.finish(&pending);
        }
        self.commit_ready();
    }

    fn on_committed(
        &mut self,
        pending: &mut Pending,
        stored: &StoredSegment,
        manifest: usize,
        answer: &CommitAnswer,
    ) {
        self.parts.crash.pass(CrashPoint::CommitApplied);
        let refused = pending.segment.answer_manifest(stored, manifest, answer);
        for (key, reason) in refused {
            self.broken.insert(key, reason);
        }
        self.parts.crash.pass(CrashPoint::AckSent);
    }

    fn note_retry(&mut self, error: &CommitError) {
        self.parts.metrics.commit_retries.inc();
        if self.commit_retries == 0 {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "commit is not answered yet, asking again");
        }
    }

    /// Asks again after a wait; every round waits longer, up to the policy's maximum.
    fn commit_later(&mut self, ticket: Ticket) {
        let mut backoff = self.parts.settings.commit_retry.start();
        let mut wait = Duration::ZERO;
        self.commit_retries = self.commit_retries.saturating_add(1);
        for _ in 0..self.commit_retries.min(16) {
            wait = backoff
                .next_wait(self.parts.env.rng.as_ref())
                .unwrap_or(wait);
        }
        let clock = Arc::clone(&self.parts.env.clock);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("commit again", async move {
            clock.sleep(wait).await;
            let _ = events.send(Event::CommitAgain(ticket));
        }));
    }

    /// The segment's name is dead, definitely: what was not answered is stored under another one.
    fn upload_again(&mut self, ticket: Ticket, pending: Pending) {
        let closed_at = pending.closed_at;
        let Some(segment) = pending.segment.again(self.parts.env.clock.now()) else {
            self.parts.metrics.unanswered.dec();
            return;
        };
        tracing::info!("segment is below its floor, storing its batches again");
        let writer = Arc::clone(&segment.writer);
        let stage = Stage::Uploading;
        self.pipeline.put_back(
            ticket,
            Pending {
                segment,
                stage,
                closed_at,
            },
        );
        self.upload(ticket, writer);
    }

    fn finish(&self, pending: &Pending) {
        let metrics = &self.parts.metrics;
        metrics.unanswered.dec();
        let took: Duration = elapsed(self.parts.env.clock.now(), pending.closed_at);
        metrics.answer_seconds.observe(took.as_secs_f64());
        metrics.bytes.inc_by(pending.segment.writer.batch_bytes());
        for entry in &pending.segment.entries {
            metrics.batches.inc();
            metrics
                .records
                .inc_by(u64::from(entry.append.batch.record_count()));
        }
    }
}

fn elapsed(now: MonoTime, since: MonoTime) -> Duration {
    now.saturating_since(since)
}

fn stored_segment(sealed: SealedSegment) -> StoredSegment {
    let places = sealed.places().to_vec();
    StoredSegment {
        name: sealed.name,
        manifests: sealed.manifests,
        places,
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// An error with its causes, for a reason that is only text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::segment::ClosedSegment;

    #[test]
    fn a_chain_names_every_cause() {
        let error = UploadError::Foreign(tidelog_types::SegmentName::default());
        assert_eq!(
            chain(&error),
            "an object named `0-0` exists that is not ours"
        );
    }

    #[test]
    fn a_closed_segment_is_sent_once() {
        let mut pipeline = Pipeline::default();
        let segment: ClosedSegment = OpenSegment::new(MonoTime::START).close();
        let ticket = pipeline.push(segment, MonoTime::START);
        assert!(pipeline.ready().is_empty(), "it is not stored yet");
        assert!(pipeline.remove(ticket).is_some());
        assert!(pipeline.is_empty());
    }
}
