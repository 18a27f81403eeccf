//! How commits are asked about again that the metadata service has not answered.

use std::time::Duration;

use tidelog_env::{Backoff, BackoffPolicy, Env};
use tidelog_metadata_api::CommitError;

/// Waits, and one line in the log for each time that the metadata service is away.
#[derive(Debug)]
pub(super) struct CommitRetries {
    policy: BackoffPolicy,
    is_told: bool,
}

impl CommitRetries {
    pub(super) const fn new(policy: BackoffPolicy) -> Self {
        Self {
            policy,
            is_told: false,
        }
    }

    /// Takes note of an answer that is none. That an earlier segment comes first is no news: whatever
    /// keeps that one is told of it.
    pub(super) fn on_error(&mut self, error: &CommitError) {
        let is_news = !self.is_told && !matches!(error, CommitError::Early { .. });
        if is_news {
            self.is_told = true;
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "commit is not answered yet, asking again");
        }
    }

    /// Takes note that the metadata service answers.
    pub(super) const fn on_answer(&mut self) {
        self.is_told = false;
    }

    /// How long a segment waits before it is asked about again. There is no last attempt: a commit that
    /// may have happened is never given up (rule C5).
    pub(super) fn next_wait(&self, backoff: &mut Backoff, env: &Env) -> Duration {
        backoff
            .next_wait(env.rng.as_ref())
            .unwrap_or(self.policy.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_never_end() {
        let policy = BackoffPolicy::new(Duration::from_millis(1), Duration::from_millis(2), 1);
        let retries = CommitRetries::new(policy);
        let mut backoff = policy.start();
        let env = Env::seeded(1);
        retries.next_wait(&mut backoff, &env);
        assert_eq!(retries.next_wait(&mut backoff, &env), policy.max);
        assert_eq!(retries.next_wait(&mut backoff, &env), policy.max);
    }

    #[test]
    fn an_absence_is_told_once_and_a_turn_that_has_not_come_never() {
        let mut retries = CommitRetries::new(BackoffPolicy::new(Duration::ZERO, Duration::ZERO, 1));
        let after = tidelog_types::SegmentName::default();
        retries.on_error(&CommitError::Early { after });
        assert!(!retries.is_told);
        retries.on_error(&CommitError::Unknown);
        assert!(retries.is_told);
        retries.on_answer();
        assert!(!retries.is_told);
    }
}
