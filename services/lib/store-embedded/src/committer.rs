//! The task that empties the commit queue: the one writer of the store.
//!
//! The task takes what waits, checks each transaction for conflicts in the order of arrival, lays the
//! writes of those that pass over each other, and flushes the one batch. Only then it answers, and only
//! then the next group begins. After the first error whose outcome is not certain it stops for good.

use std::sync::Arc;

use slatedb::config::{CloseOptions, FlushOptions, FlushType, WriteOptions};
use slatedb::{DbStatus, WriteBatch};
use tidelog_store::occ::{ConflictWindow, Refusal};
use tidelog_store::{Cause, CloseReason, CommitError, Version};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::batch::BatchBuilder;
use crate::engine::{Engine, close_reason, is_fenced, version_of};
use crate::guard::LogPut;
use crate::maintenance::MaintenanceHandle;
use crate::queue::{CloseAnswer, CommitQueue, Message, Request};

pub(crate) struct Committer {
    engine: Arc<Engine>,
    messages: mpsc::Receiver<Message>,
    window: ConflictWindow,
    last: Version,
    maintenance: MaintenanceHandle,
}

/// A group that was answered, or the end.
enum Step {
    Go,
    Stop,
}

/// Where a flush failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Write,
    Flush,
}

impl Committer {
    pub(crate) fn new(engine: Arc<Engine>, maintenance: MaintenanceHandle) -> (Self, CommitQueue) {
        let (queue, messages) = CommitQueue::new(engine.options.queue_bytes_max());
        let last = version_of(&engine.snapshot());
        let window = ConflictWindow::new(last, engine.options.window_entries_max());
        (
            Self {
                engine,
                messages,
                window,
                last,
                maintenance,
            },
            queue,
        )
    }

    /// Runs until the store is closed, is dropped by all, or fails.
    pub(crate) async fn run(mut self) {
        let mut status = self.engine.db.subscribe();
        loop {
            let message = tokio::select! {
                biased;
                message = self.messages.recv() => message,
                fenced = ended_by_itself(&mut status) => {
                    let cause: Cause = Arc::new(BackgroundFailure);
                    return self.fail(&close_reason(&cause, fenced)).await;
                }
            };
            let step = match message {
                Some(Message::Commit(first)) => self.handle_group(first).await,
                Some(Message::Close(answer)) => return self.handle_close(Some(answer)).await,
                None => return self.handle_close(None).await,
            };
            if matches!(step, Step::Stop) {
                return;
            }
        }
    }

    async fn handle_group(&mut self, first: Request) -> Step {
        // Those who were answered together come back together: let them reach the queue.
        tokio::task::yield_now().await;
        let (requests, close) = self.gather(first);
        if matches!(self.commit_group(requests).await, Step::Stop) {
            if let Some(answer) = close {
                let _ = answer.send(Ok(()));
            }
            return Step::Stop;
        }
        if close.is_some() {
            self.handle_close(close).await;
            return Step::Stop;
        }
        Step::Go
    }

    /// Takes what waits, up to the size of a group. A transaction that clears ranges is the last of its
    /// group, so that a group deletes no more rows than one transaction may.
    fn gather(&mut self, first: Request) -> (Vec<Request>, Option<CloseAnswer>) {
        let mut bytes = first.bytes;
        let mut full = first.writes.cleared().next().is_some();
        let mut requests = vec![first];
        while !full && bytes < self.engine.options.group_bytes_target() {
            match self.messages.try_recv() {
                Ok(Message::Commit(request)) => {
                    bytes += request.bytes;
                    full = request.writes.cleared().next().is_some();
                    requests.push(request);
                }
                Ok(Message::Close(answer)) => return (requests, Some(answer)),
                Err(_) => break,
            }
        }
        (requests, None)
    }

    async fn commit_group(&mut self, requests: Vec<Request>) -> Step {
        let version = Version::new(self.last.get() + 1);
        let mut builder = BatchBuilder::new(self.engine.snapshot());
        let mut accepted = Vec::with_capacity(requests.len());
        for request in requests {
            if let Some(answer) = self.admit(request, version, &mut builder).await {
                accepted.push(answer);
            }
        }
        if accepted.is_empty() {
            return Step::Go;
        }
        let batch = match builder.build().await {
            Ok(batch) => batch,
            Err(error) => {
                answer_all(accepted, &Err(error.into()));
                return Step::Go;
            }
        };
        let started = self.engine.env.clock.now();
        self.engine.guard.arm();
        if let Err((phase, error)) = self.flush(batch, version).await {
            return self.handle_failure(accepted, phase, error).await;
        }
        self.last = version;
        let took = self.engine.env.clock.now().saturating_since(started);
        self.engine.metrics.on_flush(accepted.len(), took);
        let published = self.engine.publish();
        answer_all(accepted, &Ok(version));
        if let Err(error) = published {
            let fenced = is_fenced(&error);
            let cause: Cause = Arc::new(error);
            self.fail(&close_reason(&cause, fenced)).await;
            return Step::Stop;
        }
        self.maintenance.on_flush();
        Step::Go
    }

    /// Checks one transaction and adds its writes to the group; answers it if it may not commit.
    async fn admit(
        &mut self,
        request: Request,
        version: Version,
        builder: &mut BatchBuilder,
    ) -> Option<Answer> {
        let Request {
            version: read_version,
            reads,
            writes,
            answer,
            memory,
            ..
        } = request;
        if let Err(refusal) = self.window.check(read_version, &reads) {
            match refusal {
                Refusal::Conflict => self.engine.metrics.on_conflict(),
                Refusal::TooOld => self.engine.metrics.on_too_old(),
            }
            // Who went away needs no answer; so below.
            let _ = answer.send(Err(refusal.into()));
            return None;
        }
        let keys_max = self.engine.options.range_delete_keys_max;
        match builder.find_cleared(&writes, keys_max).await {
            Ok(cleared) => {
                self.window.record(version, writes.write_set());
                builder.append(writes, cleared);
                Some(Answer {
                    answer,
                    _memory: memory,
                })
            }
            Err(error) => {
                let _ = answer.send(Err(error.into()));
                None
            }
        }
    }

    async fn flush(
        &self,
        batch: WriteBatch,
        version: Version,
    ) -> Result<(), (Phase, slatedb::Error)> {
        let db = &self.engine.db;
        let options = WriteOptions {
            seqnum: version.get(),
        };
        let written = db.write_with_options(batch, &options).await;
        let written = written.map_err(|error| (Phase::Write, error))?;
        let flush = FlushOptions {
            flush_type: FlushType::Wal,
        };
        let flushed = db.flush_with_options(flush).await;
        flushed.map_err(|error| (Phase::Flush, error))?;
        written
            .await_durable()
            .await
            .map_err(|error| (Phase::Flush, error))
    }

    async fn handle_failure(
        &mut self,
        accepted: Vec<Answer>,
        phase: Phase,
        error: slatedb::Error,
    ) -> Step {
        let fenced = is_fenced(&error);
        let cause: Cause = Arc::new(error);
        let certain = match self.engine.guard.last_log_put() {
            LogPut::Refused => true,
            LogPut::None => phase == Phase::Write,
            LogPut::Unknown | LogPut::Stored => false,
        };
        let outcome = if fenced && certain {
            CommitError::Fenced
        } else {
            CommitError::Unknown(Arc::clone(&cause))
        };
        let reason = close_reason(&cause, fenced);
        self.end(&reason);
        answer_all(accepted, &Err(outcome));
        self.fail(&reason).await;
        Step::Stop
    }

    fn end(&self, reason: &CloseReason) {
        if self.engine.lifecycle.close(reason.clone()) {
            tracing::error!(%reason, "store has ended");
        }
    }

    /// Ends after a failure: who waits is refused, nothing is flushed.
    async fn fail(&mut self, reason: &CloseReason) {
        self.end(reason);
        self.refuse_waiting();
        self.maintenance.stop().await;
        let options = CloseOptions { flush_type: None };
        if let Err(error) = self.engine.db.close_with_options(options).await {
            tracing::debug!(%error, "store ended after a failure");
        }
    }

    /// Ends as asked: what is in memory goes to a table, so that the next start replays little.
    async fn handle_close(&mut self, answer: Option<CloseAnswer>) {
        self.engine.lifecycle.close(CloseReason::Stopped);
        self.refuse_waiting();
        self.maintenance.stop().await;
        let closed = self
            .engine
            .db
            .close()
            .await
            .map_err(crate::engine::read_error);
        if let Some(answer) = answer {
            let _ = answer.send(closed);
        }
    }

    fn refuse_waiting(&mut self) {
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Commit(request) => {
                    let _ = request.answer.send(Err(self.engine.lifecycle.refusal()));
                }
                Message::Close(answer) => {
                    let _ = answer.send(Ok(()));
                }
            }
        }
    }
}

/// Whatever ends the task ends the store: nobody shall wait for a committer that is gone.
impl Drop for Committer {
    fn drop(&mut self) {
        let cause: Cause = Arc::new(BackgroundFailure);
        self.engine.lifecycle.close(CloseReason::Failed(cause));
    }
}

/// A transaction of a group, and its share of the queue's memory until it is answered.
struct Answer {
    answer: oneshot::Sender<Result<Version, CommitError>>,
    _memory: OwnedSemaphorePermit,
}

fn answer_all(accepted: Vec<Answer>, outcome: &Result<Version, CommitError>) {
    for Answer { answer, .. } in accepted {
        let _ = answer.send(outcome.clone());
    }
}

/// Waits until `SlateDB` has closed itself; says whether it was fenced. Cancel-safe.
async fn ended_by_itself(status: &mut watch::Receiver<DbStatus>) -> bool {
    let closed = status
        .wait_for(|status| status.close_reason.is_some())
        .await;
    closed.is_ok_and(|status| status.close_reason == Some(slatedb::CloseReason::Fenced))
}

/// `SlateDB` closed itself between commits; it has logged why.
#[derive(Debug, thiserror::Error)]
#[error("background work of the store failed")]
struct BackgroundFailure;
