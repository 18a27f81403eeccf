//! Why a request to the coordinator of a transactional id was not done.

use thiserror::Error;

/// Why a request of a producer is not done. Kafka has an error code for each, which the front end names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The end of a transaction is on its way to its partitions. Kafka: `CONCURRENT_TRANSACTIONS`.
    #[error("the last transaction is being ended: try again in a moment")]
    Concurrent,
    /// A newer producer has the id, or the transaction was aborted for its age. Kafka: `PRODUCER_FENCED`, and
    /// `INVALID_PRODUCER_EPOCH` in versions that do not know it.
    #[error("a newer producer has this transactional id")]
    Fenced,
    /// The transactional id is not known, or is with another producer id. Kafka: `INVALID_PRODUCER_ID_MAPPING`.
    #[error("the transactional id does not belong to this producer id")]
    UnknownProducer,
    /// There is nothing to end, or it has ended the other way. Kafka: `INVALID_TXN_STATE`.
    #[error("the transaction is not in a state in which this can be done")]
    InvalidState,
    /// The timeout is zero or longer than allowed. Kafka: `INVALID_TRANSACTION_TIMEOUT`.
    #[error("the timeout of the transaction is outside of what is allowed")]
    InvalidTimeout,
    /// The transaction would have more partitions or groups than one may have. Nothing was added: the producer can
    /// abort, or commit what is in it. Kafka: `TRANSACTION_ABORTABLE`, `INVALID_REQUEST` where it is not known.
    #[error("the transaction has as many partitions or groups as it may have")]
    TooLarge,
    /// Never told to anybody: ask again with a new producer id to spare.
    #[error("a new producer id is needed")]
    ProducerIdNeeded,
}

/// Why a request to the coordinator of a transactional id was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransactionsError {
    /// The coordinator has looked at it, and does not do it.
    #[error(transparent)]
    Refused(#[from] TransactionError),
    /// The coordinator is being taken over, or reads the id: ask again in a moment. Nothing happened.
    #[error("the coordinator of the transactional id is loading: try again")]
    Loading,
    /// The process asked does not coordinate the id, or does no more: what was under way the new owner knows, and
    /// asking it again is safe. A router does so.
    #[error("this process does not coordinate the transactional id")]
    NotCoordinator,
    /// The coordinator cannot answer now. Nothing happened: ask again.
    #[error("the coordinator of the transactional id is not available: {reason}")]
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// What was asked for may or may not have happened. Asking again is safe for all requests.
    #[error("the outcome is not known; asking again is safe")]
    Unknown,
    /// The request breaks a rule.
    #[error("the request is not allowed: {reason}")]
    InvalidRequest {
        /// Which rule.
        reason: String,
    },
    /// The transactional id is not known (when it is described).
    #[error("there is no such transactional id")]
    NotFound,
    /// Stored state cannot be read.
    #[error("stored state of the transactional id is damaged: {reason}")]
    Corrupt {
        /// Which row, and how.
        reason: String,
    },
}

impl TransactionsError {
    /// Whether the same request may be made again without a change.
    pub const fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::Loading
                | Self::NotCoordinator
                | Self::Unavailable { .. }
                | Self::Unknown
                | Self::Refused(TransactionError::Concurrent)
        )
    }
}
