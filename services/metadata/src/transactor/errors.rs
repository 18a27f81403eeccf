//! Errors of the store and of sequencers as callers hear them.

use tidelog_metadata_api::{CommitError, LogError, TransactionsError};
use tidelog_store::StoreError;

use crate::keyspace::RowError;
use crate::ownership::{NotHere, OutOfTouch};

/// Of rows that were to be written.
pub(super) fn of_write(error: CommitError) -> TransactionsError {
    match error {
        CommitError::NotOwner => TransactionsError::NotCoordinator,
        CommitError::Unavailable { reason } => TransactionsError::Unavailable { reason },
        CommitError::Malformed { reason } => TransactionsError::Corrupt { reason },
        _ => TransactionsError::Unknown,
    }
}

/// Of a proof of ownership, and of a new producer id.
pub(super) fn of_log(error: LogError) -> TransactionsError {
    match error {
        LogError::NotOwner => TransactionsError::NotCoordinator,
        LogError::Corrupt { reason } => TransactionsError::Corrupt { reason },
        other => unavailable(&other),
    }
}

pub(super) fn of_store(error: StoreError) -> TransactionsError {
    match error {
        StoreError::Fenced => TransactionsError::NotCoordinator,
        other => unavailable(&other),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
pub(super) fn of_row(error: RowError) -> TransactionsError {
    TransactionsError::Corrupt {
        reason: error.to_string(),
    }
}

/// Nothing happened.
pub(super) fn no_memory() -> TransactionsError {
    TransactionsError::Unavailable {
        reason: "the memory for transactions is used up".to_owned(),
    }
}

fn unavailable(error: &dyn std::error::Error) -> TransactionsError {
    TransactionsError::Unavailable {
        reason: error.to_string(),
    }
}

impl From<NotHere> for TransactionsError {
    fn from(reason: NotHere) -> Self {
        match reason {
            NotHere::Elsewhere => Self::NotCoordinator,
            NotHere::Taking => Self::Loading,
        }
    }
}

impl OutOfTouch for TransactionsError {
    fn out_of_touch() -> Self {
        of_log(LogError::out_of_touch())
    }
}
