//! What is allowed, and what time it is.

use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::Timestamp;

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest that a transaction may be open.
    pub timeout_max: Duration,
    /// After so long without a transaction an id is forgotten.
    pub expiry: Duration,
    /// Partitions of one transaction, at most. With twelve bytes each they fit a value of the store.
    pub partitions_max: usize,
    /// Groups of one transaction, at most. A producer has one, unless it reads for many.
    pub groups_max: usize,
}

impl Default for Limits {
    /// The times are Kafka's.
    fn default() -> Self {
        Self {
            timeout_max: Duration::from_mins(15),
            expiry: Duration::from_hours(7 * 24),
            partitions_max: 5_000,
            groups_max: 64,
        }
    }
}

/// What time it is, on both clocks. Timers run on the monotonic one; the wall clock is what is stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time of this process.
    pub mono: MonoTime,
    /// Wall time; it may jump in either direction.
    pub wall: Timestamp,
}

impl Now {
    /// When something is over on this clock that began at `began` on the wall clock of whichever process and takes
    /// `length`. A wall clock that has jumped makes it neither later than `length` from now nor earlier than now.
    pub(crate) fn over(self, began: Timestamp, length: Duration) -> MonoTime {
        let passed = self.wall.as_millis().saturating_sub(began.as_millis());
        let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(0));
        self.mono + length.saturating_sub(passed)
    }
}
