//! What became of a record, shared by all records of its batch.

use std::sync::{Arc, OnceLock};

use thiserror::Error;
use tidelog_api::ApiError;
use tidelog_types::ErrorCode;
use tokio::sync::Notify;

/// A record that is durable and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

/// Why a record was not acknowledged. Shared by its batch, so cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The service refused the batch of the record.
    #[error(transparent)]
    Refused(Arc<ApiError>),
    /// A record sent earlier to the same partition failed, so this one was not written: sending all of
    /// them again, in order, keeps the order.
    #[error("an earlier record of partition `{partition}` failed: {cause}")]
    Behind {
        /// The partition.
        partition: u32,
        /// Why the earlier one failed.
        cause: Box<Self>,
    },
    /// Time was up.
    #[error("not acknowledged in time{}", last.as_ref().map(|e| format!(", last error: {e}")).unwrap_or_default())]
    TimedOut {
        /// What the last attempt said, if it said anything.
        last: Option<Arc<ApiError>>,
        /// Whether the record may be in the log.
        outcome_unknown: bool,
    },
    /// The connection broke, and the producer is not idempotent.
    #[error("the connection broke before the acknowledgement")]
    ConnectionLost,
    /// The producer was dropped.
    #[error("the producer was dropped before the acknowledgement")]
    Dropped {
        /// Whether the record may be in the log.
        outcome_unknown: bool,
    },
}

impl ProduceError {
    /// Whether sending the record again may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_retriable(),
            Self::Behind { .. } | Self::TimedOut { .. } | Self::ConnectionLost => true,
            Self::Dropped { .. } => false,
        }
    }

    /// Whether the record may be in the log in spite of the error.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Refused(error) => error.outcome_unknown,
            Self::Behind { .. } => false,
            Self::TimedOut {
                outcome_unknown, ..
            }
            | Self::Dropped { outcome_unknown } => *outcome_unknown,
            Self::ConnectionLost => true,
        }
    }

    /// The code of the service, if the service is what failed.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error.code),
            Self::Behind { cause, .. } => cause.code(),
            Self::TimedOut { .. } | Self::ConnectionLost | Self::Dropped { .. } => None,
        }
    }
}

/// Where the first record of a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchProduced {
    pub(super) partition: u32,
    pub(super) base_offset: u64,
}

/// The outcome of a batch: written once, read by each delivery.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    result: OnceLock<Result<BatchProduced, ProduceError>>,
    known: Notify,
}

impl Outcome {
    /// Writes the outcome. The first one stands.
    pub(super) fn resolve(&self, result: Result<BatchProduced, ProduceError>) {
        if self.result.set(result).is_ok() {
            self.known.notify_waiters();
        }
    }

    async fn wait(&self) -> Result<BatchProduced, ProduceError> {
        loop {
            // Registered before the look, so that an outcome in between is not missed.
            let known = self.known.notified();
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            known.await;
        }
    }
}

/// Tells what becomes of one record. Costs a counter: records of one batch share its outcome.
///
/// Dropping it changes nothing; [`Producer::flush`](crate::Producer::flush) tells of failures as well.
#[derive(Clone, Debug)]
pub struct Delivery {
    outcome: Arc<Outcome>,
    index: u32,
}

impl Delivery {
    pub(super) const fn new(outcome: Arc<Outcome>, index: u32) -> Self {
        Self { outcome, index }
    }

    /// Ends when the record is durable or has failed. Cancel-safe.
    pub async fn wait(&self) -> Result<Produced, ProduceError> {
        self.outcome.wait().await.map(|batch| self.place(batch))
    }

    /// What is known now; `None` while the record is on its way.
    pub fn peek(&self) -> Option<Result<Produced, ProduceError>> {
        self.outcome
            .result
            .get()
            .map(|result| result.clone().map(|batch| self.place(batch)))
    }

    fn place(&self, batch: BatchProduced) -> Produced {
        Produced {
            partition: batch.partition,
            offset: batch.base_offset.saturating_add(u64::from(self.index)),
        }
    }
}
