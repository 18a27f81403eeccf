//! The batches of one partition on their way, and what answers do to them; no I/O.
//!
//! ```text
//!   waiting            queue
//!  [closed ...]  ->  [unsent | sent, sent, sent]   -> outcome
//!                stamp        ^---- oldest first
//! ```
//! Batches get their sequences when they are first sent, and keep them. After a failure that may pass the
//! lane lets all answers come in, waits, and sends what is left again in the same order. After one that
//! will not pass, it fails the batch and all behind it, and goes on with a new producer id, so that no
//! gap in the sequences and no late twin of an old batch can do harm.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_api::ApiError;
use tidelog_env::{Backoff, BackoffPolicy, MonoTime};
use tidelog_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::accumulator::Closed;
use super::batch::{Pending, Progress, Resolution, Writer};
use super::delivery::{BatchProduced, ProduceError};

/// The state of one partition.
pub(super) struct Lane {
    partition: u32,
    idempotent: bool,
    in_flight_max: usize,
    waiting: VecDeque<Closed>,
    queue: VecDeque<Pending>,
    sent: usize,
    writer: Option<Writer>,
    /// Lets answers come in before anything is sent again.
    recovering: bool,
    resume_at: Option<MonoTime>,
    policy: BackoffPolicy,
    backoff: Backoff,
    /// What records fail with that were sent before a failure could be known.
    broken: Option<ProduceError>,
}

impl Lane {
    pub(super) const fn new(
        partition: u32,
        idempotent: bool,
        in_flight_max: usize,
        policy: BackoffPolicy,
    ) -> Self {
        Self {
            partition,
            idempotent,
            in_flight_max,
            waiting: VecDeque::new(),
            queue: VecDeque::new(),
            sent: 0,
            writer: None,
            recovering: false,
            resume_at: None,
            policy,
            backoff: policy.start(),
            broken: None,
        }
    }

    /// Takes a batch that is to be sent after all others.
    pub(super) fn push(&mut self, closed: Closed) {
        self.waiting.push_back(closed);
    }

    /// Whether a producer id is all that keeps the next batch from being sent.
    pub(super) fn needs_writer(&self) -> bool {
        self.idempotent
            && self.writer.is_none()
            && !self.waiting.is_empty()
            && self.queue.is_empty()
    }

    /// Whether there is nothing to send and nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_empty()
    }

    /// Whether a batch more would have to wait.
    pub(super) fn is_busy(&self) -> bool {
        let is_held = self.recovering && !self.queue.is_empty();
        !self.waiting.is_empty() || is_held || self.queue.len() >= self.in_flight_max
    }

    /// Gives the lane a producer id that it has not used before.
    pub(super) const fn set_writer(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.writer = Some(Writer::new(id, epoch));
    }

    /// When the time of the oldest batch is over.
    pub(super) fn expiry(&self, delivery_timeout: Duration) -> Option<MonoTime> {
        let oldest = self
            .queue
            .front()
            .map(|batch| batch.opened)
            .or_else(|| self.waiting.front().map(|closed| closed.batch.opened));
        oldest.map(|opened| opened + delivery_timeout)
    }

    /// When a wait is over and the lane has something to send again, if it waits.
    pub(super) fn resumption(&self) -> Option<MonoTime> {
        self.resume_at.filter(|_| self.recovering && self.sent == 0)
    }

    /// The next batch to send and its id, marked as sent. Failures of batches that cannot be made go to
    /// `out`.
    pub(super) fn next_to_send(
        &mut self,
        now: MonoTime,
        out: &mut Vec<Resolution>,
    ) -> Option<(u64, Bytes)> {
        if self.recovering {
            if self.sent > 0 || self.resume_at.is_some_and(|at| now < at) {
                return None;
            }
            self.recovering = false;
            self.resume_at = None;
        }
        if self.sent >= self.in_flight_max {
            return None;
        }
        // What is sent is always in front of what is not.
        if self.sent == self.queue.len() {
            self.stamp_next(out)?;
        }
        let batch = self.queue.get_mut(self.sent)?;
        batch.progress = Progress::Sent;
        self.sent += 1;
        Some((batch.id, batch.bytes.clone()))
    }

    /// Gives the next waiting batch its sequence and its bytes.
    fn stamp_next(&mut self, out: &mut Vec<Resolution>) -> Option<()> {
        if self.idempotent && self.writer.is_none() {
            return None;
        }
        loop {
            let Closed { batch, .. } = self.waiting.pop_front()?;
            match Pending::build(batch, self.writer.as_mut()) {
                Ok(pending) => {
                    self.queue.push_back(pending);
                    return Some(());
                }
                Err(failed) => out.push(failed),
            }
        }
    }

    /// Takes the answer to a batch. Answers to batches that are resolved already change nothing.
    pub(super) fn answer(
        &mut self,
        id: u64,
        answer: Result<BatchProduced, ApiError>,
        wait: impl FnOnce(&mut Backoff, &ApiError) -> MonoTime,
        out: &mut Vec<Resolution>,
    ) {
        let Some(at) = self.queue.iter().position(|batch| batch.id == id) else {
            return;
        };
        if self.queue[at].progress == Progress::Unsent {
            return;
        }
        match answer {
            Ok(produced) => {
                self.remove(at, Ok(produced), out);
                self.backoff = self.policy.start();
            }
            Err(error) if self.may_pass(at, &error) => {
                let until = wait(&mut self.backoff, &error);
                self.resume_at = Some(self.resume_at.map_or(until, |old| old.max(until)));
                self.recovering = true;
                self.unsend(at, error);
            }
            Err(error) => self.fail_from(at, ProduceError::Refused(Arc::new(error)), out),
        }
    }

    /// Whether sending the batch at `at` again may help.
    fn may_pass(&self, at: usize, error: &ApiError) -> bool {
        // The one in front was not written, so the service misses its sequence.
        let missing = matches!(
            error.code,
            ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer
        );
        let behind_a_failed_one = missing && at > 0 && self.idempotent;
        let safe = self.idempotent || !error.outcome_unknown;
        behind_a_failed_one || (error.is_retriable() && safe)
    }

    /// Puts a batch back to be sent again.
    fn unsend(&mut self, at: usize, error: ApiError) {
        let batch = &mut self.queue[at];
        batch.progress = Progress::Unsent;
        batch.maybe_written |= error.outcome_unknown;
        batch.last = Some(Arc::new(error));
        self.sent -= 1;
    }

    /// Takes note that no more answers will come to what was sent. Without idempotence it fails.
    pub(super) fn connection_lost(&mut self, out: &mut Vec<Resolution>) {
        let mut at = 0;
        while !self.idempotent && at < self.queue.len() {
            if self.queue[at].progress == Progress::Sent {
                self.remove(at, Err(ProduceError::ConnectionLost), out);
            } else {
                at += 1;
            }
        }
        for batch in self
            .queue
            .iter_mut()
            .filter(|batch| batch.progress == Progress::Sent)
        {
            batch.progress = Progress::Unsent;
            batch.maybe_written = true;
        }
        self.sent = 0;
    }

    /// Fails what has been on its way for too long, and what is behind it.
    pub(super) fn expire(
        &mut self,
        now: MonoTime,
        delivery_timeout: Duration,
        out: &mut Vec<Resolution>,
    ) {
        let expired = |opened: MonoTime| opened + delivery_timeout <= now;
        if let Some(front) = self.queue.front() {
            if expired(front.opened) {
                let error = ProduceError::TimedOut {
                    last: front.last.clone(),
                    outcome_unknown: front.maybe_written || front.progress == Progress::Sent,
                };
                self.fail_from(0, error, out);
            }
        } else if self
            .waiting
            .front()
            .is_some_and(|closed| expired(closed.batch.opened))
        {
            let error = ProduceError::TimedOut {
                last: None,
                outcome_unknown: false,
            };
            self.fail_waiting(&error, out);
            self.broken = Some(ProduceError::Behind {
                partition: self.partition,
                cause: Box::new(error),
            });
        }
    }

    /// Fails everything with what the service says about the stream as a whole.
    pub(super) fn refuse(&mut self, error: &ApiError, out: &mut Vec<Resolution>) {
        let refused = |maybe_written: bool| {
            let mut error = error.clone();
            error.outcome_unknown |= maybe_written;
            ProduceError::Refused(Arc::new(error))
        };
        if let Some(front) = self.queue.front() {
            self.fail_from(0, refused(front.maybe_written), out);
        } else if !self.waiting.is_empty() {
            self.fail_waiting(&refused(false), out);
        }
    }

    /// Fails everything: the producer ends.
    pub(super) fn abandon(&mut self, out: &mut Vec<Resolution>) {
        while let Some(batch) = self.queue.front() {
            let outcome_unknown = batch.maybe_written || batch.progress == Progress::Sent;
            self.remove(0, Err(ProduceError::Dropped { outcome_unknown }), out);
        }
        self.fail_waiting(
            &ProduceError::Dropped {
                outcome_unknown: false,
            },
            out,
        );
    }

    /// Fails the batch at `at` with `error` and all behind it for its sake.
    fn fail_from(&mut self, at: usize, error: ProduceError, out: &mut Vec<Resolution>) {
        let behind = ProduceError::Behind {
            partition: self.partition,
            cause: Box::new(error.clone()),
        };
        self.remove(at, Err(error), out);
        while self.queue.len() > at {
            let batch = &self.queue[at];
            // With sequences none behind a missing one is accepted; without them it may have been.
            let unknown = !self.idempotent && batch.progress == Progress::Sent;
            let error = if unknown {
                ProduceError::ConnectionLost
            } else {
                behind.clone()
            };
            self.remove(at, Err(error), out);
        }
        self.fail_waiting(&behind, out);
        self.broken = Some(behind);
        // Sequences go on nowhere; the next batch begins anew.
        self.writer = None;
    }

    /// After a failure: the error for records that were sent before anyone could know of it.
    pub(super) const fn take_broken(&mut self) -> Option<ProduceError> {
        self.broken.take()
    }

    fn fail_waiting(&mut self, error: &ProduceError, out: &mut Vec<Resolution>) {
        out.extend(
            self.waiting
                .drain(..)
                .map(|Closed { batch, .. }| Resolution {
                    id: batch.id,
                    outcome: batch.outcome,
                    result: Err(error.clone()),
                }),
        );
    }

    fn remove(
        &mut self,
        at: usize,
        result: Result<BatchProduced, ProduceError>,
        out: &mut Vec<Resolution>,
    ) {
        if let Some(batch) = self.queue.remove(at) {
            if batch.progress == Progress::Sent {
                self.sent -= 1;
            }
            out.push(batch.resolve(result));
        }
    }
}
