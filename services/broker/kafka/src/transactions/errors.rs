//! From the errors of coordinators of transactional ids to Kafka's.

use tidelog_env::error_chain;
use tidelog_kafka_codec::{ApiKey, ErrorCode};
use tidelog_metadata_api::{TransactionError, TransactionsError};

use crate::errors::Refusal;

/// The first version of `Produce` whose clients take `TRANSACTION_ABORTABLE`.
const PRODUCE_ABORTABLE_FROM: i16 = 11;
/// The first version of `Produce` that adds its partitions to the transaction by itself.
pub(crate) const PRODUCE_ADDS_FROM: i16 = 12;
/// The same two for `TxnOffsetCommit`.
const COMMIT_ABORTABLE_FROM: i16 = 4;
pub(crate) const COMMIT_ADDS_FROM: i16 = 5;

/// Kafka's code for each error of a coordinator.
const fn code(error: &TransactionsError) -> ErrorCode {
    match error {
        TransactionsError::Refused(refused) => match refused {
            TransactionError::Concurrent => ErrorCode::ConcurrentTransactions,
            TransactionError::Fenced => ErrorCode::ProducerFenced,
            TransactionError::UnknownProducer => ErrorCode::InvalidProducerIdMapping,
            TransactionError::InvalidState => ErrorCode::InvalidTxnState,
            TransactionError::InvalidTimeout => ErrorCode::InvalidTransactionTimeout,
            TransactionError::TooLarge => ErrorCode::TransactionAbortable,
            _ => ErrorCode::CoordinatorNotAvailable,
        },
        TransactionsError::Loading => ErrorCode::CoordinatorLoadInProgress,
        TransactionsError::NotCoordinator => ErrorCode::NotCoordinator,
        TransactionsError::InvalidRequest { .. } => ErrorCode::InvalidRequest,
        TransactionsError::NotFound => ErrorCode::TransactionalIdNotFound,
        // Kafka has no word for it that a producer would understand.
        TransactionsError::Corrupt { .. } => ErrorCode::UnknownServerError,
        // Also what a later version of the coordinator may say: clients look for it again.
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}

/// The first version of a request to a coordinator whose clients take `PRODUCER_FENCED`.
const fn fenced_from(key: ApiKey) -> i16 {
    match key {
        ApiKey::InitProducerId => 4,
        _ => 2,
    }
}

/// The first version of a request to a coordinator whose clients take `TRANSACTION_ABORTABLE`.
const fn abortable_from(key: ApiKey) -> i16 {
    match key {
        ApiKey::AddOffsetsToTxn => 4,
        _ => 5,
    }
}

/// What a producer hears that has asked the coordinator of its id.
pub(super) fn refusal(error: &TransactionsError, key: ApiKey, version: i16) -> Refusal {
    let code = match code(error) {
        ErrorCode::ProducerFenced if version < fenced_from(key) => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < abortable_from(key) => {
            ErrorCode::InvalidRequest
        }
        code => code,
    };
    Refusal::new(code, error_chain(error))
}

/// What an operator hears.
impl From<&TransactionsError> for Refusal {
    fn from(error: &TransactionsError) -> Self {
        Self::new(code(error), error_chain(error))
    }
}

/// What a producer hears of a partition or a group that does not take part in its transaction.
pub(crate) const fn not_part_code(key: ApiKey, version: i16) -> ErrorCode {
    let abortable_from = match key {
        ApiKey::Produce => PRODUCE_ABORTABLE_FROM,
        _ => COMMIT_ABORTABLE_FROM,
    };
    if version >= abortable_from {
        ErrorCode::TransactionAbortable
    } else {
        ErrorCode::InvalidTxnState
    }
}

/// What a producer hears whose batches could not join its transaction: what it knows of `Produce`. It would not try
/// again after errors of coordinators; after `NOT_ENOUGH_REPLICAS` it does, and asks for no metadata before.
pub(crate) fn append_refusal(error: &TransactionsError, version: i16) -> Refusal {
    let code = match code(error) {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable => not_part_code(ApiKey::Produce, version),
        ErrorCode::ConcurrentTransactions if version >= PRODUCE_ADDS_FROM => {
            ErrorCode::ConcurrentTransactions
        }
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        code => code,
    };
    Refusal::new(code, error_chain(error))
}

/// What a producer hears whose offsets could not join its transaction. It takes the broker that it asks for the
/// coordinator of the group, and older ones do not know every error.
pub(crate) const fn commit_code(error: &TransactionsError, version: i16) -> ErrorCode {
    match code(error) {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable => not_part_code(ApiKey::TxnOffsetCommit, version),
        ErrorCode::ConcurrentTransactions if version < COMMIT_ADDS_FROM => {
            ErrorCode::CoordinatorLoadInProgress
        }
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Vec<(TransactionsError, &'static str)> {
        let reason = String::new;
        vec![
            (
                TransactionError::Concurrent.into(),
                "CONCURRENT_TRANSACTIONS",
            ),
            (TransactionError::Fenced.into(), "PRODUCER_FENCED"),
            (
                TransactionError::UnknownProducer.into(),
                "INVALID_PRODUCER_ID_MAPPING",
            ),
            (TransactionError::InvalidState.into(), "INVALID_TXN_STATE"),
            (
                TransactionError::InvalidTimeout.into(),
                "INVALID_TRANSACTION_TIMEOUT",
            ),
            (TransactionError::TooLarge.into(), "TRANSACTION_ABORTABLE"),
            (TransactionsError::Loading, "COORDINATOR_LOAD_IN_PROGRESS"),
            (TransactionsError::NotCoordinator, "NOT_COORDINATOR"),
            (
                TransactionsError::Unavailable { reason: reason() },
                "COORDINATOR_NOT_AVAILABLE",
            ),
            (TransactionsError::Unknown, "COORDINATOR_NOT_AVAILABLE"),
            (
                TransactionsError::InvalidRequest { reason: reason() },
                "INVALID_REQUEST",
            ),
            (TransactionsError::NotFound, "TRANSACTIONAL_ID_NOT_FOUND"),
            (
                TransactionsError::Corrupt { reason: reason() },
                "UNKNOWN_SERVER_ERROR",
            ),
        ]
    }

    #[test]
    fn every_error_has_the_code_that_kafka_has_for_it() {
        for (error, name) in refused() {
            assert_eq!(code(&error).name(), name, "{error}");
            assert_eq!(code(&error).is_retriable(), error.is_retriable(), "{error}");
        }
    }

    #[test]
    fn errors_that_came_later_have_older_names_before() {
        let name = |error: TransactionError, key, version| {
            refusal(&error.into(), key, version).code.name()
        };
        let fenced = TransactionError::Fenced;
        for (key, from) in [(ApiKey::InitProducerId, 4), (ApiKey::EndTxn, 2)] {
            assert_eq!(name(fenced, key, from - 1), "INVALID_PRODUCER_EPOCH");
            assert_eq!(name(fenced, key, from), "PRODUCER_FENCED");
        }
        let large = TransactionError::TooLarge;
        for (key, from) in [
            (ApiKey::AddPartitionsToTxn, 5),
            (ApiKey::AddOffsetsToTxn, 4),
        ] {
            assert_eq!(name(large, key, from - 1), "INVALID_REQUEST");
            assert_eq!(name(large, key, from), "TRANSACTION_ABORTABLE");
        }
    }

    #[test]
    fn a_producer_hears_of_its_batches_only_what_it_knows() {
        for (error, name) in refused() {
            let told = |version| append_refusal(&error, version).code.name();
            let [verifying, abortable, adding] = match name {
                "CONCURRENT_TRANSACTIONS" => {
                    let retried = "NOT_ENOUGH_REPLICAS";
                    [retried, retried, "CONCURRENT_TRANSACTIONS"]
                }
                "PRODUCER_FENCED" => ["INVALID_PRODUCER_EPOCH"; 3],
                "TRANSACTION_ABORTABLE" => ["INVALID_TXN_STATE", name, name],
                "COORDINATOR_LOAD_IN_PROGRESS"
                | "COORDINATOR_NOT_AVAILABLE"
                | "NOT_COORDINATOR" => ["NOT_ENOUGH_REPLICAS"; 3],
                other => [other; 3],
            };
            assert_eq!(
                [told(10), told(11), told(12)],
                [verifying, abortable, adding]
            );
        }
    }

    #[test]
    fn a_producer_hears_of_its_offsets_only_what_it_knows() {
        for (error, name) in refused() {
            let told = |version| commit_code(&error, version).name();
            let [old, abortable, adding] = match name {
                "CONCURRENT_TRANSACTIONS" => {
                    let retried = "COORDINATOR_LOAD_IN_PROGRESS";
                    [retried, retried, name]
                }
                "PRODUCER_FENCED" => ["INVALID_PRODUCER_EPOCH"; 3],
                "TRANSACTION_ABORTABLE" => ["INVALID_TXN_STATE", name, name],
                other => [other; 3],
            };
            assert_eq!([told(3), told(4), told(5)], [old, abortable, adding]);
        }
    }
}
