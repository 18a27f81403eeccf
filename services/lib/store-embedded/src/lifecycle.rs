//! Whether the store still answers, and if not, why.

use tidelog_store::{CloseReason, CommitError, StoreError};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Lifecycle {
    closed: watch::Sender<Option<CloseReason>>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            closed: watch::Sender::new(None),
        }
    }

    /// Ends the store's life; the first reason stays. Says whether this was the first.
    pub(crate) fn close(&self, reason: CloseReason) -> bool {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        })
    }

    /// Fails if the store is closed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.closed.borrow() {
            None => Ok(()),
            Some(CloseReason::Fenced) => Err(StoreError::Fenced),
            Some(_) => Err(StoreError::Closed),
        }
    }

    /// The error of a commit that the closed store did not take.
    pub(crate) fn refusal(&self) -> CommitError {
        match self.check() {
            Err(StoreError::Fenced) => CommitError::Fenced,
            _ => CommitError::Closed,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    /// Waits for the end. Cancel-safe.
    pub(crate) async fn closed(&self) -> CloseReason {
        let mut closed = self.closed.subscribe();
        loop {
            if let Some(reason) = closed.borrow_and_update().clone() {
                return reason;
            }
            if closed.changed().await.is_err() {
                // The sender lives in `self`, so this cannot be reached while we are borrowed.
                std::future::pending::<()>().await;
            }
        }
    }
}
