//! What the client's errors mean to a caller. By number alone, so that it can be checked without the
//! client's library.

use std::sync::Arc;

use thiserror::Error;
use tidelog_store::{CommitError, LimitKind, StoreError, TooLarge};

use crate::keyspace::CLIENT_BYTES_MAX;

/// An error of `FoundationDB`'s client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("error `{code}` of FoundationDB: {message}")]
pub struct FdbFailure {
    /// Its number, as `FoundationDB`'s documentation lists it.
    pub code: i32,
    /// What it says.
    pub message: String,
}

// Numbers of FoundationDB; they never change.
const TRANSACTION_TOO_OLD: i32 = 1007;
const FUTURE_VERSION: i32 = 1009;
const NOT_COMMITTED: i32 = 1020;
const PROCESS_BEHIND: i32 = 1037;
const DATABASE_LOCKED: i32 = 1038;
const COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED: i32 = 1042;
const BATCH_TRANSACTION_THROTTLED: i32 = 1051;
const GRV_PROXY_MEMORY_LIMIT_EXCEEDED: i32 = 1078;
const TAG_THROTTLED: i32 = 1213;
const PROXY_TAG_THROTTLED: i32 = 1223;
const TRANSACTION_TOO_LARGE: i32 = 2101;
/// Errors of files and of the machine.
const PLATFORM: i32 = 1500;
const PLATFORM_END: i32 = 1600;
/// Errors of what the client is asked for: options, the connection string, TLS, versions.
const REQUEST: i32 = 2000;
const REQUEST_END: i32 = 2200;

/// Errors after which nothing was written, nor will be, and that pass by themselves or by an operator.
const NOT_COMMITTED_FOR_NOW: &[i32] = &[
    FUTURE_VERSION,
    PROCESS_BEHIND,
    DATABASE_LOCKED,
    COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED,
    BATCH_TRANSACTION_THROTTLED,
    GRV_PROXY_MEMORY_LIMIT_EXCEEDED,
    TAG_THROTTLED,
    PROXY_TAG_THROTTLED,
];

impl FdbFailure {
    /// An error with this number and text; the text is replaced where `FoundationDB`'s leaves a reader
    /// alone.
    pub(crate) fn new(code: i32, message: &str) -> Self {
        let message = match code {
            DATABASE_LOCKED => {
                "the database is locked, by a restore or by an operator: `fdbcli` unlocks it"
            }
            _ => message,
        };
        Self {
            code,
            message: message.to_owned(),
        }
    }
}

impl FdbFailure {
    /// Whether a wait does not help: a file, a certificate or a version is not what the client needs.
    pub(crate) fn lasts(&self) -> bool {
        (PLATFORM..PLATFORM_END).contains(&self.code) || (REQUEST..REQUEST_END).contains(&self.code)
    }
}

/// What a failed `begin` or read means.
pub(crate) fn read_error(failure: FdbFailure) -> StoreError {
    match failure.code {
        TRANSACTION_TOO_OLD => StoreError::TooOld,
        _ => StoreError::Unavailable(Arc::new(failure)),
    }
}

/// What a failed commit means. Whatever is not known to have left no trace is of unknown outcome:
/// `commit_unknown_result` (1021), a timeout (1031), a cancelled call (1025, 1101), a cluster that changed
/// its version (1039), and every number that `FoundationDB` adds one day.
pub(crate) fn commit_error(failure: FdbFailure, client_bytes: usize) -> CommitError {
    match failure.code {
        NOT_COMMITTED => CommitError::Conflict,
        TRANSACTION_TOO_OLD => CommitError::TooOld,
        TRANSACTION_TOO_LARGE => CommitError::TooLarge(too_large(client_bytes)),
        code if NOT_COMMITTED_FOR_NOW.contains(&code) => {
            CommitError::Unavailable(Arc::new(failure))
        }
        _ => CommitError::Unknown(Arc::new(failure)),
    }
}

/// A transaction within our own limits whose rows are so many and so small that it passes the client's.
pub(crate) fn too_large(client_bytes: usize) -> TooLarge {
    TooLarge {
        what: LimitKind::Transaction,
        size: client_bytes,
        limit: CLIENT_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use tidelog_store::Retry;

    use super::*;

    fn failure(code: i32) -> FdbFailure {
        FdbFailure::new(code, "text")
    }

    fn commit(code: i32) -> CommitError {
        commit_error(failure(code), CLIENT_BYTES_MAX + 1)
    }

    #[test]
    fn a_commit_that_may_have_happened_is_unknown_and_so_is_what_nobody_knows() {
        for code in [1021, 1025, 1031, 1039, 1101, 1100, 1026, 1030, 4100, 9_999] {
            assert!(commit(code).may_have_happened(), "{code}");
            assert_eq!(commit(code).retry(), Retry::Settle, "{code}");
        }
    }

    #[test]
    fn a_commit_that_was_refused_left_no_trace() {
        assert!(matches!(commit(1020), CommitError::Conflict));
        assert!(matches!(commit(1007), CommitError::TooOld));
        assert!(matches!(commit(2101), CommitError::TooLarge(_)));
        for code in NOT_COMMITTED_FOR_NOW {
            assert_eq!(commit(*code).retry(), Retry::Later, "{code}");
        }
    }

    #[test]
    fn a_read_fails_for_its_age_or_for_now() {
        assert!(matches!(read_error(failure(1007)), StoreError::TooOld));
        for code in [1009, 1031, 1037, 1038, 1101, 1500] {
            assert_eq!(read_error(failure(code)).retry(), Retry::Later, "{code}");
        }
    }

    #[test]
    fn a_bad_cluster_file_lasts_and_a_cluster_that_is_away_does_not() {
        for code in [1513, 1515, 2104, 2107] {
            assert!(failure(code).lasts(), "{code}");
        }
        for code in [1007, 1031, 1037, 1038, 1213] {
            assert!(!failure(code).lasts(), "{code}");
        }
    }

    #[test]
    fn a_locked_database_says_what_to_do() {
        let text = failure(1038).to_string();
        assert!(text.contains("`1038`") && text.contains("fdbcli"), "{text}");
        assert_eq!(
            failure(1021).to_string(),
            "error `1021` of FoundationDB: text"
        );
    }
}
