//! What can go wrong, and for each error: may it be retried, and may the commit have happened.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// The error below this one; shared, since one failed flush fails many transactions.
pub type Cause = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// What the caller may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A new transaction that does the same work may succeed.
    Again,
    /// Nothing happened and the store is not reachable now: try again after a pause.
    Later,
    /// The outcome must be settled first: commit a write that the old transaction read (so that it
    /// can only conflict), then look for what it wrote.
    Settle,
    /// The same call fails again.
    Never,
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The bytes of a key.
    Key,
    /// The bytes of a value.
    Value,
    /// The bytes of all writes of a transaction.
    Transaction,
    /// The number of keys that the range deletions of a transaction remove.
    RangeDelete,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Transaction => "transaction",
            Self::RangeDelete => "range deletion",
        })
    }
}

/// A key, a value or a whole transaction is larger than the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} has size `{size}`, more than the `{limit}` that the store takes")]
pub struct TooLarge {
    /// What is too large.
    pub what: LimitKind,
    /// Its size, in the unit of what it is.
    pub size: usize,
    /// The largest size allowed.
    pub limit: usize,
}

/// Why `begin` or a read failed. A failed read never has an effect.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The transaction outlived the versions that the store keeps.
    #[error("transaction is too old: its read version is no longer kept")]
    TooOld,
    /// A key in the call is longer than the store takes.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Another process has become the writer; final for this store.
    #[error("store is fenced: another process has opened it")]
    Fenced,
    /// The store cannot be reached, or did not answer in time.
    #[error("store is unavailable")]
    Unavailable(#[source] Cause),
    /// The store was closed, by `close` or by a failure; it must be opened anew.
    #[error("store is closed")]
    Closed,
    /// Stored bytes are missing or cannot be read; somebody has to look.
    #[error("store is damaged")]
    Damaged(#[source] Cause),
}

impl StoreError {
    /// What the caller may do now.
    pub fn retry(&self) -> Retry {
        match self {
            Self::TooOld => Retry::Again,
            Self::Unavailable(_) => Retry::Later,
            Self::TooLarge(_) | Self::Fenced | Self::Closed | Self::Damaged(_) => Retry::Never,
        }
    }
}

/// Why a commit failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Something that was read has been written since; nothing was written.
    #[error("transaction conflicts with a later write to what it read")]
    Conflict,
    /// The transaction outlived the window of the conflict check; nothing was written.
    #[error("transaction is too old: its read version is no longer kept")]
    TooOld,
    /// A key, a value or the transaction is too large; nothing was written.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The commit may have happened, may happen later, or never.
    #[error("outcome of the commit is unknown")]
    Unknown(#[source] Cause),
    /// Another process has become the writer; nothing was written, and this is final.
    #[error("store is fenced: another process has opened it")]
    Fenced,
    /// The store cannot be reached; nothing was written, nor will be.
    #[error("store is unavailable")]
    Unavailable(#[source] Cause),
    /// The store was closed before; nothing was written.
    #[error("store is closed")]
    Closed,
    /// What the commit had to read is missing or cannot be read; nothing was written.
    #[error("store is damaged")]
    Damaged(#[source] Cause),
}

impl CommitError {
    /// What the caller may do now.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict | Self::TooOld => Retry::Again,
            Self::Unavailable(_) => Retry::Later,
            Self::Unknown(_) => Retry::Settle,
            Self::TooLarge(_) | Self::Fenced | Self::Closed | Self::Damaged(_) => Retry::Never,
        }
    }

    /// Whether the writes may be in the store, now or later.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// A read that fails inside a commit wrote nothing.
impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooOld => Self::TooOld,
            StoreError::TooLarge(error) => Self::TooLarge(error),
            StoreError::Fenced => Self::Fenced,
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::Closed => Self::Closed,
            StoreError::Damaged(cause) => Self::Damaged(cause),
        }
    }
}

/// Why a store will never answer again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// Another process has become the writer.
    Fenced,
    /// `close` was called.
    Stopped,
    /// Durability became unknown, or the store broke: it must be opened anew.
    Failed(Cause),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str("fenced by another process"),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(cause) => write!(f, "failed: {cause}"),
        }
    }
}
