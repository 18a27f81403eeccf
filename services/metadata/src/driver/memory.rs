//! The memory of what coordinators of one kind keep in a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// One part in so many is kept for those whose request completes something, such as members that are there already,
/// beside what the settings say.
pub(crate) const KEPT_SHARE: usize = 4;

/// What all of them and all that waits for them may take. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    max: usize,
    /// What people see of it.
    shown: Gauge,
}

/// Bytes that are counted while it lives.
#[derive(Debug)]
pub(crate) struct Hold {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(max: usize, shown: Gauge) -> Self {
        let used = AtomicUsize::new(0);
        Self(Arc::new(Inner { used, max, shown }))
    }

    /// Counts bytes if there is room for them.
    pub(crate) fn try_hold(&self, bytes: usize) -> Option<Hold> {
        let hold = self.hold(bytes);
        (self.0.used.load(Ordering::Relaxed) <= self.0.max).then_some(hold)
    }

    /// The same out of what is kept for requests that complete something.
    pub(crate) fn try_hold_last(&self, bytes: usize) -> Option<Hold> {
        let hold = self.hold(bytes);
        let max = self.0.max + self.0.max / KEPT_SHARE;
        (self.0.used.load(Ordering::Relaxed) <= max).then_some(hold)
    }

    /// Counts bytes that there are, whether there is room or not.
    pub(crate) fn hold(&self, bytes: usize) -> Hold {
        self.0.add(bytes);
        Hold {
            memory: self.clone(),
            bytes,
        }
    }
}

impl Inner {
    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.shown.inc_by(shown(bytes));
    }

    fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.shown.dec_by(shown(bytes));
    }
}

fn shown(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Hold {
    /// Counts so many bytes from now on.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let memory = &self.memory.0;
        if bytes >= self.bytes {
            memory.add(bytes - self.bytes);
        } else {
            memory.remove(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.memory.0.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let memory = Memory::new(10, Gauge::default());
        let mut first = memory.try_hold(6).expect("there is room");
        assert!(memory.try_hold(5).is_none());
        assert_eq!(memory.0.shown.get(), 6);
        first.resize(2);
        let second = memory.try_hold(8).expect("there is room now");
        assert_eq!(memory.0.shown.get(), 10);
        drop((first, second));
        assert_eq!(memory.0.shown.get(), 0);
        assert_eq!(memory.0.used.load(Ordering::Relaxed), 0);
    }
}
