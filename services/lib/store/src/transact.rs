//! Runs a transaction again after a definite conflict.

use std::fmt::Debug;
use std::future::Future;

use thiserror::Error;
use tidelog_env::{BackoffPolicy, Env};

use crate::{CommitError, Retry, Store, StoreError, Transaction};

/// Why a transaction of [`transact`] failed. Only `Commit` with an error that says so may have had an
/// effect.
#[derive(Debug, Error)]
pub enum TransactError<E: Debug> {
    /// It could not begin or read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// It could not commit; a conflict here means that all retries conflicted.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The caller's own code gave up; nothing was written.
    #[error("transaction was given up: {0:?}")]
    Abort(E),
}

impl<E: Debug> TransactError<E> {
    fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            Self::Commit(error) => error.retry(),
            Self::Abort(_) => Retry::Never,
        }
    }

    /// Whether the writes may be in the store, now or later.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Commit(error) if error.may_have_happened())
    }
}

/// Begins a transaction, hands it to `body`, commits what `body` gives back, and returns its value.
///
/// After an error that is definitely without effect and that a new transaction may not meet (a
/// conflict, or a transaction too old) it all runs again after a wait, as often as `policy` says. Every
/// other error, an unknown outcome among them, is the caller's at once.
///
/// `body` may run many times, so it must have no effect but through the transaction.
///
/// ```
/// # use tidelog_env::{BackoffPolicy, Env};
/// # use tidelog_store::{Bytes, ReadMode, TransactError, memory::MemoryStore, transact};
/// # async fn example(env: &Env, policy: BackoffPolicy) -> Result<(), TransactError<()>> {
/// let store = MemoryStore::new();
/// let key = Bytes::from_static(b"counter");
/// let before = transact(&store, env, policy, |mut tx| {
///     let key = key.clone();
///     async move {
///         let before = tx.get(&key, ReadMode::Serializable).await?;
///         tx.put(key, Bytes::from_static(b"seen"));
///         Ok((tx, before))
///     }
/// })
/// .await?;
/// # let _ = before; Ok(()) }
/// ```
pub async fn transact<T, E, F, Fut>(
    store: &dyn Store,
    env: &Env,
    policy: BackoffPolicy,
    mut body: F,
) -> Result<T, TransactError<E>>
where
    E: Debug,
    F: FnMut(Box<dyn Transaction>) -> Fut + Send,
    Fut: Future<Output = Result<(Box<dyn Transaction>, T), TransactError<E>>> + Send,
    T: Send,
{
    let mut backoff = policy.start();
    loop {
        let error = match attempt(store, &mut body).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if error.retry() != Retry::Again {
            return Err(error);
        }
        let Some(wait) = backoff.next_wait(env.rng.as_ref()) else {
            return Err(error);
        };
        env.clock.sleep(wait).await;
    }
}

async fn attempt<T, E, F, Fut>(store: &dyn Store, body: &mut F) -> Result<T, TransactError<E>>
where
    E: Debug,
    F: FnMut(Box<dyn Transaction>) -> Fut + Send,
    Fut: Future<Output = Result<(Box<dyn Transaction>, T), TransactError<E>>> + Send,
    T: Send,
{
    let transaction = store.begin().await?;
    let (transaction, value) = body(transaction).await?;
    transaction.commit().await?;
    Ok(value)
}
