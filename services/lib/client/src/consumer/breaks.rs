//! For how long a consumer that was interrupted has been trying to go on; no I/O.

use std::time::Duration;

use tidelog_env::MonoTime;

/// After so long without a break, a break is one of its own and not the next of a series.
const SERIES_GAP: Duration = Duration::from_mins(1);

/// A series of breaks with nothing read in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaks {
    /// When it is given up.
    pub(crate) deadline: MonoTime,
    /// The last one.
    last: MonoTime,
    /// The partition that broke; `None` if the stream as a whole did.
    pub(crate) partition: Option<u32>,
}

impl Breaks {
    /// The series with a break at `now`, of what was tried since `began`.
    pub(crate) fn after(
        before: Option<Self>,
        began: MonoTime,
        now: MonoTime,
        patience: Duration,
        partition: Option<u32>,
    ) -> Self {
        let before =
            before.filter(|before| now.saturating_since(before.last) < SERIES_GAP.max(patience));
        Self {
            deadline: before.map_or(began + patience, |before| before.deadline),
            last: now,
            partition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_one_deadline_and_a_late_break_begins_another() {
        let patience = Duration::from_secs(5);
        let start = MonoTime::default();
        let first = Breaks::after(None, start, start + patience / 4, patience, None);
        let later = start + patience / 2;
        let second = Breaks::after(Some(first), later, later, patience, Some(1));
        assert_eq!(second.deadline, start + patience);
        assert_eq!(second.partition, Some(1));
        let late = start + SERIES_GAP * 2;
        let third = Breaks::after(Some(second), late, late, patience, None);
        assert_eq!(third.deadline, late + patience);
    }
}
