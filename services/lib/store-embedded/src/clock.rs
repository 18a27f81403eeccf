//! Our clock as `SlateDB` takes it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use tidelog_env::{Clock, MonoTime};

/// Wall time of the start and monotonic time since, so it never goes back while the process runs.
/// `SlateDB` refuses writes whose time is before that of its last write, so a clock that was set back
/// between two runs is put forward with [`raise_to`](Self::raise_to).
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    started: MonoTime,
    started_wall_millis: AtomicI64,
}

impl StoreClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        let started_wall_millis = AtomicI64::new(clock.wall().as_millis());
        Self {
            clock,
            started,
            started_wall_millis,
        }
    }

    /// From now on the clock shows at least `millis`.
    pub(crate) fn raise_to(&self, millis: i64) {
        let floor = millis.saturating_sub(self.elapsed_millis());
        self.started_wall_millis.fetch_max(floor, Ordering::Relaxed);
    }

    fn elapsed_millis(&self) -> i64 {
        let elapsed = self.clock.now().saturating_since(self.started);
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl SystemClock for StoreClock {
    fn now(&self) -> DateTime<Utc> {
        let start = self.started_wall_millis.load(Ordering::Relaxed);
        let millis = start.saturating_add(self.elapsed_millis());
        // Out of range only if the wall clock is absurd; the epoch is then as good as anything.
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.clock.sleep(duration)
    }

    fn ticker(&self, duration: Duration) -> SystemClockTicker<'_> {
        SystemClockTicker::new(self, duration)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_env::ManualClock;

    use super::*;

    #[test]
    fn time_follows_the_monotonic_clock_and_can_only_be_put_forward() {
        let manual = ManualClock::default();
        let clock = StoreClock::new(Arc::new(manual.clone()));
        manual.advance(Duration::from_secs(2));
        manual.jump_wall(-1_000_000);
        assert_eq!(clock.now().timestamp_millis(), 2_000);
        clock.raise_to(9_000);
        assert_eq!(clock.now().timestamp_millis(), 9_000);
        clock.raise_to(1_000);
        manual.advance(Duration::from_secs(1));
        assert_eq!(clock.now().timestamp_millis(), 10_000);
    }
}
