//! Leaves a reader alone that does not answer well.

use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::MonoTime;

/// How long a reader is left alone after the first failure; it doubles with each further one.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is known of how well a reader answers.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since it last answered well.
    failures: u32,
    /// It is left alone until then.
    until: MonoTime,
    /// One that tries whether it is well again has begun, and when.
    trial: Option<MonoTime>,
}

impl Breaker {
    /// Whether the reader may be asked now. Of those who come after it was left alone, one may try.
    pub(crate) fn admits(&self, now: MonoTime) -> bool {
        let mut state = self.state.lock();
        if state.failures == 0 {
            return true;
        }
        // A trial that was given up says nothing.
        let is_tried = state.trial.is_some_and(|since| now - since < WAIT_MAX);
        if now < state.until || is_tried {
            return false;
        }
        state.trial = Some(now);
        true
    }

    /// It answered well.
    pub(crate) fn on_success(&self) {
        *self.state.lock() = State::default();
    }

    /// It did not. Those that were asked before it was left alone count once.
    pub(crate) fn on_failure(&self, now: MonoTime) {
        let mut state = self.state.lock();
        if now < state.until {
            return;
        }
        let doubled = 1_u32 << state.failures.min(16);
        state.until = now + WAIT_MIN.saturating_mul(doubled).min(WAIT_MAX);
        state.failures = state.failures.saturating_add(1);
        state.trial = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime::START + Duration::from_millis(millis)
    }

    #[test]
    fn a_reader_that_failed_is_left_alone_longer_each_time_and_then_tried_once() {
        let breaker = Breaker::default();
        assert!(breaker.admits(at(0)));
        breaker.on_failure(at(0));
        assert!(!breaker.admits(at(199)));
        assert!(breaker.admits(at(200)));
        assert!(!breaker.admits(at(200)), "one tries");
        breaker.on_failure(at(300));
        assert!(!breaker.admits(at(699)));
        assert!(breaker.admits(at(700)));
        breaker.on_success();
        assert!(breaker.admits(at(701)) && breaker.admits(at(701)));
        breaker.on_failure(at(800));
        assert!(breaker.admits(at(1_000)), "it begins anew");
    }

    #[test]
    fn failures_at_the_same_time_are_one() {
        let breaker = Breaker::default();
        for _ in 0..50 {
            breaker.on_failure(at(0));
        }
        assert!(breaker.admits(at(200)));
    }

    #[test]
    fn it_is_never_left_alone_for_ever() {
        let breaker = Breaker::default();
        let mut now = 0;
        for _ in 0..100 {
            breaker.on_failure(at(now));
            now += 30_000;
            assert!(breaker.admits(at(now)));
        }
        // Nor when whoever tried was given up.
        breaker.on_failure(at(now));
        assert!(breaker.admits(at(now + 30_000)));
        assert!(breaker.admits(at(now + 60_000)));
    }
}
