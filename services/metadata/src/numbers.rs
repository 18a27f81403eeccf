//! Numbers from the cluster's counters, and what errors of the store mean to callers of the log.

use tidelog_env::{Env, error_chain};
use tidelog_metadata_api::LogError;
use tidelog_store::{
    CommitError as StoreCommitError, ReadMode, Store, StoreError, TransactError, transact,
};

use crate::catalogue::RETRY;
use crate::generation::Generation;
use crate::keyspace::{Counter, NumberRow};

/// Takes `count` numbers from a counter; returns the first. An unknown outcome only wastes numbers.
pub(crate) async fn take_numbers(
    store: &dyn Store,
    env: &Env,
    generation: &Generation,
    counter: Counter,
    count: u64,
) -> Result<u64, LogError> {
    let key = generation.keys().counter(counter);
    transact(store, env, RETRY, |mut transaction| {
        let key = key.clone();
        async move {
            generation.check(transaction.as_mut()).await?;
            let value = transaction.get(&key, ReadMode::Serializable).await?;
            let last = value.map(NumberRow::decode).transpose();
            let last = last.map_err(|error| {
                TransactError::Abort(LogError::Corrupt {
                    reason: error.to_string(),
                })
            })?;
            let last = last.map_or(0, |row| row.0);
            let Some(next) = last.checked_add(count) else {
                let reason = "a counter has reached its end".to_owned();
                return Err(TransactError::Abort(LogError::Corrupt { reason }));
            };
            transaction.put(key, NumberRow(next).encode());
            // `count` is not 0, so there is a number after the last one.
            Ok((transaction, last.saturating_add(1)))
        }
    })
    .await
    .map_err(transact_error)
}

/// What a failed read means to whoever asked.
pub(crate) fn log_error(error: StoreError) -> LogError {
    match error {
        StoreError::Fenced => LogError::NotOwner,
        other => LogError::Unavailable {
            reason: error_chain(&other),
        },
    }
}

/// What a failed transaction means to whoever asked.
pub(crate) fn transact_error(error: TransactError<LogError>) -> LogError {
    match error {
        TransactError::Abort(error) => error,
        TransactError::Read(error) => log_error(error),
        TransactError::Commit(StoreCommitError::Fenced) => LogError::NotOwner,
        TransactError::Commit(error) => LogError::Unavailable {
            reason: error_chain(&error),
        },
    }
}
