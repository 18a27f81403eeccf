//! Several who read the same history at once: those in front wait for who has fallen behind.
//!
//! Memory for pages of old data is small beside a history. Who is farther behind the others than it reaches finds none of their
//! pages any more and needs a request for each of its own; it is no faster than they are, and so it stays behind to the end.
//! That it asks for a page which was fetched a moment ago tells of it. Then nobody fetches a page that is new until it is
//! back, or has had its time: of two stretches of time it has one at most, so who is slow does not make others so.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_cache::{PAGE_BYTES, PageKey};
use tidelog_env::{Clock, MonoTime};

/// How many times as many pages as there is memory for are remembered when they have gone: who is farther behind reads
/// for itself. And how many at most.
const REMEMBERED: usize = 4;
const REMEMBERED_MAX: usize = 8_192;
/// And for how long: who comes later does not belong to those who read at the same time.
const LATELY: Duration = Duration::from_secs(10);
/// Who has fallen behind has its page by this time, or the others go on.
const PATIENCE: Duration = Duration::from_millis(500);
/// And when it has it, it asks for the next one within this time.
const GRACE: Duration = Duration::from_millis(50);
/// The longest that others wait, and that they do not wait afterwards.
const STRETCH: Duration = Duration::from_secs(2);

/// Pages of old data that were fetched, and who waits for whom. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Herd {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    remembered: usize,
}

#[derive(Debug, Default)]
struct State {
    /// When each was fetched last.
    fetched: HashMap<PageKey, MonoTime>,
    /// The oldest first. One that was fetched again is there once more.
    order: VecDeque<(PageKey, MonoTime)>,
    /// When the others began to wait, and until when they do.
    since: MonoTime,
    until: MonoTime,
    /// Before this they do not wait again.
    not_before: MonoTime,
}

impl State {
    /// Whether somebody else had a page a moment ago.
    fn had(&self, page: &PageKey, now: MonoTime) -> bool {
        let at = self.fetched.get(page);
        at.is_some_and(|at| now.saturating_since(*at) <= LATELY)
    }

    /// Somebody has fallen behind: the others wait for so long.
    fn call(&mut self, now: MonoTime, time: Duration) {
        if now < self.not_before {
            return;
        }
        if now > self.until {
            self.since = now;
        }
        if now.saturating_since(self.since) >= STRETCH {
            self.not_before = now + STRETCH;
            self.until = now;
        } else {
            self.until = now + time;
        }
    }

    fn remember(&mut self, page: PageKey, now: MonoTime, most: usize) {
        self.fetched.insert(page, now);
        self.order.push_back((page, now));
        while let Some((oldest, at)) = self.order.front()
            && (self.order.len() > most || now.saturating_since(*at) > LATELY)
        {
            if self.fetched.get(oldest) == Some(at) {
                self.fetched.remove(oldest);
            }
            self.order.pop_front();
        }
    }
}

impl Herd {
    /// Those who read through memory for so many bytes of old data.
    pub(crate) fn new(clock: Arc<dyn Clock>, pool_bytes: u64) -> Self {
        let pages = usize::try_from(pool_bytes / u64::from(PAGE_BYTES)).unwrap_or(usize::MAX);
        Self {
            state: Arc::default(),
            clock,
            remembered: pages.saturating_mul(REMEMBERED).min(REMEMBERED_MAX),
        }
    }

    /// Waits until a page may be fetched; whether it did.
    pub(super) async fn begin(&self, page: &PageKey) -> bool {
        let mut has_waited = false;
        loop {
            let now = self.clock.now();
            let until = {
                let mut state = self.state.lock();
                if state.had(page, now) {
                    state.call(now, PATIENCE);
                    return has_waited;
                }
                state.until
            };
            if now >= until {
                return has_waited;
            }
            has_waited = true;
            // It may be there before.
            self.clock.sleep_until(until.min(now + GRACE)).await;
        }
    }

    /// Takes note that a page is there now.
    pub(super) fn end(&self, page: PageKey) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.had(&page, now) {
            state.call(now, GRACE);
        }
        state.remember(page, now, self.remembered);
    }
}

#[cfg(test)]
mod tests {
    use tidelog_types::{BucketId, Incarnation, SegmentName, SegmentSequence};

    use super::*;

    fn page(number: u32) -> PageKey {
        let segment = SegmentName::new(Incarnation::new(1), SegmentSequence::new(1));
        PageKey::new(BucketId::new(0), segment, number)
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::START + Duration::from_millis(1_000_000 + millis)
    }

    #[test]
    fn what_was_fetched_is_remembered_for_a_while_and_up_to_a_number() {
        let mut state = State::default();
        for number in 0..5 {
            state.remember(page(number), at(0), 4);
        }
        let had = |state: &State, number, now| state.had(&page(number), at(now));
        assert!(!had(&state, 0, 1), "there are four later ones");
        assert!(had(&state, 1, 1) && had(&state, 4, 10_000));
        assert!(!had(&state, 4, 10_001));
        state.remember(page(1), at(5_000), 4);
        assert!(!had(&state, 2, 15_000) && had(&state, 1, 15_000));
        state.remember(page(9), at(16_000), 4);
        assert_eq!((state.fetched.len(), state.order.len()), (1, 1));
    }

    #[test]
    fn others_wait_as_long_as_who_is_behind_asks_but_no_longer_than_half_of_the_time() {
        let mut state = State::default();
        state.call(at(0), GRACE);
        assert_eq!(state.until, at(50));
        state.call(at(40), GRACE);
        assert_eq!(state.until, at(90));
        // Nobody has asked for a while: that was it.
        state.call(at(1_990), GRACE);
        assert_eq!((state.since, state.until), (at(1_990), at(2_040)));
        let mut now = 2_030;
        while state.not_before == MonoTime::START {
            state.call(at(now), GRACE);
            now += 10;
        }
        assert_eq!(state.until, at(3_990), "there is a longest time");
        state.call(at(5_980), GRACE);
        assert_eq!(state.until, at(3_990), "and then others have as long");
        state.call(at(5_990), GRACE);
        assert_eq!(state.until, at(6_040));
    }
}
