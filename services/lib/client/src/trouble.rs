//! What keeps a client from being served: told in words, and told to the application once it lasts.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_api::ApiError;
use tidelog_env::{Clock, MonoTime};
use tidelog_types::ErrorCode;
use tonic::{Code, ConnectError, Status};

/// Trouble that passes sooner is not told.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// How the gRPC library begins what it says of an answer that is HTTP, but not gRPC.
const NOT_GRPC: &str = "grpc-status header missing";

/// What an application is told of trouble that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The client still tries, and why it has to. Told once until [`Notice::Back`].
    Trying(&'a str),
    /// The service answers again.
    Back,
}

/// Called with a [`Notice`] when a client has been in trouble for a second. It must not block.
#[derive(Clone)]
pub struct OnTrouble(Arc<dyn Fn(Notice<'_>) + Send + Sync>);

impl OnTrouble {
    /// Calls `tell`.
    pub fn new(tell: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for OnTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnTrouble")
    }
}

/// The trouble of one client, shared by all that it does.
pub(crate) struct Trouble {
    /// The endpoints, as they are told.
    endpoints: String,
    tell: Option<OnTrouble>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    since: Option<MonoTime>,
    told: bool,
}

impl Trouble {
    pub(crate) fn new(endpoints: String, tell: Option<OnTrouble>) -> Self {
        Self {
            endpoints,
            tell,
            state: Mutex::default(),
        }
    }

    /// The endpoints, as they are told.
    pub(crate) fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// The error of an attempt that had no answer for `waited`.
    pub(crate) fn silence(&self, waited: Duration) -> ApiError {
        let text = format!("no answer from {} within `{waited:.1?}`", self.endpoints);
        ApiError::new(ErrorCode::Unavailable, text)
    }

    /// An attempt has failed that will be made again.
    pub(crate) fn failed(&self, now: MonoTime, error: &ApiError) {
        let begin = *self.state.lock().since.get_or_insert(now);
        if now.saturating_since(begin) >= TOLD_AFTER {
            self.tell(&error.message);
        }
    }

    /// The service serves.
    pub(crate) fn passed(&self) {
        let was = std::mem::take(&mut *self.state.lock());
        if let (true, Some(OnTrouble(tell))) = (was.told, &self.tell) {
            tell(Notice::Back);
        }
    }

    fn tell(&self, why: &str) {
        let Some(OnTrouble(tell)) = &self.tell else {
            return;
        };
        if !std::mem::replace(&mut self.state.lock().told, true) {
            tell(Notice::Trying(why));
        }
    }

    /// Waits for `attempt`, and tells if its answer takes longer than it may; `slack` is how long the
    /// service may take its time.
    pub(crate) async fn watch<F: Future>(
        &self,
        clock: &dyn Clock,
        slack: Duration,
        attempt: F,
    ) -> F::Output {
        let mut attempt = std::pin::pin!(attempt);
        if self.tell.is_none() {
            return attempt.await;
        }
        tokio::select! {
            biased;
            output = &mut attempt => return output,
            () = clock.sleep(TOLD_AFTER + slack) => {}
        }
        self.tell(&format!("no answer from {} yet", self.endpoints));
        attempt.await
    }

    /// Reads a status. What the gRPC library says of a connection is told with the endpoints, and a
    /// connection that did not come about is known to have done nothing.
    pub(crate) fn read(&self, status: &Status) -> ApiError {
        let mut error = ApiError::from_status(status);
        let endpoints = &self.endpoints;
        if is_connecting(status) {
            error = ApiError::new(
                ErrorCode::Unavailable,
                format!("cannot connect to {endpoints}: {}", root(status)),
            );
        } else if status.message().starts_with(NOT_GRPC) {
            error = ApiError::new(
                ErrorCode::Unsupported,
                format!(
                    "{endpoints} speaks HTTP, but is not Tidelog's gRPC port, which is 7070 by default \
                     ({})",
                    status.message()
                ),
            );
        } else if StdError::source(status).is_some() && status.code() != Code::DeadlineExceeded {
            error.message = format!("the connection to {endpoints} broke: {}", root(status));
        }
        error
    }
}

/// Whether a request failed before there was a connection.
fn is_connecting(status: &Status) -> bool {
    causes(status).any(<dyn StdError>::is::<ConnectError>)
}

/// The innermost cause.
fn root(status: &Status) -> String {
    causes(status)
        .last()
        .map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(StdError::source(status), |error| StdError::source(*error))
}

#[cfg(test)]
mod tests {
    use std::io;

    use tidelog_env::SystemClock;

    use super::*;

    fn trouble() -> (Trouble, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let tell = move |notice: Notice<'_>| log.lock().push(format!("{notice:?}"));
        let trouble = Trouble::new("`http://a:1`".to_owned(), Some(OnTrouble::new(tell)));
        (trouble, told)
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_once_when_it_lasts_and_once_when_it_is_over() {
        let (trouble, told) = trouble();
        let clock = SystemClock::new();
        let error = ApiError::new(ErrorCode::Unavailable, "gone");
        trouble.failed(clock.now(), &error);
        trouble.passed();
        assert!(told.lock().is_empty(), "it passed at once");
        for _ in 0..3 {
            trouble.failed(clock.now(), &error);
            clock.sleep(TOLD_AFTER).await;
        }
        trouble.passed();
        trouble.passed();
        assert_eq!(*told.lock(), ["Trying(\"gone\")", "Back"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_after_the_time_that_the_service_may_take() {
        let (trouble, told) = trouble();
        let clock = SystemClock::new();
        let slack = Duration::from_secs(5);
        trouble.watch(&clock, slack, clock.sleep(slack)).await;
        assert!(told.lock().is_empty());
        trouble.watch(&clock, slack, clock.sleep(slack * 2)).await;
        assert_eq!(
            *told.lock(),
            ["Trying(\"no answer from `http://a:1` yet\")"]
        );
    }

    #[test]
    fn a_connection_that_did_not_come_about_names_the_endpoint_and_has_done_nothing() {
        let (trouble, _) = trouble();
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let status = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        let error = trouble.read(&status);
        assert_eq!(error.message, "cannot connect to `http://a:1`: refused");
        assert!(error.is_retriable() && !error.outcome_unknown);
        let broken = trouble.read(&Status::from_error(Box::new(io::Error::other("reset"))));
        assert!(
            broken.message.contains("`http://a:1` broke: reset"),
            "{broken}"
        );
        assert!(broken.outcome_unknown);
    }

    #[test]
    fn an_answer_that_is_not_grpc_is_told_with_the_port_that_would_be() {
        let (trouble, _) = trouble();
        let text = "grpc-status header missing, mapped from HTTP status code 404";
        let error = trouble.read(&Status::unimplemented(text));
        assert!(error.message.contains("7070 by default"), "{error}");
        assert!(!error.is_retriable());
    }
}
