//! Work that goes on while a stream does other things.

use std::future::{Future, pending};

use futures::FutureExt as _;
use futures::future::BoxFuture;

/// At most one piece of work of a kind.
pub(super) struct Work<T>(Option<BoxFuture<'static, T>>);

impl<T> Default for Work<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Work<T> {
    /// Whether nothing is under way.
    pub(super) const fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// Begins; what was under way is withdrawn.
    pub(super) fn begin(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0 = Some(work.boxed());
    }

    /// Withdraws what is under way.
    pub(super) fn withdraw(&mut self) {
        self.0 = None;
    }

    /// What comes of it; never, while nothing is under way. Cancel-safe.
    pub(super) async fn done(&mut self) -> T {
        let Some(work) = &mut self.0 else {
            return pending().await;
        };
        let done = work.await;
        self.0 = None;
        done
    }
}
