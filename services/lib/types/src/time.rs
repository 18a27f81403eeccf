//! Wall-clock time as records carry it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, as in Kafka; -1 stands for "no timestamp".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// "No timestamp", as Kafka writes it.
    pub const NONE: Self = Self(-1);

    /// Wraps milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// In which part of all time it lies, where each part has so many milliseconds. Parts stay where they are, so what is
    /// joined within one part, and joined again, never spans more.
    pub const fn part(self, millis: i64) -> i64 {
        let millis = if millis < 1 { 1 } else { millis };
        self.0.div_euclid(millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_one_part_before_and_after_the_epoch() {
        let part = |time, millis| Timestamp::from_millis(time).part(millis);
        assert_eq!(
            [-11, -10, -1, 0, 9, 10].map(|time| part(time, 10)),
            [-2, -1, -1, 0, 0, 1]
        );
        assert_eq!(part(7, 0), 7);
        assert_eq!(part(7, i64::MIN), 7);
        assert_eq!(part(i64::MIN, -1), i64::MIN);
    }
}
