//! A budget of bytes a second.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_env::{Clock, MonoTime};

/// What may be taken at once after a rest.
const BURST: Duration = Duration::from_secs(1);

/// Whoever takes bytes waits until those before are paid for: so nothing is too large for it, and what is taken over a
/// while keeps to the rate.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    bytes_per_second: Option<NonZeroU64>,
    paid_at: Mutex<MonoTime>,
}

impl Pace {
    pub(super) fn new(clock: Arc<dyn Clock>, bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            clock,
            bytes_per_second,
            paid_at: Mutex::new(MonoTime::START),
        }
    }

    /// Waits until these bytes may be taken. Cancel-safe, but they count as taken.
    pub(super) async fn take(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = self.clock.now();
        let begins_at = {
            let mut paid_at = self.paid_at.lock();
            let begins_at = (*paid_at).max(now);
            *paid_at = begins_at + cost;
            begins_at
        };
        let wait = (begins_at - now).saturating_sub(BURST);
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tidelog_env::ManualClock;

    use super::*;

    #[test]
    fn over_a_while_no_more_than_the_rate_and_a_burst_is_taken() {
        let clock = ManualClock::default();
        let pace = Pace::new(Arc::new(clock.clone()), NonZeroU64::new(1_000));
        let mut taken = 0;
        let mut waiting = None;
        for _ in 0..10_000 {
            loop {
                let mut take = waiting.take().unwrap_or_else(|| pace.take(150).boxed());
                if (&mut take).now_or_never().is_none() {
                    waiting = Some(take);
                    break;
                }
                taken += 150;
            }
            clock.advance(Duration::from_millis(1));
        }
        assert!((9_000..=11_300).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn without_a_rate_nobody_waits() {
        let pace = Pace::new(Arc::new(ManualClock::default()), None);
        for _ in 0..10 {
            pace.take(u64::MAX).await;
        }
    }
}
