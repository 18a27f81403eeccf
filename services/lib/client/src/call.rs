//! One request with its deadline and retries.

use std::future::Future;
use std::time::Duration;

use tidelog_api::ApiError;
use tidelog_env::clock::timeout;
use tonic::{Response, Status};

use crate::{Client, ClientError};

/// No attempt is begun that would have less time.
const ATTEMPT_MIN: Duration = Duration::from_millis(20);

/// Which failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// All that are retriable: the request changes nothing, or the same thing when done twice.
    Always,
    /// Those of which it is known that nothing happened.
    IfNothingHappened,
}

impl Retry {
    fn allows(self, error: &ApiError) -> bool {
        let safe = match self {
            Self::Always => true,
            Self::IfNothingHappened => !error.outcome_unknown,
        };
        error.is_retriable() && safe
    }
}

/// Makes a request until it succeeds, fails for good, or time is up.
pub(crate) async fn call<T, F, Fut>(
    client: &Client,
    retry: Retry,
    request: F,
) -> Result<T, ClientError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    call_within(client, client.options().request_timeout, retry, request).await
}

/// As [`call`], with a time of its own.
pub(crate) async fn call_within<T, F, Fut>(
    client: &Client,
    within: Duration,
    retry: Retry,
    request: F,
) -> Result<T, ClientError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let (options, trouble) = (client.options(), client.trouble());
    let clock = options.env.clock.as_ref();
    let slack = within.saturating_sub(options.request_timeout);
    let deadline = clock.now() + within;
    let mut backoff = options.backoff.start();
    let mut last: Option<ApiError> = None;
    loop {
        let left = deadline.saturating_since(clock.now());
        // Boxed: requests are part of the futures of all who make them.
        let attempt = trouble.watch(clock, slack, Box::pin(request()));
        let Ok(answer) = timeout(clock, left, attempt).await else {
            return Err(ClientError::TimedOut {
                endpoints: trouble.endpoints().to_owned(),
                waited: within,
                last,
            });
        };
        let mut error = match answer {
            Ok(response) => {
                trouble.passed();
                return Ok(response.into_inner());
            }
            Err(status) => trouble.read(&status),
        };
        // What an attempt before this one may have done, nobody knows yet.
        error.outcome_unknown |= last.is_some_and(|last| last.outcome_unknown);
        if !retry.allows(&error) {
            return Err(error.into());
        }
        let now = clock.now();
        trouble.failed(now, &error);
        let Some(wait) = backoff.next_wait(options.env.rng.as_ref()) else {
            return Err(error.into());
        };
        // The last attempts come closer to each other, so that all of the time is used.
        let left = deadline.saturating_since(now);
        let wait = wait
            .min(left / 2)
            .max(error.retry_after.unwrap_or_default());
        tracing::debug!(code = %error.code, ?wait, "request failed, trying again");
        if wait + ATTEMPT_MIN >= left {
            return Err(error.into());
        }
        last = Some(error);
        clock.sleep(wait).await;
    }
}
