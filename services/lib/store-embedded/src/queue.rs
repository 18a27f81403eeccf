//! The commit queue: what waits for the committer, bounded in number and in bytes.

use std::sync::Arc;

use tidelog_store::buffer::WriteBuffer;
use tidelog_store::occ::ReadSet;
use tidelog_store::{CommitError, StoreError, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::engine::Engine;

/// Who asked for the end.
pub(crate) type CloseAnswer = oneshot::Sender<Result<(), StoreError>>;

/// Commits that may wait; more wait for a place. Their bytes are bounded apart.
const QUEUE_LEN_MAX: usize = 4096;

/// What a transaction takes from the queue's memory besides its writes.
const REQUEST_OVERHEAD_BYTES: usize = 1024;

pub(crate) enum Message {
    Commit(Request),
    Close(CloseAnswer),
}

pub(crate) struct Request {
    pub(crate) version: Version,
    pub(crate) reads: ReadSet,
    pub(crate) writes: WriteBuffer,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Version, CommitError>>,
    pub(crate) memory: OwnedSemaphorePermit,
}

/// The way into the queue. Clones share it; when the last one is dropped the store closes.
#[derive(Clone)]
pub(crate) struct CommitQueue {
    messages: mpsc::Sender<Message>,
    memory: Arc<Semaphore>,
    memory_max: u32,
}

impl CommitQueue {
    /// A queue in which `memory_max` bytes may wait, and its other end.
    pub(crate) fn new(memory_max: usize) -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let memory_max = u32::try_from(memory_max).unwrap_or(u32::MAX / 2);
        let memory = Arc::new(Semaphore::new(memory_max as usize));
        let queue = Self {
            messages,
            memory,
            memory_max,
        };
        (queue, receiver)
    }

    /// Queues the transaction and waits for its end.
    pub(crate) async fn commit(
        &self,
        engine: &Engine,
        version: Version,
        reads: ReadSet,
        writes: WriteBuffer,
    ) -> Result<Version, CommitError> {
        let bytes = writes.size_bytes() + REQUEST_OVERHEAD_BYTES;
        let wanted = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.memory_max);
        let memory = Arc::clone(&self.memory).acquire_many_owned(wanted).await;
        let Ok(memory) = memory else {
            return Err(engine.lifecycle.refusal());
        };
        let (answer, outcome) = oneshot::channel();
        let request = Request {
            version,
            reads,
            writes,
            bytes,
            answer,
            memory,
        };
        if self.messages.send(Message::Commit(request)).await.is_err() {
            return Err(engine.lifecycle.refusal());
        }
        // The committer answers every request unless it dies in the middle of one.
        outcome
            .await
            .unwrap_or_else(|gone| Err(CommitError::Unknown(Arc::new(gone))))
    }

    /// Asks the committer to finish what was queued before and to close the store.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        if self.messages.send(Message::Close(answer)).await.is_err() {
            return Ok(());
        }
        outcome.await.unwrap_or(Ok(()))
    }
}
