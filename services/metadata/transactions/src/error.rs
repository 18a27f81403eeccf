//! Why a request of a producer is not done.

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
