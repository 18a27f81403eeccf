//! A budget of requests a second, so that a person can cap the bill.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::{Clock, MonoTime};

/// A token bucket that its owner asks; it blocks nobody. Clones share the tokens.
///
/// Inside is the one number that a bucket needs: the time at which it will be full again. A token costs
/// one interval, and may be taken while the fill time lies less than a burst ahead of now.
#[derive(Clone, Debug)]
pub struct RequestBudget {
    clock: Arc<dyn Clock>,
    interval: Duration,
    /// How far ahead of now the fill time may lie after a token was taken.
    depth: Duration,
    full_at: Arc<Mutex<MonoTime>>,
}

impl RequestBudget {
    /// `per_second` tokens a second; up to `burst` of them when nothing was taken for a while. It starts
    /// full.
    pub fn new(clock: Arc<dyn Clock>, per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / per_second.get();
        Self {
            clock,
            interval,
            depth: interval.saturating_mul(burst.get()),
            full_at: Arc::new(Mutex::new(MonoTime::START)),
        }
    }

    /// Takes a token if there is one.
    pub fn try_take(&self) -> bool {
        let now = self.clock.now();
        let mut full_at = self.full_at.lock();
        let after = (*full_at).max(now) + self.interval;
        let granted = after - now <= self.depth;
        if granted {
            *full_at = after;
        }
        granted
    }

    /// When [`RequestBudget::try_take`] will grant again, if nobody else takes before; now or earlier if
    /// it would grant at once.
    pub fn next_available(&self) -> MonoTime {
        let after = *self.full_at.lock() + self.interval;
        MonoTime::START + after.since_start().saturating_sub(self.depth)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_env::ManualClock;

    use super::*;

    fn budget(per_second: u32, burst: u32) -> (ManualClock, RequestBudget) {
        let clock = ManualClock::default();
        let per_second = NonZeroU32::new(per_second).unwrap();
        let burst = NonZeroU32::new(burst).unwrap();
        let budget = RequestBudget::new(Arc::new(clock.clone()), per_second, burst);
        (clock, budget)
    }

    #[test]
    fn a_burst_is_granted_and_then_one_a_interval() {
        let (clock, budget) = budget(4, 2);
        assert!(budget.try_take() && budget.try_take());
        assert!(!budget.try_take());
        let wait = budget.next_available() - clock.now();
        assert_eq!(wait, Duration::from_millis(250));
        clock.advance(wait.checked_sub(Duration::from_nanos(1)).unwrap());
        assert!(!budget.try_take());
        clock.advance(Duration::from_nanos(1));
        assert!(budget.try_take());
        assert!(!budget.try_take());
    }

    #[test]
    fn idle_time_saves_no_more_than_the_burst() {
        let (clock, budget) = budget(10, 3);
        clock.advance(Duration::from_hours(1));
        assert!(budget.next_available() <= clock.now());
        assert_eq!((0..100).filter(|_| budget.try_take()).count(), 3);
    }

    #[test]
    fn no_second_grants_more_than_rate_and_burst() {
        let (clock, budget) = budget(7, 2);
        let mut granted = 0;
        for _ in 0..1_000 {
            granted += usize::from(budget.try_take());
            clock.advance(Duration::from_millis(1));
        }
        assert!((7..=9).contains(&granted), "{granted}");
    }
}
