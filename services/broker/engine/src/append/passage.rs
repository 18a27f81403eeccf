//! The way of a closed segment: upload, commit, answers; and what happens when one of them fails.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidelog_env::error_chain;
use tidelog_format::segment::{SealedSegment, SegmentWriter};
use tidelog_metadata_api::{CommitAnswer, CommitError};
use tidelog_types::{BucketId, ErrorCode};

use super::batcher::Batcher;
use super::pipeline::{Pending, Stage, Ticket, Uncommitted};
use super::request::{AppendError, OrderedBy};
use super::segment::StoredSegment;
use super::upload::UploadError;
use crate::classes::Lane;
use crate::crash::CrashPoint;
use crate::metrics::CloseReason;

/// What the metadata service said of each manifest that it was asked about.
type Answers = Vec<(usize, Result<CommitAnswer, CommitError>)>;

/// What the tasks of a segment report.
#[derive(Debug)]
pub(super) enum Event {
    Uploaded(Ticket, Result<StoredSegment, UploadError>),
    Answered(Ticket, Answers),
    Rested(Ticket),
}

/// What the answers leave to be done.
#[derive(Debug)]
struct Rest {
    /// Manifests to be asked about again.
    open: Vec<usize>,
    /// Manifests whose name is dead, definitely.
    below_floor: Vec<usize>,
    /// The store does not take its bytes: it is to be put into the bucket.
    not_inline: bool,
    /// Whose batches are lost.
    lost: HashSet<OrderedBy>,
    /// What becomes of batches that they sent behind those.
    behind: AppendError,
}

impl Batcher {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Uploaded(ticket, Ok(stored)) => self.on_uploaded(ticket, stored),
            Event::Uploaded(ticket, Err(error)) => self.on_upload_failed(ticket, &error),
            Event::Answered(ticket, answers) => self.on_answered(ticket, answers),
            Event::Rested(ticket) => self.pipeline.on_rested(ticket),
        }
        self.commit_ready();
    }

    // ----- upload ---------------------------------------------------------------------------------

    /// Closes an open segment and sends it on its way.
    pub(super) fn close_open(&mut self, lane: Lane, reason: CloseReason) {
        let express = self.express_shards(lane, reason);
        let open = self.lanes.get_mut(lane).and_then(|lane| lane.open.take());
        let Some(open) = open else {
            return;
        };
        self.parts.metrics.close(reason);
        if !express.is_empty() {
            self.send_express(lane, open, &express);
            return;
        }
        let segment = open.close();
        let (bucket, writer) = (segment.bucket, Arc::clone(&segment.writer));
        let backoff = self.parts.settings.commit_retry.start();
        let now = self.parts.env.clock.now();
        let next = self.parts.uploader.next_sequence();
        let ticket = self.pipeline.push(segment, next, now, backoff);
        self.parts.metrics.unanswered.inc();
        self.upload(ticket, bucket, writer);
    }

    fn upload(&self, ticket: Ticket, bucket: BucketId, writer: Arc<SegmentWriter>) {
        let uploader = self.parts.uploader.clone();
        let tail = Arc::clone(&self.parts.tail);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("upload", async move {
            let stored = uploader.store(bucket, &writer).await;
            let stored = stored.map(|sealed| {
                tail.insert(&sealed);
                stored_segment(sealed)
            });
            // The task that receives lives as long as the process.
            let _ = events.send(Event::Uploaded(ticket, stored));
        }));
    }

    fn on_uploaded(&mut self, ticket: Ticket, stored: StoredSegment) {
        self.pipeline.on_stored(ticket, stored);
        // All its batches may have failed meanwhile: then no commit names the object, and it is an orphan.
        if let Some(pending) = self.pipeline.remove(ticket) {
            if pending.segment.is_answered() {
                self.parts.metrics.unanswered.dec();
            } else {
                self.pipeline.put_back(ticket, pending);
            }
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
        if let Some(mut pending) = self.pipeline.remove(ticket) {
            let reason = error_chain(cause);
            let reason = if pending.was_asked {
                // An attempt to commit it with its bytes may still be on its way.
                AppendError::Unknown { reason }
            } else {
                AppendError::NotStored { reason }
            };
            self.parts.metrics.unanswered.dec();
            let senders = pending.segment.fail_all(&reason);
            self.fail_behind(ticket, senders, &reason);
        }
    }

    /// Fails what the same senders have sent after batches that are lost.
    fn fail_behind(
        &mut self,
        ticket: Ticket,
        mut senders: HashSet<OrderedBy>,
        error: &AppendError,
    ) {
        if senders.is_empty() {
            return;
        }
        for _ in 0..self.pipeline.fail_behind(ticket, &mut senders, error) {
            self.parts.metrics.unanswered.dec();
        }
        // A sender's batches of a partition are in one of them.
        for lane in self.lanes.iter_mut() {
            let open = lane.open.take();
            lane.open = open.and_then(|open| open.fail_dependants(&mut senders, error));
            lane.overflow.fail_dependants(&mut senders, error);
        }
        self.broken.on_failed(senders, error);
    }

    /// The segment's name is dead, definitely: what was not answered is stored under another one.
    fn upload_again(&mut self, ticket: Ticket, pending: Pending) {
        let Pending {
            segment,
            closed_at,
            backoff,
            ..
        } = pending;
        let Some(segment) = segment.again(self.parts.env.clock.now()) else {
            self.parts.metrics.unanswered.dec();
            return;
        };
        tracing::info!("segment is below its floor, storing its batches again");
        let (bucket, writer) = (segment.bucket, Arc::clone(&segment.writer));
        let pending = Pending {
            segment,
            stage: Stage::Uploading,
            needs_from: self.parts.uploader.next_sequence(),
            closed_at,
            backoff,
            express: None,
            is_refused: false,
            was_asked: false,
        };
        self.pipeline.put_back(ticket, pending);
        self.upload(ticket, bucket, writer);
    }

    // ----- commit ---------------------------------------------------------------------------------

    /// Hands what is stored and in its turn to the metadata service, oldest first. It is in that one's
    /// queue when this returns.
    pub(super) fn commit_ready(&mut self) {
        for ticket in self.pipeline.ready() {
            let Some((open, commits)) = self.pipeline.commit(ticket) else {
                continue;
            };
            let answers = self.parts.log.commit(commits);
            self.parts.crash.pass(CrashPoint::CommitSent);
            let events = self.events.clone();
            drop(self.parts.env.supervisor.spawn("commit", async move {
                let answers = open.into_iter().zip(answers.await).collect();
                let _ = events.send(Event::Answered(ticket, answers));
            }));
        }
    }

    fn on_answered(&mut self, ticket: Ticket, answers: Answers) {
        let Some(mut pending) = self.pipeline.remove(ticket) else {
            return;
        };
        let stage = std::mem::replace(&mut pending.stage, Stage::Uploading);
        let Stage::Committing(Uncommitted { stored, .. }) = stage else {
            self.pipeline.put_back(ticket, Pending { stage, ..pending });
            return;
        };
        let Rest {
            mut open,
            below_floor,
            not_inline,
            lost,
            behind,
        } = self.take_answers(&mut pending, &stored, answers);
        if pending.segment.is_answered() {
            self.retries.on_answer();
            self.finish(&pending);
        } else if not_inline {
            self.on_not_inline(ticket, pending, Uncommitted { stored, open });
        } else if open.is_empty() {
            self.upload_again(ticket, pending);
        } else {
            // A manifest below the floor stays refused: it is asked about again with the others.
            open.extend(below_floor);
            let wait = self
                .retries
                .next_wait(&mut pending.backoff, &self.parts.env);
            pending.stage = Stage::Resting(Uncommitted { stored, open });
            self.pipeline.put_back(ticket, pending);
            self.rest(ticket, wait);
        }
        self.fail_behind(ticket, lost, &behind);
    }

    /// Hands out what was answered; says what was not.
    fn take_answers(
        &mut self,
        pending: &mut Pending,
        stored: &StoredSegment,
        answers: Answers,
    ) -> Rest {
        let mut rest = Rest {
            open: Vec::new(),
            below_floor: Vec::new(),
            not_inline: false,
            lost: HashSet::new(),
            behind: AppendError::refused(ErrorCode::Unavailable),
        };
        for (manifest, answer) in answers {
            match answer {
                Ok(answer) => self.on_committed(pending, stored, manifest, &answer),
                Err(error) if error.may_ask_again() => {
                    self.parts.metrics.commit_retries.inc();
                    self.retries.on_error(&error);
                    rest.open.push(manifest);
                }
                Err(CommitError::BelowFloor { .. }) => rest.below_floor.push(manifest),
                // It has one manifest.
                Err(CommitError::NotInline) => {
                    rest.not_inline = true;
                    rest.open.push(manifest);
                }
                Err(error @ CommitError::WriterEnded) => {
                    self.on_ended(stored);
                    // It may have been asked about before, and have been committed: nobody knows any more.
                    let reason = error_chain(&error);
                    let error = AppendError::Unknown { reason };
                    let lost = pending.segment.fail_manifest(stored, manifest, &error);
                    rest.lost.extend(lost);
                    rest.behind = error;
                }
                Err(error) => {
                    let reason = error_chain(&error);
                    tracing::error!(segment = %stored.name, reason, "manifest was refused");
                    let error = AppendError::refused(error.code());
                    let lost = pending.segment.fail_manifest(stored, manifest, &error);
                    rest.lost.extend(lost);
                }
            }
        }
        rest
    }

    /// The incarnation of this writer has ended: nothing that it stores is ever committed again.
    fn on_ended(&self, stored: &StoredSegment) {
        if !self.parts.ended.is_cancelled() {
            let incarnation = stored.name.incarnation.get();
            tracing::error!(incarnation, segment = %stored.name, "incarnation of this writer has ended");
            self.parts.ended.cancel();
        }
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
        self.broken.on_refused(refused);
        self.parts.crash.pass(CrashPoint::AckSent);
    }

    /// Asks again after a wait.
    pub(super) fn rest(&self, ticket: Ticket, wait: Duration) {
        let clock = Arc::clone(&self.parts.env.clock);
        let events = self.events.clone();
        drop(self.parts.env.supervisor.spawn("commit again", async move {
            clock.sleep(wait).await;
            let _ = events.send(Event::Rested(ticket));
        }));
    }

    fn finish(&self, pending: &Pending) {
        let metrics = &self.parts.metrics;
        metrics.unanswered.dec();
        let now = self.parts.env.clock.now();
        let took = now.saturating_since(pending.closed_at);
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

pub(super) fn stored_segment(sealed: SealedSegment) -> StoredSegment {
    let places = sealed.places().to_vec();
    StoredSegment {
        name: sealed.name,
        manifests: sealed.manifests,
        places,
        inline: None,
    }
}
