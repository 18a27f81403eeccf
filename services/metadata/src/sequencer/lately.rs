//! What the last groups have shown to hold, so that the next one need not read it again.
//!
//! A group that was committed conflicts with every change of the lease, the floors and the oldest incarnation
//! that came before it: just below its own version they are what they were. The next group may begin there,
//! without asking the store for a newer version, and conflicts with every change since. So it is as good as one
//! that reads (rules C1 and C6), and a store over the network is asked once instead of three times.
//!
//! Not at its version itself: commits of one moment may share one, and a takeover that came right behind the
//! group within it would not be later than that.
//!
//! A group that fails in this way has left no trace and is decided again, with fresh reads.

use std::collections::HashMap;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_store::Version;
use tidelog_types::{Incarnation, SegmentSequence};

use super::needed::Known;

/// How old the last group may be. Stores keep what they need to find conflicts for about five seconds.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Floors that are remembered. Of more all are read again.
const FLOORS_MAX: usize = 1_024;

/// What was seen, and at which version it last held.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    /// The last group, and when it was committed. Since the first one that is known here, the row of the
    /// lease has not changed.
    last: Option<Seen>,
    oldest_live: Option<(Incarnation, Seen)>,
    floors: HashMap<Incarnation, (SegmentSequence, Seen)>,
}

/// When something was seen, by the store and by the clock.
#[derive(Clone, Copy, Debug)]
struct Seen {
    version: Version,
    at: MonoTime,
}

impl Lately {
    /// Forgets everything: the row of the lease changes, or it is not known what has happened.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a group that was committed and conflicts with changes of what it knew.
    pub(crate) fn committed(&mut self, version: Version, now: MonoTime, known: &Known) {
        let seen = Seen {
            version: Version::new(version.get().saturating_sub(1)),
            at: now,
        };
        self.last = Some(seen);
        if let Some(oldest_live) = known.oldest_live {
            self.oldest_live = Some((oldest_live, seen));
        }
        if self.floors.len() + known.floors.len() > FLOORS_MAX {
            self.floors.clear();
        }
        let floors = known.floors.iter();
        self.floors
            .extend(floors.map(|(incarnation, floor)| (*incarnation, (*floor, seen))));
    }

    /// A version at which the lease was held and all of this was as it is given back here, if there is one
    /// that is not too old.
    pub(crate) fn recall(
        &self,
        now: MonoTime,
        writers: impl IntoIterator<Item = Incarnation>,
    ) -> Option<(Version, Known)> {
        let mut oldest = self.last?;
        let mut known = Known::default();
        for writer in writers {
            let (oldest_live, seen) = self.oldest_live?;
            oldest = oldest.or_before(seen);
            known.oldest_live = Some(oldest_live);
            let (floor, seen) = self.floors.get(&writer)?;
            oldest = oldest.or_before(*seen);
            known.floors.insert(writer, *floor);
        }
        let is_fresh = now.saturating_since(oldest.at) <= AGE_MAX;
        is_fresh.then_some((oldest.version, known))
    }
}

impl Seen {
    fn or_before(self, other: Self) -> Self {
        if other.version < self.version {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn writer(number: u64) -> Incarnation {
        Incarnation::new(number)
    }

    fn known(floors: &[(u64, u64)]) -> Known {
        let floors = floors
            .iter()
            .map(|(number, floor)| (writer(*number), SegmentSequence::new(*floor)));
        Known {
            oldest_live: Some(writer(1)),
            floors: floors.collect(),
            ..Known::default()
        }
    }

    fn version_of(lately: &Lately, now: MonoTime, writers: &[u64]) -> Option<u64> {
        let recalled = lately.recall(now, writers.iter().copied().map(writer));
        recalled.map(|(version, _)| version.get())
    }

    #[test]
    fn a_group_begins_where_all_that_it_needs_was_last_seen() {
        let start = MonoTime::default();
        let mut lately = Lately::default();
        assert_eq!(version_of(&lately, start, &[]), None);
        lately.committed(Version::new(10), start, &known(&[(1, 5), (2, 6)]));
        lately.committed(Version::new(20), start + SECOND / 2, &known(&[(2, 7)]));
        let now = start + SECOND;
        assert_eq!(version_of(&lately, now, &[2]), Some(19));
        assert_eq!(version_of(&lately, now, &[1, 2]), Some(9));
        assert_eq!(version_of(&lately, now, &[2, 3]), None, "never seen");
        let (_, seen) = lately.recall(now, [writer(1), writer(2)]).expect("both");
        let floor = |number| seen.floors.get(&writer(number)).map(|floor| floor.get());
        assert_eq!((floor(1), floor(2)), (Some(5), Some(7)));
        let later = now + SECOND / 4;
        assert_eq!(version_of(&lately, later, &[2]), Some(19));
        assert_eq!(version_of(&lately, later, &[1, 2]), None, "one is too old");
        assert_eq!(version_of(&lately, now + SECOND, &[2]), None, "too old");
        lately.forget();
        assert_eq!(version_of(&lately, now, &[]), None);
    }
}
