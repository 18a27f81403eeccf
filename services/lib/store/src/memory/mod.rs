//! The store of tests and simulation: in memory, with faults on demand.
//!
//! Handles that are clones of each other share one writer role; [`MemoryStore::reopen`] takes the role
//! over, as a second process would, and fences the handles before it. Data outlives every handle but
//! the last.

mod data;
mod faults;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::faults::{CommitFault, FaultPlan, Landing};

use self::data::{Data, Delayed};
use self::faults::injected;
use crate::buffer::WriteBuffer;
use crate::occ::ReadSet;
use crate::{
    BufferedTransaction, CloseReason, CommitError, KeyRange, Limits, ScanOptions, ScanPage,
    Snapshot, Store, StoreError, Transaction, Version,
};

/// How much history a [`MemoryStore`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Keys and ranges in the conflict window. A transaction older than the window is too old.
    pub window_entries_max: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            window_entries_max: 100_000,
        }
    }
}

/// A store in memory. Clones share data, faults and the writer's role.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

struct Shared {
    data: Mutex<Data>,
    current: Mutex<Arc<Session>>,
    faults: FaultPlan,
    /// How many guards hold commits back.
    pauses: watch::Sender<usize>,
}

/// One holder of the writer's role.
#[derive(Debug)]
struct Session {
    epoch: u64,
    closed: watch::Sender<Option<CloseReason>>,
}

impl Session {
    fn new(epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            closed: watch::Sender::new(None),
        })
    }

    /// The first reason stays.
    fn close(&self, reason: CloseReason) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        });
    }

    fn check(&self) -> Result<(), StoreError> {
        match &*self.closed.borrow() {
            None => Ok(()),
            Some(CloseReason::Fenced) => Err(StoreError::Fenced),
            Some(CloseReason::Stopped | CloseReason::Failed(_)) => Err(StoreError::Closed),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_rows(MemoryOptions::default(), [])
    }

    /// A store that holds `rows`, for example those of a [`dump`](Self::dump).
    pub fn with_rows(
        options: MemoryOptions,
        rows: impl IntoIterator<Item = (Bytes, Bytes)>,
    ) -> Self {
        let session = Session::new(1);
        let shared = Shared {
            data: Mutex::new(Data::new(options.window_entries_max, rows)),
            current: Mutex::new(Arc::clone(&session)),
            faults: FaultPlan::default(),
            pauses: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(shared),
            session,
        }
    }

    /// A handle with the writer's role: fences this handle and its clones, keeps data and faults.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut current = self.shared.current.lock();
        current.close(CloseReason::Fenced);
        let session = Session::new(current.epoch + 1);
        *current = Arc::clone(&session);
        Self {
            shared: Arc::clone(&self.shared),
            session,
        }
    }

    /// Counts the holders of the writer's role, from 1.
    pub fn epoch(&self) -> u64 {
        self.session.epoch
    }

    /// Every row, in key order.
    pub fn dump(&self) -> Vec<(Bytes, Bytes)> {
        self.shared.data.lock().dump()
    }

    /// The version of the last commit.
    pub fn version(&self) -> Version {
        self.shared.data.lock().version()
    }

    /// The faults to come.
    pub fn faults(&self) -> &FaultPlan {
        &self.shared.faults
    }

    /// Makes every transaction that has begun too old.
    pub fn expire_transactions(&self) {
        self.shared.data.lock().expire();
    }

    /// Holds back every commit, before its conflict check, until the guard is dropped.
    pub fn pause_commits(&self) -> PauseGuard {
        self.shared.pauses.send_modify(|pauses| *pauses += 1);
        PauseGuard {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lands all commits that were delayed by [`CommitFault::Unknown`] with [`Landing::Later`], in order,
    /// and says for each what its conflict check found.
    pub fn land_delayed(&self) -> Vec<Result<Version, CommitError>> {
        self.shared.data.lock().land_delayed(|_| true)
    }

    fn data(&self) -> parking_lot::MutexGuard<'_, Data> {
        self.shared.data.lock()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("epoch", &self.session.epoch)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// Holds commits back while it lives.
pub struct PauseGuard {
    shared: Arc<Shared>,
}

impl fmt::Debug for PauseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseGuard").finish_non_exhaustive()
    }
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        self.shared.pauses.send_modify(|pauses| *pauses -= 1);
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.session.check()?;
        self.shared.faults.next_begin()?;
        let version = self.version();
        let snapshot = MemorySnapshot {
            store: self.clone(),
            version,
        };
        Ok(Box::new(BufferedTransaction::new(snapshot, self.limits())))
    }

    fn begin_at(&self, version: Version) -> Result<Option<Box<dyn Transaction>>, StoreError> {
        self.session.check()?;
        if version > self.version() {
            return Ok(None);
        }
        let snapshot = MemorySnapshot {
            store: self.clone(),
            version,
        };
        Ok(Some(Box::new(BufferedTransaction::new(
            snapshot,
            self.limits(),
        ))))
    }

    async fn closed(&self) -> CloseReason {
        let mut closed = self.session.closed.subscribe();
        loop {
            if let Some(reason) = closed.borrow_and_update().clone() {
                return reason;
            }
            if closed.changed().await.is_err() {
                return CloseReason::Stopped;
            }
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.session.close(CloseReason::Stopped);
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    store: MemoryStore,
    version: Version,
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn version(&self) -> Version {
        self.version
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store.session.check()?;
        if self.version < self.store.data().floor() {
            Err(StoreError::TooOld)
        } else {
            Ok(())
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.shared.faults.next_get()?;
        Ok(self.store.data().get(key, self.version))
    }

    async fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        self.store.shared.faults.next_get()?;
        Ok(self.store.data().scan(range, options, self.version))
    }

    async fn commit(self, reads: ReadSet, writes: WriteBuffer) -> Result<Version, CommitError> {
        let fault = self.store.shared.faults.next_commit();
        let mut pauses = self.store.shared.pauses.subscribe();
        // The sender lives in the store that we hold, so this ends only when no guard is left.
        let _ = pauses.wait_for(|pauses| *pauses == 0).await;
        self.store.session.check()?;
        let commit = Delayed {
            version: self.version,
            reads,
            writes,
            commits_left: 0,
        };
        let mut data = self.store.data();
        match fault {
            None => data.commit(&commit),
            Some(CommitFault::Conflict) => Err(CommitError::Conflict),
            Some(CommitFault::TooOld) => Err(CommitError::TooOld),
            Some(CommitFault::Unavailable) => Err(CommitError::Unavailable(injected())),
            Some(CommitFault::Unknown(landing)) => {
                match landing {
                    Landing::Never => {}
                    // A conflict is as invisible to the caller as success.
                    Landing::Now => drop(data.commit(&commit)),
                    Landing::Later { after_commits } => {
                        data.delay(Delayed {
                            commits_left: after_commits,
                            ..commit
                        });
                    }
                }
                Err(CommitError::Unknown(injected()))
            }
            Some(CommitFault::Fenced) => {
                drop(data);
                self.store.session.close(CloseReason::Fenced);
                Err(CommitError::Fenced)
            }
        }
    }
}

#[cfg(test)]
mod tests;
