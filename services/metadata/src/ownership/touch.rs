//! Whether this process is in touch with the store that it shares with others.
//!
//! One that is not owns nothing any more as far as it can tell: others may have taken its shards, and what it
//! is asked for would wait until the store answers. So whoever asks is told to ask elsewhere, or later.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tidelog_metadata_api::{CatalogueError, ClusterError, LogError};
use tokio::sync::watch;

/// What callers hear.
const LOST: &str = "this process is out of touch with the metadata store";

/// The touch of one process. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Touch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_kept: watch::Sender<bool>,
    shown: Gauge,
}

impl Touch {
    /// In touch. The gauge says so for as long as there is a clone.
    pub(crate) fn new(shown: Gauge) -> Self {
        shown.set(1);
        Self(Arc::new(Inner {
            is_kept: watch::Sender::new(true),
            shown,
        }))
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.0.is_kept.subscribe()
    }

    pub(crate) fn is_lost(&self) -> bool {
        !*self.0.is_kept.borrow()
    }

    /// Takes note of how it is; tells whether that is news.
    pub(crate) fn set(&self, is_kept: bool) -> bool {
        self.0.shown.set(i64::from(is_kept));
        self.0.is_kept.send_if_modified(|before| {
            let is_news = *before != is_kept;
            *before = is_kept;
            is_news
        })
    }

    /// What comes of some work, or nothing if the touch is lost before. The work is given a chance first, so
    /// that what needs no store has its answer in any case; it is dropped at a loss, and may have had an
    /// effect.
    pub(crate) async fn while_kept<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut is_kept = self.watch();
        tokio::select! {
            biased;
            output = work => Some(output),
            // The sender is here.
            _ = is_kept.wait_for(|is_kept| !is_kept) => None,
        }
    }

    /// The same for an answer.
    pub(crate) async fn answer<T, E: OutOfTouch>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let answer = self.while_kept(work).await;
        answer.unwrap_or_else(|| Err(E::out_of_touch()))
    }

    /// The same for a change, of which nothing was done if the touch was lost before. `unknown` is what the
    /// caller hears of one that was under way.
    pub(crate) async fn change<T, E: OutOfTouch>(
        &self,
        unknown: E,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.is_lost() {
            return Err(E::out_of_touch());
        }
        self.while_kept(work).await.unwrap_or(Err(unknown))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shown.set(0);
    }
}

/// An error that says that the store does not answer.
pub(crate) trait OutOfTouch {
    fn out_of_touch() -> Self;
}

impl OutOfTouch for LogError {
    fn out_of_touch() -> Self {
        let reason = LOST.to_owned();
        Self::Unavailable { reason }
    }
}

impl OutOfTouch for CatalogueError {
    fn out_of_touch() -> Self {
        let reason = LOST.to_owned();
        Self::Unavailable { reason }
    }
}

impl OutOfTouch for ClusterError {
    fn out_of_touch() -> Self {
        let reason = LOST.to_owned();
        Self::Unavailable { reason }
    }
}

impl OutOfTouch for tidelog_metadata_api::CommitError {
    fn out_of_touch() -> Self {
        let reason = LOST.to_owned();
        Self::Unavailable { reason }
    }
}
