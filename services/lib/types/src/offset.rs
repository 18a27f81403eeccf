//! Offsets of records in a partition.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of a record in its partition, from 0 to `i64::MAX`, as in Kafka.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self(0);
    /// The highest offset that Kafka's signed field can carry.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Wraps a raw offset; values above [`Offset::MAX`] are clamped, since no reader could name them.
    pub const fn new(raw: u64) -> Self {
        if raw > Self::MAX.0 {
            Self::MAX
        } else {
            Self(raw)
        }
    }

    /// Reads Kafka's signed form; `None` for a negative value.
    pub const fn from_i64(raw: i64) -> Option<Self> {
        if raw < 0 {
            None
        } else {
            Some(Self(raw.cast_unsigned()))
        }
    }

    /// The raw offset.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Kafka's signed form.
    pub const fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The offset `count` records later; `None` past the end of the offset space.
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(raw) if raw <= Self::MAX.0 => Some(Self(raw)),
            _ => None,
        }
    }

    /// How many records lie in `[earlier, self)`; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A half-open run of offsets `[base, next)`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OffsetRange {
    /// The first offset in the run.
    pub base: Offset,
    /// The offset after the last one.
    pub next: Offset,
}

impl OffsetRange {
    /// Whether `offset` lies in the run.
    pub fn contains(&self, offset: Offset) -> bool {
        self.base <= offset && offset < self.next
    }

    /// How many offsets the run has.
    pub const fn count(&self) -> u64 {
        self.next.since(self.base)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.base, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_offset_passes_what_kafka_can_carry() {
        assert_eq!(Offset::new(u64::MAX), Offset::MAX);
        assert_eq!(Offset::MAX.to_i64(), i64::MAX);
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::ZERO.checked_add(u64::MAX), None);
        assert_eq!(Offset::new(7).checked_add(0), Some(Offset::new(7)));
        assert_eq!(Offset::ZERO.checked_add(i64::MAX as u64), Some(Offset::MAX));
    }

    #[test]
    fn the_signed_form_comes_back_and_a_negative_one_is_none() {
        for raw in [0, 1, i64::MAX] {
            assert_eq!(Offset::from_i64(raw).map(Offset::to_i64), Some(raw));
        }
        assert_eq!(Offset::from_i64(-1), None);
        assert_eq!(Offset::from_i64(i64::MIN), None);
    }

    #[test]
    fn a_range_holds_its_base_and_not_its_next() {
        let range = OffsetRange {
            base: Offset::new(3),
            next: Offset::new(5),
        };
        assert_eq!(
            [2, 3, 4, 5].map(|raw| range.contains(Offset::new(raw))),
            [false, true, true, false]
        );
        assert_eq!(range.count(), 2);
        assert_eq!(range.to_string(), "[3, 5)");
        let backward = OffsetRange {
            base: range.next,
            next: range.base,
        };
        assert_eq!(backward.count(), 0);
        assert!(!backward.contains(Offset::new(4)));
    }
}
