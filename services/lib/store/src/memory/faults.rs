//! Faults of the memory store, by the number of the call that they hit.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use crate::{Cause, StoreError};

/// The cause of every injected error.
#[derive(Clone, Copy, Debug, Error)]
#[error("fault injected by a test")]
struct Injected;

pub(super) fn injected() -> Cause {
    Arc::new(Injected)
}

/// What really happens to a commit whose outcome is reported as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It happened before the error was returned, unless it conflicted.
    Now,
    /// It never happens.
    Never,
    /// It happens after the error was returned, if its conflict check then passes: right before the
    /// commit that follows the next `after_commits` ones, or when
    /// [`MemoryStore::land_delayed`](super::MemoryStore::land_delayed) is called.
    Later {
        /// How many other commits come first.
        after_commits: u32,
    },
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// As if another commit had been faster.
    Conflict,
    /// As if it had taken too long.
    TooOld,
    /// It does not happen.
    Unavailable,
    /// The outcome is unknown to the caller.
    Unknown(Landing),
    /// The writer's role is lost, for good.
    Fenced,
}

#[derive(Debug)]
struct Calls<F> {
    seen: u64,
    faults: BTreeMap<u64, F>,
}

impl<F> Default for Calls<F> {
    fn default() -> Self {
        Self {
            seen: 0,
            faults: BTreeMap::new(),
        }
    }
}

impl<F> Calls<F> {
    fn plan(&mut self, nth: u64, fault: F) {
        self.faults.insert(self.seen + nth, fault);
    }

    fn next(&mut self) -> Option<F> {
        let call = self.seen;
        self.seen += 1;
        self.faults.remove(&call)
    }
}

/// Faults to come, shared by all handles of a store. `nth` counts calls from now: 0 is the next one.
#[derive(Debug, Default)]
pub struct FaultPlan {
    begins: Mutex<Calls<StoreError>>,
    gets: Mutex<Calls<StoreError>>,
    commits: Mutex<Calls<CommitFault>>,
}

impl FaultPlan {
    /// Makes the nth `begin` fail with `error`.
    pub fn fail_begin(&self, nth: u64, error: StoreError) {
        self.begins.lock().plan(nth, error);
    }

    /// Makes the nth read of the snapshot (a `get`, or a page of a scan) fail with `error`.
    pub fn fail_get(&self, nth: u64, error: StoreError) {
        self.gets.lock().plan(nth, error);
    }

    /// Makes the nth commit that has writes fail.
    pub fn fail_commit(&self, nth: u64, fault: CommitFault) {
        self.commits.lock().plan(nth, fault);
    }

    /// An error as an unreachable store gives it.
    pub fn unavailable() -> StoreError {
        StoreError::Unavailable(injected())
    }

    /// Takes back every fault that has not happened yet.
    pub fn clear(&self) {
        self.begins.lock().faults.clear();
        self.gets.lock().faults.clear();
        self.commits.lock().faults.clear();
    }

    pub(super) fn next_begin(&self) -> Result<(), StoreError> {
        self.begins.lock().next().map_or(Ok(()), Err)
    }

    pub(super) fn next_get(&self) -> Result<(), StoreError> {
        self.gets.lock().next().map_or(Ok(()), Err)
    }

    pub(super) fn next_commit(&self) -> Option<CommitFault> {
        self.commits.lock().next()
    }
}
