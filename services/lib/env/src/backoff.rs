//! Waits between attempts: growing, jittered, bounded in number.

use std::time::Duration;

use crate::Rng;

/// How often and how patiently something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The first wait, before jitter.
    pub initial: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// How many waits there are; after them the last error stands.
    pub retries_max: u32,
}

impl BackoffPolicy {
    /// A policy with the given bounds.
    pub const fn new(initial: Duration, max: Duration, retries_max: u32) -> Self {
        Self {
            initial,
            max,
            retries_max,
        }
    }

    /// Starts to count.
    pub const fn start(self) -> Backoff {
        Backoff {
            policy: self,
            retries: 0,
        }
    }
}

/// The state of one series of attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    retries: u32,
}

impl Backoff {
    /// How long to wait before the next attempt; `None` when there shall be no more. Each wait doubles
    /// and is drawn from its upper half, so that many clients do not come back together.
    pub fn next_wait(&mut self, rng: &dyn Rng) -> Option<Duration> {
        if self.retries >= self.policy.retries_max {
            return None;
        }
        let factor = 1_u32.checked_shl(self.retries).unwrap_or(u32::MAX);
        self.retries += 1;
        let ceiling = self
            .policy
            .initial
            .saturating_mul(factor)
            .min(self.policy.max);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(nanos / 2 + rng.below(nanos / 2 + 1)))
    }

    /// How many waits were given out.
    pub const fn retries(&self) -> u32 {
        self.retries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    #[test]
    fn waits_double_within_their_upper_half_up_to_the_maximum_and_end() {
        let rng = SeededRng::new(9);
        let policy = BackoffPolicy::new(Duration::from_millis(10), Duration::from_millis(35), 4);
        let mut backoff = policy.start();
        for ceiling in [10, 20, 35, 35] {
            let wait = backoff.next_wait(&rng).expect("four waits");
            assert!(
                wait <= Duration::from_millis(ceiling),
                "{wait:?} over {ceiling}"
            );
            assert!(
                wait * 2 >= Duration::from_millis(ceiling),
                "{wait:?} under {ceiling}/2"
            );
        }
        assert_eq!(backoff.next_wait(&rng), None);
        assert_eq!(backoff.retries(), 4);
    }
}
