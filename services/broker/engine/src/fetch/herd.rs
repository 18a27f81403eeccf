//! Several who read the same history at once: those in front wait for who has fallen behind.
//!
//! Memory for pages of old data is small beside a history. Who is farther behind the others than it reaches finds none of their
//! pages any more and needs a request for each of its own; it is no faster than they are, and so it stays behind to the end.
//! That it asks for a page which was fetched a moment ago tells of it. Then nobody begins a fetch that needs a new page until it
//! is back, or has had its time: others wait for two seconds at once and half of the time at most, whatever it does, and hold
//! no memory meanwhile.
//! Nobody knows who has fetched a page before, so who reads something else waits just as well; and who reads alone calls nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
/// The longest that others wait at once. Then they wait no longer than they have not waited.
const STRETCH: Duration = Duration::from_secs(2);

/// Pages of old data that were fetched, and who waits for whom. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Herd {
    state: Arc<Mutex<State>>,
    /// How many read old data, about.
    readers: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    remembered: usize,
}

#[derive(Debug, Default)]
struct State {
    /// When each was fetched last.
    fetched: HashMap<PageKey, MonoTime>,
    /// The oldest first. One that was fetched again is there once more.
    order: VecDeque<(PageKey, MonoTime)>,
    /// Until when the others wait.
    until: MonoTime,
    /// How long they have waited at most beyond the time that they have not, as of the last call.
    owed: Duration,
    called: MonoTime,
}

impl State {
    /// Whether somebody else had a page a moment ago.
    fn had(&self, page: &PageKey, now: MonoTime) -> bool {
        let at = self.fetched.get(page);
        at.is_some_and(|at| now.saturating_since(*at) <= LATELY)
    }

    /// Somebody has fallen behind: the others wait for so long.
    fn call(&mut self, now: MonoTime, time: Duration) {
        let waits = self.until.saturating_since(now);
        let has_not_waited = now.saturating_since(self.until.max(self.called));
        self.owed = self.owed.saturating_sub(waits + has_not_waited);
        let time = time.min(STRETCH.saturating_sub(self.owed));
        self.owed += time;
        self.until = now + time;
        self.called = now;
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
            readers: Arc::default(),
            clock,
            remembered: pages.saturating_mul(REMEMBERED).min(REMEMBERED_MAX),
        }
    }

    /// Takes note of how many read old data, about.
    pub(super) fn note_readers(&self, readers: usize) {
        self.readers.store(readers, Ordering::Relaxed);
    }

    /// Somebody begins to fetch a page.
    pub(super) fn begin(&self, page: &PageKey) {
        self.call_for(page, PATIENCE);
    }

    /// And has it.
    pub(super) fn end(&self, page: PageKey) {
        self.call_for(&page, GRACE);
        let now = self.clock.now();
        self.state.lock().remember(page, now, self.remembered);
    }

    /// Calls if a page is one that others had. Who reads alone has nobody in front.
    fn call_for(&self, page: &PageKey, time: Duration) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.had(page, now) && self.readers.load(Ordering::Relaxed) > 1 {
            state.call(now, time);
        }
    }

    /// Until when whoever wants this page is to wait, if it is to.
    fn waits_until(&self, page: &PageKey, now: MonoTime) -> Option<MonoTime> {
        let state = self.state.lock();
        (now < state.until && !state.had(page, now)).then_some(state.until)
    }

    /// Whether a page is not to be fetched now.
    pub(super) fn must_wait(&self, page: &PageKey) -> bool {
        self.waits_until(page, self.clock.now()).is_some()
    }

    /// Waits as long as one of the pages that are missing is not to be fetched; whether it did.
    pub(super) async fn wait(&self, missing: impl Fn() -> Vec<PageKey>) -> bool {
        let mut has_waited = false;
        loop {
            let now = self.clock.now();
            if now >= self.state.lock().until {
                return has_waited;
            }
            let pages = missing();
            let Some(until) = pages.iter().find_map(|page| self.waits_until(page, now)) else {
                return has_waited;
            };
            has_waited = true;
            // Who is waited for may be back before.
            self.clock.sleep_until(until.min(now + GRACE)).await;
        }
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

    /// How long others wait in a while in which somebody calls again and again.
    fn waited(millis: u64, every: u64, time: Duration) -> u64 {
        let mut state = State::default();
        let mut waited = 0;
        for now in 0..millis {
            if now % every == 0 {
                state.call(at(now), time);
            }
            waited += u64::from(at(now) < state.until);
        }
        waited
    }

    #[test]
    fn others_wait_as_long_as_who_is_behind_asks() {
        let mut state = State::default();
        state.call(at(0), PATIENCE);
        assert_eq!(state.until, at(500), "it has no page yet");
        state.call(at(40), GRACE);
        assert_eq!(state.until, at(90), "now it has");
        state.call(at(80), GRACE);
        assert_eq!(
            (state.until, state.owed),
            (at(130), Duration::from_millis(130))
        );
        state.call(at(230), GRACE);
        assert_eq!(
            state.owed,
            Duration::from_millis(80),
            "for 100 ms nobody has waited"
        );
        assert_eq!(waited(1_500, 40, GRACE), 1_500);
    }

    #[test]
    fn others_have_half_of_the_time_whatever_who_is_behind_does() {
        let cases = [
            (10, GRACE),
            (40, GRACE),
            (160, PATIENCE),
            (501, PATIENCE),
            (1_999, PATIENCE),
        ];
        for (every, time) in cases {
            let first = waited(4_000, every, time);
            assert!(
                first <= 3_000,
                "{first} ms of 4,000 with a call each {every}"
            );
            let all = waited(60_000, every, time);
            assert!(all <= 31_000, "{all} ms of 60,000 with a call each {every}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_a_new_page_waits_and_who_wants_an_old_one_or_is_alone_does_not() {
        let clock = tidelog_env::Env::seeded(1).clock;
        let herd = Herd::new(Arc::clone(&clock), 4 * u64::from(PAGE_BYTES));
        let (old, new) = (page(1), page(2));
        herd.end(old);
        herd.note_readers(1);
        herd.begin(&old);
        assert!(!herd.must_wait(&new), "it is the only one");
        herd.note_readers(2);
        herd.begin(&new);
        assert!(!herd.must_wait(&new), "nobody has had it");
        herd.begin(&old);
        assert!(herd.must_wait(&new) && !herd.must_wait(&old));
        assert!(!herd.wait(|| vec![old]).await);
        let before = clock.now();
        assert!(herd.wait(|| vec![old, new]).await);
        assert_eq!(clock.now() - before, PATIENCE);
        herd.begin(&old);
        herd.end(old);
        let before = clock.now();
        assert!(herd.wait(|| vec![new]).await);
        assert_eq!(clock.now() - before, GRACE);
    }
}
