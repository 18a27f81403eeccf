//! A walk over all names of a shard, some at a time, for those that nobody asks for.

use std::time::Duration;

use tidelog_env::MonoTime;

/// Names that are looked at together.
pub(crate) const SWEEP_PAGE: usize = 100;
/// Names that are read into memory at a time; the sweep waits for them.
const LOADING_MAX: usize = 100;
/// After a failure the sweep is tried again.
pub(crate) const SWEEP_RETRY: Duration = Duration::from_secs(30);

/// How far a sweep is, and when the next one begins.
#[derive(Debug)]
pub(crate) struct Sweep<N> {
    next: Option<MonoTime>,
    /// When the first name that was seen may be looked at again.
    due: Option<Duration>,
    /// Where to go on, if it is not at its end.
    rest: Option<Rest<N>>,
    is_reading: bool,
}

/// Where a sweep goes on.
#[derive(Debug)]
pub(crate) enum Rest<N> {
    /// At the first name.
    Beginning,
    /// Behind this one.
    After(N),
}

impl<N> Rest<N> {
    /// The name to go on behind, if there is one.
    pub(crate) const fn after(&self) -> Option<&N> {
        match self {
            Self::Beginning => None,
            Self::After(name) => Some(name),
        }
    }
}

impl<N> Default for Sweep<N> {
    fn default() -> Self {
        Self {
            next: None,
            due: None,
            rest: None,
            is_reading: false,
        }
    }
}

impl<N> Sweep<N> {
    /// When the next sweep begins, if one is due.
    pub(crate) const fn next(&self) -> Option<MonoTime> {
        self.next
    }

    /// Begins one, unless one is under way.
    pub(crate) fn begin(&mut self) {
        self.next = None;
        if !self.is_under_way() {
            self.rest = Some(Rest::Beginning);
        }
    }

    /// Where to read on now: nowhere while a page is being read, or while very many names are.
    pub(crate) fn read_on(&mut self, loading: usize) -> Option<Rest<N>> {
        if self.is_reading || loading >= LOADING_MAX {
            return None;
        }
        let rest = self.rest.take()?;
        self.is_reading = true;
        Some(rest)
    }

    /// A page was read. There may be more behind its last name, if that is given.
    pub(crate) fn has_read(&mut self, last: Option<N>) {
        self.is_reading = false;
        self.rest = last.map(Rest::After);
    }

    /// A page could not be read: the sweep begins anew, later.
    pub(crate) fn has_failed(&mut self, now: MonoTime) {
        self.is_reading = false;
        self.due = None;
        self.next = Some(now + SWEEP_RETRY);
    }

    /// A name may be looked at so long from now, but the next sweep begins no earlier than after `interval`.
    pub(crate) fn note(&mut self, now: MonoTime, due: Duration, interval: Duration) {
        if self.is_under_way() {
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
        } else {
            self.begin_at(now + due.max(interval));
        }
    }

    /// As [`Sweep::note`] for something that was not to be had and is tried again soon.
    pub(crate) fn note_retry(&mut self, now: MonoTime, interval: Duration) {
        if self.is_under_way() {
            self.note(now, SWEEP_RETRY, interval);
        } else {
            self.begin_at(now + SWEEP_RETRY);
        }
    }

    /// Sets the time of the next one if all was looked at.
    pub(crate) fn end(&mut self, now: MonoTime, interval: Duration) {
        if !self.is_under_way()
            && let Some(due) = self.due.take()
        {
            self.note(now, due, interval);
        }
    }

    fn begin_at(&mut self, at: MonoTime) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    const fn is_under_way(&self) -> bool {
        self.is_reading || self.rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> MonoTime {
        MonoTime::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_sweep_reads_page_after_page_and_begins_again_when_the_first_name_is_due() {
        let mut sweep = Sweep::default();
        assert!(sweep.read_on(0).is_none(), "none has begun");
        sweep.begin();
        assert!(sweep.read_on(LOADING_MAX).is_none(), "much is being read");
        let first = sweep.read_on(0).expect("the first page");
        assert_eq!(first.after(), None);
        assert!(sweep.read_on(0).is_none(), "a page is being read");
        sweep.note(at(1), Duration::from_mins(5), INTERVAL);
        sweep.has_read(Some("m"));
        sweep.end(at(1), INTERVAL);
        assert_eq!(sweep.next(), None, "it is not at its end");
        let second = sweep.read_on(0).expect("the second page");
        assert_eq!(second.after(), Some(&"m"));
        sweep.note(at(2), Duration::from_secs(200), INTERVAL);
        sweep.has_read(None);
        sweep.end(at(2), INTERVAL);
        assert_eq!(sweep.next(), Some(at(202)));
        sweep.note(at(3), Duration::ZERO, INTERVAL);
        assert_eq!(sweep.next(), Some(at(63)), "not before the interval");
    }

    #[test]
    fn a_sweep_that_fails_begins_anew_and_what_was_not_to_be_had_is_tried_soon() {
        let mut sweep = Sweep::<&str>::default();
        sweep.begin();
        sweep.read_on(0).expect("the first page");
        sweep.has_failed(at(1));
        assert_eq!(sweep.next(), Some(at(31)));
        sweep.begin();
        assert!(sweep.read_on(0).is_some_and(|rest| rest.after().is_none()));
        sweep.has_read(None);
        sweep.end(at(2), INTERVAL);
        assert_eq!(sweep.next(), None, "nothing is due");
        sweep.note_retry(at(3), INTERVAL);
        assert_eq!(sweep.next(), Some(at(33)));
    }
}
