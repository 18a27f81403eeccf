//! One request with its deadline and retries.

use std::future::Future;
use std::time::Duration;

use tidelog_api::ApiError;
use tidelog_env::clock::timeout;
use tonic::{Response, Status};

use crate::{ClientError, ClientOptions};

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
    options: &ClientOptions,
    retry: Retry,
    request: F,
) -> Result<T, ClientError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    call_within(options, options.request_timeout, retry, request).await
}

/// As [`call`], with a time of its own.
pub(crate) async fn call_within<T, F, Fut>(
    options: &ClientOptions,
    within: Duration,
    retry: Retry,
    request: F,
) -> Result<T, ClientError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let clock = &options.env.clock;
    let deadline = clock.now() + within;
    let mut backoff = options.backoff.start();
    let mut last = None;
    loop {
        let left = deadline - clock.now();
        let Ok(answer) = timeout(clock.as_ref(), left, request()).await else {
            return Err(ClientError::TimedOut {
                waited: within,
                last,
            });
        };
        let error = match answer {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => ApiError::from_status(&status),
        };
        if !retry.allows(&error) {
            return Err(error.into());
        }
        let Some(wait) = backoff.next_wait(options.env.rng.as_ref()) else {
            return Err(error.into());
        };
        let wait = wait.max(error.retry_after.unwrap_or_default());
        tracing::debug!(code = %error.code, ?wait, "request failed, trying again");
        if clock.now() + wait >= deadline {
            return Err(error.into());
        }
        last = Some(error);
        clock.sleep(wait).await;
    }
}
