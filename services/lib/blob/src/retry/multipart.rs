//! Uploads of many parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{
    MultipartUpload, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart,
};
use tidelog_env::clock::timeout;

use super::Policy;
use crate::errors::{AttemptTimedOut, generic};
use crate::metrics::Operation;

/// Has the store below ask us before it gives a part up: only it can send the same part again.
pub(super) fn with_part_retries(
    options: PutMultipartOptions,
    policy: Arc<Policy>,
) -> PutMultipartOptions {
    options.with_retry_policy(Arc::new(PartRetry { policy }))
}

#[derive(Debug)]
struct PartRetry {
    policy: Arc<Policy>,
}

#[async_trait]
impl RetryPolicy for PartRetry {
    async fn retry(&self, context: RetryContext) -> bool {
        // Statuses that are worth another try never come as such: the HTTP layer below makes them
        // transport errors with the status inside.
        let worth_it = match context.failure {
            RetryFailure::Status(status) => !status.is_client_error(),
            _ => true,
        };
        let mut backoff = self.policy.settings.policy().start();
        let mut wait = None;
        for _ in 0..context.attempt {
            wait = backoff.next_wait(self.policy.rng.as_ref());
        }
        match wait {
            Some(wait) if worth_it => {
                self.policy.meter.retry(Operation::Part);
                self.policy.clock.sleep(wait).await;
                true
            }
            _ => false,
        }
    }
}

/// Gives each step of an upload its deadline.
pub(super) fn wrap(
    inner: Box<dyn MultipartUpload>,
    policy: Arc<Policy>,
) -> Box<dyn MultipartUpload> {
    Box::new(Upload { inner, policy })
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    policy: Arc<Policy>,
}

impl Policy {
    /// A part and its repeats together.
    fn part_timeout(&self) -> Duration {
        let attempts = self.settings.retries_max.saturating_add(1);
        self.settings.attempt_timeout.saturating_mul(attempts)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            match timeout(policy.clock.as_ref(), policy.part_timeout(), part).await {
                Ok(result) => result,
                Err(elapsed) => Err(generic(AttemptTimedOut(elapsed.0))),
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.policy.attempt(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.policy.attempt(self.inner.abort()).await
    }
}
