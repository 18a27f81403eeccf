//! When it is looked for what may be deleted. Nothing here does I/O.

use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::Timestamp;

/// What was handed out and not reported is handed out again after this.
const LEASE: Duration = Duration::from_mins(2);
/// What a backup needs is not looked at again before.
const PINNED: Duration = Duration::from_hours(1);
/// The wall clock may jump: nobody sleeps longer without a look at it.
const SLEEP_MAX: Duration = Duration::from_hours(1);
/// What other processes have changed is seen after so long.
const SHARED_INTERVAL: Duration = Duration::from_mins(1);
/// Passes are this part of the grace period apart, but neither closer nor further than the next two say.
const PASSES: u32 = 10;
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// When the next pass is due, and what is handed out.
#[derive(Debug)]
pub(super) struct Plan {
    interval: Duration,
    is_shared: bool,
    /// The news that there were when the last pass began; none before the first one.
    heard: Option<u64>,
    begun_at: Option<MonoTime>,
    is_passing: bool,
    /// What is handed out is not looked for before.
    not_before: MonoTime,
    /// How much is handed out.
    open: usize,
    /// When something that was seen is due, by what the pass has seen so far.
    due: Option<MonoTime>,
    /// What was left out is tried again.
    retry: Option<MonoTime>,
    oldest: Option<Timestamp>,
    /// How many dead segments the pass has seen that lie in the store.
    pub(super) in_store: i64,
}

fn first(one: Option<MonoTime>, other: MonoTime) -> MonoTime {
    one.map_or(other, |one| one.min(other))
}

impl Plan {
    pub(super) fn new(grace: Duration, is_shared: bool) -> Self {
        Self {
            interval: (grace / PASSES).clamp(INTERVAL_MIN, INTERVAL_MAX),
            is_shared,
            heard: None,
            begun_at: None,
            is_passing: false,
            not_before: MonoTime::START,
            open: 0,
            due: None,
            retry: None,
            oldest: None,
            in_store: 0,
        }
    }

    /// When there is something to do; never where nothing is due (invariant I8).
    pub(super) fn deadline(&self, heard: u64) -> Option<MonoTime> {
        if self.is_passing {
            return Some(self.not_before);
        }
        let Some(begun_at) = self.begun_at else {
            return Some(MonoTime::START);
        };
        let mut at = self.due.into_iter().chain(self.retry).min();
        if self.heard != Some(heard) {
            at = Some(first(at, begun_at));
        }
        if self.is_shared {
            at = Some(first(at, begun_at + SHARED_INTERVAL));
        }
        at.map(|at| at.max(begun_at + self.interval).max(self.not_before))
    }

    pub(super) fn is_due(&self, heard: u64, now: MonoTime) -> bool {
        self.deadline(heard).is_some_and(|at| at <= now)
    }

    /// A pass begins.
    pub(super) fn begin(&mut self, heard: u64, now: MonoTime) {
        self.heard = Some(heard);
        self.begun_at = Some(now);
        self.is_passing = true;
        self.due = None;
        self.retry = None;
        self.oldest = None;
        self.in_store = 0;
        self.give_up(now);
    }

    /// A step has seen something that is due then, and the first of dead segments.
    pub(super) fn note(
        &mut self,
        now: MonoTime,
        wall: Timestamp,
        due: Option<Timestamp>,
        oldest: Option<Timestamp>,
    ) {
        self.give_up(now);
        if let Some(due) = due {
            let wait = due.as_millis().saturating_sub(wall.as_millis());
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            self.due = Some(first(self.due, now + wait.min(SLEEP_MAX)));
        }
        self.oldest = self.oldest.into_iter().chain(oldest).min();
    }

    /// The pass is over. Returns since when the first segment that it has seen is dead.
    pub(super) fn end(&mut self) -> Option<Timestamp> {
        self.is_passing = false;
        self.oldest
    }

    /// So much is handed out.
    pub(super) fn hand_out(&mut self, count: usize, now: MonoTime) {
        self.open = count;
        self.not_before = now + LEASE;
    }

    /// So much of it is done.
    pub(super) fn done(&mut self, count: usize, is_pinned: bool, now: MonoTime) {
        if count < self.open {
            self.retry(now + if is_pinned { PINNED } else { LEASE });
        }
        self.open = 0;
        self.not_before = now;
    }

    /// Something is tried again then.
    pub(super) fn retry(&mut self, at: MonoTime) {
        self.retry = Some(first(self.retry, at));
    }

    /// Of what is handed out nobody has said what became of it in time.
    fn give_up(&mut self, now: MonoTime) {
        if self.open > 0 {
            self.open = 0;
            self.retry(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::START + Duration::from_secs(seconds)
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn passed(plan: &mut Plan, now: u64, due: Option<i64>) {
        plan.begin(7, at(now));
        plan.note(at(now), wall(0), due.map(wall), None);
        plan.end();
    }

    #[test]
    fn nothing_is_looked_for_where_nothing_is_due() {
        let mut plan = Plan::new(Duration::from_mins(10), false);
        assert_eq!(plan.deadline(7), Some(MonoTime::START));
        passed(&mut plan, 100, None);
        assert_eq!(plan.deadline(7), None);
        // News come together, and what is due waits for its time.
        assert_eq!(plan.deadline(8), Some(at(160)));
        passed(&mut plan, 100, Some(300));
        assert_eq!(plan.deadline(7), Some(at(400)));
        let mut shared = Plan::new(Duration::from_mins(10), true);
        passed(&mut shared, 100, None);
        assert_eq!(shared.deadline(7), Some(at(160)));
    }

    #[test]
    fn what_is_not_reported_is_looked_for_again() {
        for (done, is_pinned, expected) in [
            (Some(2), false, None),
            (Some(1), false, Some(at(221))),
            (Some(1), true, Some(at(3_701))),
            (None, false, Some(at(160))),
        ] {
            let mut plan = Plan::new(Duration::from_mins(10), false);
            plan.begin(7, at(100));
            plan.note(at(100), wall(0), None, None);
            plan.hand_out(2, at(100));
            assert_eq!(plan.deadline(7), Some(at(220)), "nobody else gets it");
            if let Some(done) = done {
                plan.done(done, is_pinned, at(101));
            }
            plan.note(at(102), wall(0), None, None);
            plan.end();
            plan.not_before = MonoTime::START;
            assert_eq!(plan.deadline(7), expected, "{done:?} {is_pinned}");
        }
    }
}
