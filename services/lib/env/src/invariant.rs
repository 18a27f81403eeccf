//! Names for what must always hold, so that code, tests, logs and docs speak of the same thing.

use std::fmt;

/// An invariant of the design. `docs/architecture.md` states each in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvariantId {
    /// Acknowledged means durable.
    I1,
    /// Offsets are dense in commit order, never reused, never reordered.
    I2,
    /// One offset has one content for ever.
    I3,
    /// A fenced owner, broker or producer can change nothing.
    I4,
    /// No object that an extent names is deleted; no orphan lives for ever.
    I5,
    /// Bytes that fail their checksum are reported, never served, never skipped.
    I6,
    /// Memory is bounded by configuration.
    I7,
    /// An idle one-process cluster makes no request to the bucket.
    I8,
}

impl fmt::Display for InvariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Checks an invariant in production too: to go on after a broken one would turn a bug into lost data.
///
/// The task that breaks it panics; its supervisor makes that the end of the process.
#[macro_export]
macro_rules! invariant {
    ($id:ident, $condition:expr, $($message:tt)+) => {
        assert!(
            $condition,
            "invariant {} broken: {}",
            $crate::InvariantId::$id,
            format_args!($($message)+)
        )
    };
}
