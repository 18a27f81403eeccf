//! Answers that wait.

use std::fmt;

use tokio::sync::oneshot;

/// An answer that is given once what it says is durable, or an error in its place.
pub(crate) struct Held<E>(Box<dyn FnOnce(Option<E>) + Send>);

impl<E: Send + 'static> Held<E> {
    pub(crate) fn new<T: Send + 'static>(
        reply: oneshot::Sender<Result<T, E>>,
        answer: Result<T, E>,
    ) -> Self {
        Self(Box::new(move |error| {
            // Who does not wait any more does not matter.
            drop(reply.send(match error {
                None => answer,
                Some(error) => Err(error),
            }));
        }))
    }

    pub(crate) fn give(self) {
        (self.0)(None);
    }

    pub(crate) fn fail(self, error: E) {
        (self.0)(Some(error));
    }
}

impl<E> fmt::Debug for Held<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}
