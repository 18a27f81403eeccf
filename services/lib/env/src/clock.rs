//! Time as an argument. Measure with monotonic time, store wall time, never compare across processes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidelog_types::Timestamp;
use tokio::sync::oneshot;

/// A point on the monotonic clock of this process, counted from the clock's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// The moment at which the clock was made.
    pub const START: Self = Self(Duration::ZERO);

    /// Time from the clock's creation to this point.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to this point; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for MonoTime {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> MonoTime;

    /// Wall time; it may jump in either direction.
    fn wall(&self) -> Timestamp;

    /// Ends at `deadline`, at once if it has passed. Cancel-safe.
    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()>;

    /// Ends after `duration`. Cancel-safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + duration)
    }
}

/// The deadline passed before the future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out after `{0:?}`")]
pub struct Elapsed(pub Duration);

/// Runs `future` for at most `duration` on the given clock; dropping it when time is up.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let sleep = clock.sleep(duration);
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep => Err(Elapsed(duration)),
    }
}

/// The real clock. It runs on tokio's time, so a test may pause and advance it.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    /// A clock that starts now. Outside a runtime with paused time it is the operating system's.
    pub fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> MonoTime {
        MonoTime(self.start.elapsed())
    }

    fn wall(&self) -> Timestamp {
        // A wall clock before 1970 is a broken machine; 0 keeps the order of what it writes.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.start + deadline.0))
    }
}

#[derive(Debug, Default)]
struct ManualState {
    now: Duration,
    wall_offset_millis: i64,
    /// Sleepers by (deadline, ticket), so that two with one deadline wake in the order they came.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    tickets: u64,
}

/// A clock that moves only when told to. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

impl ManualClock {
    /// A clock that stands at its start, with wall time `wall`.
    pub fn new(wall: Timestamp) -> Self {
        let clock = Self::default();
        clock.state.lock().wall_offset_millis = wall.as_millis();
        clock
    }

    /// Moves both clocks on and wakes the sleepers whose time has come, in the order of their deadlines.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.now += by;
        let now = state.now;
        while let Some(entry) = state.sleepers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            // A sleeper that went away needs no wake.
            let _ = entry.remove().send(());
        }
    }

    /// Makes wall time jump, in either direction, while monotonic time stands.
    pub fn jump_wall(&self, by_millis: i64) {
        let mut state = self.state.lock();
        state.wall_offset_millis = state.wall_offset_millis.saturating_add(by_millis);
    }

    /// How many sleepers wait; lets a test see that the code under test has gone to sleep.
    pub fn sleepers(&self) -> usize {
        let mut state = self.state.lock();
        state.sleepers.retain(|_, sender| !sender.is_closed());
        state.sleepers.len()
    }

    /// The deadline of the sleeper that wakes first.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let mut state = self.state.lock();
        state.sleepers.retain(|_, sender| !sender.is_closed());
        state
            .sleepers
            .keys()
            .next()
            .map(|(deadline, _)| MonoTime(*deadline))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> MonoTime {
        MonoTime(self.state.lock().now)
    }

    fn wall(&self) -> Timestamp {
        let state = self.state.lock();
        let elapsed = i64::try_from(state.now.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(state.wall_offset_millis.saturating_add(elapsed))
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock();
        if deadline.0 <= state.now {
            return Box::pin(std::future::ready(()));
        }
        let (sender, receiver) = oneshot::channel();
        state.tickets += 1;
        let ticket = state.tickets;
        state.sleepers.insert((deadline.0, ticket), sender);
        Box::pin(async move {
            // The sender goes only when the clock itself does; then nobody can say that time has come.
            if receiver.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_in_order_of_deadline_and_not_before() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000));
        let mut late = clock.sleep(Duration::from_secs(2));
        let mut soon = clock.sleep(Duration::from_secs(1));
        assert_eq!(clock.sleepers(), 2);
        clock.advance(Duration::from_millis(999));
        assert!(futures::poll!(&mut soon).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(futures::poll!(&mut soon).is_ready());
        assert!(futures::poll!(&mut late).is_pending());
        assert_eq!(clock.wall(), Timestamp::from_millis(2_000));
        clock.jump_wall(-5_000);
        assert_eq!(clock.wall(), Timestamp::from_millis(-3_000));
        assert_eq!(clock.now().since_start(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_timeout_ends_with_the_output_or_with_elapsed() {
        let clock = ManualClock::default();
        assert_eq!(
            timeout(&clock, Duration::from_secs(1), async { 7 }).await,
            Ok(7)
        );
        let waiting = timeout(&clock, Duration::from_secs(1), std::future::pending::<()>());
        let mut waiting = Box::pin(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting.await, Err(Elapsed(Duration::from_secs(1))));
    }
}
