//! A memory store whose commits can be held back or made to fail by the kind of row that they write, so
//! that a test meets one exact moment.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_store::memory::{CommitFault, Landing, MemoryStore};
use tidelog_store::{
    CloseReason, CommitError, KeyRange, Limits, ReadMode, ScanOptions, ScanPage, Store, StoreError,
    Transaction, Version,
};
use tokio::sync::watch;

/// How a checkpoint may be cut off: it never lands, it lands unseen, it lands after the next owner came.
pub(crate) const CUT_OFF: [CommitFault; 3] = [
    CommitFault::Unavailable,
    CommitFault::Unknown(Landing::Now),
    CommitFault::Unknown(Landing::Later { after_commits: 0 }),
];
/// Where the kind stands in a key.
const KIND_AT: usize = 4;

/// A handle on a memory store. Clones share the plan; siblings share only the rows.
#[derive(Clone, Debug)]
pub(crate) struct TestStore {
    pub(crate) memory: MemoryStore,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    held: watch::Sender<Option<u8>>,
    waiting: watch::Sender<usize>,
    /// The kind, how many commits of it come first, and what happens then.
    faults: Mutex<VecDeque<(u8, u32, CommitFault)>>,
    commits: watch::Sender<u64>,
    is_frozen: watch::Sender<bool>,
    /// The kind whose next commit shares its version with the one behind it.
    sharing: watch::Sender<Option<u8>>,
    /// A transaction that was begun before, and how many calls of `begin` come first.
    given: Mutex<Option<(u64, Box<dyn Transaction>)>>,
}

/// Holds commits of one kind back while it lives.
#[derive(Debug)]
pub(crate) struct Hold {
    plan: Arc<Plan>,
}

impl TestStore {
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            plan: Arc::default(),
        }
    }

    /// The same rows under a plan of its own, as another process sees them.
    pub(crate) fn sibling(&self) -> Self {
        Self::new(self.memory.clone())
    }

    /// Holds back commits that write a row of this kind.
    pub(crate) fn hold(&self, kind: KeyKind) -> Hold {
        self.plan.held.send_replace(Some(kind as u8));
        Hold {
            plan: Arc::clone(&self.plan),
        }
    }

    /// Lets the next commit that writes a row of this kind hear of its success only when another one has come
    /// behind it, and as if both had been made at the same moment, as stores may do.
    pub(crate) fn share_version(&self, kind: KeyKind) {
        self.plan.sharing.send_replace(Some(kind as u8));
    }

    /// Waits until a commit has landed whose version will be that of the next one.
    pub(crate) async fn sharing(&self) {
        let mut sharing = self.plan.sharing.subscribe();
        let _ = sharing.wait_for(Option::is_none).await;
    }

    /// Makes the next commit that writes a row of this kind fail.
    pub(crate) fn fail(&self, kind: KeyKind, fault: CommitFault) {
        self.fail_after(0, kind, fault);
    }

    /// Makes the commit fail that comes after so many others which write a row of this kind.
    pub(crate) fn fail_after(&self, others: u32, kind: KeyKind, fault: CommitFault) {
        let mut faults = self.plan.faults.lock();
        faults.push_back((kind as u8, others, fault));
    }

    /// Answers the call of `begin` after `begins` others with a transaction that was begun before.
    pub(crate) fn give_at_begin(&self, begins: u64, transaction: Box<dyn Transaction>) {
        *self.plan.given.lock() = Some((begins, transaction));
    }

    /// Lets every call of this handle wait, as those of a process that is stopped, until [`thaw`](Self::thaw).
    pub(crate) fn freeze(&self) {
        self.plan.is_frozen.send_replace(true);
    }

    /// Lets all calls go on.
    pub(crate) fn thaw(&self) {
        self.plan.is_frozen.send_replace(false);
    }

    /// How many commits with writes this handle has sent.
    pub(crate) fn commits(&self) -> u64 {
        *self.plan.commits.borrow()
    }

    /// Rows of a kind.
    pub(crate) fn rows(&self, kind: KeyKind) -> Vec<(Bytes, Bytes)> {
        let mut rows = self.memory.dump();
        rows.retain(|(key, _)| key.get(KIND_AT) == Some(&(kind as u8)));
        rows
    }
}

impl Hold {
    /// Waits until a commit is held back.
    pub(crate) async fn reached(&self) {
        let mut waiting = self.plan.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting > 0);
        // Paused time passes only when nothing else can happen: a failure instead of a hang.
        let reached = tokio::time::timeout(Duration::from_hours(1), reached).await;
        assert!(reached.is_ok(), "no commit of the kind came");
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.plan.held.send_replace(None);
    }
}

impl Plan {
    async fn thawed(&self) {
        let mut is_frozen = self.is_frozen.subscribe();
        // The sender lives as long as the plan.
        let _ = is_frozen.wait_for(|is_frozen| !is_frozen).await;
    }

    fn given(&self) -> Option<Box<dyn Transaction>> {
        let mut given = self.given.lock();
        match given.take() {
            Some((0, transaction)) => Some(transaction),
            other => {
                *given = other.map(|(begins, transaction)| (begins - 1, transaction));
                None
            }
        }
    }

    fn take_fault(&self, kinds: &BTreeSet<u8>) -> Option<CommitFault> {
        let mut faults = self.faults.lock();
        let at = faults.iter().position(|(kind, ..)| kinds.contains(kind))?;
        let (_, others, _) = faults.get_mut(at)?;
        match others.checked_sub(1) {
            Some(less) => {
                *others = less;
                None
            }
            None => faults.remove(at).map(|(.., fault)| fault),
        }
    }
}

#[async_trait]
impl Store for TestStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.plan.thawed().await;
        if let Some(given) = self.plan.given() {
            return Ok(given);
        }
        let inner = self.memory.begin().await?;
        Ok(Box::new(TestTransaction {
            inner,
            kinds: BTreeSet::new(),
            store: self.clone(),
        }))
    }

    fn begin_at(&self, version: Version) -> Result<Option<Box<dyn Transaction>>, StoreError> {
        let begun = self.memory.begin_at(version)?;
        Ok(begun.map(|inner| -> Box<dyn Transaction> {
            Box::new(TestTransaction {
                inner,
                kinds: BTreeSet::new(),
                store: self.clone(),
            })
        }))
    }

    async fn closed(&self) -> CloseReason {
        self.memory.closed().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.memory.close().await
    }

    fn limits(&self) -> Limits {
        self.memory.limits()
    }
}

#[derive(Debug)]
struct TestTransaction {
    inner: Box<dyn Transaction>,
    kinds: BTreeSet<u8>,
    store: TestStore,
}

#[async_trait]
impl Transaction for TestTransaction {
    fn read_version(&self) -> Version {
        self.inner.read_version()
    }

    fn size_bytes(&self) -> usize {
        self.inner.size_bytes()
    }

    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Bytes>, StoreError> {
        self.store.plan.thawed().await;
        self.inner.get(key, mode).await
    }

    async fn get_many(
        &mut self,
        keys: &[(Bytes, ReadMode)],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.store.plan.thawed().await;
        self.inner.get_many(keys).await
    }

    async fn scan(
        &mut self,
        range: KeyRange,
        options: ScanOptions,
    ) -> Result<ScanPage, StoreError> {
        self.store.plan.thawed().await;
        self.inner.scan(range, options).await
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.kinds.extend(key.get(KIND_AT));
        self.inner.put(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.kinds.extend(key.get(KIND_AT));
        self.inner.delete(key);
    }

    fn delete_range(&mut self, range: KeyRange) {
        self.inner.delete_range(range);
    }

    fn add(&mut self, key: Bytes, delta: i64) {
        self.inner.add(key, delta);
    }

    fn add_read_conflict(&mut self, range: KeyRange) {
        self.inner.add_read_conflict(range);
    }

    fn add_write_conflict(&mut self, range: KeyRange) {
        self.inner.add_write_conflict(range);
    }

    async fn commit(self: Box<Self>) -> Result<Version, CommitError> {
        let Self {
            inner,
            kinds,
            store,
        } = *self;
        let plan = &store.plan;
        plan.thawed().await;
        let mut held = plan.held.subscribe();
        let is_free = |held: &Option<u8>| held.is_none_or(|kind| !kinds.contains(&kind));
        if !is_free(&held.borrow_and_update()) {
            plan.waiting.send_modify(|waiting| *waiting += 1);
            let _ = held.wait_for(is_free).await;
            plan.waiting.send_modify(|waiting| *waiting -= 1);
        }
        if !kinds.is_empty() {
            plan.commits.send_modify(|commits| *commits += 1);
        }
        if let Some(fault) = plan.take_fault(&kinds) {
            // The memory store asks for its next fault as the first thing of the commit below.
            store.memory.faults().fail_commit(0, fault);
        }
        let version = inner.commit().await?;
        let shares = plan.sharing.send_if_modified(|sharing| {
            let is_it = sharing.is_some_and(|kind| kinds.contains(&kind));
            if is_it {
                *sharing = None;
            }
            is_it
        });
        while shares && store.memory.version() == version {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Version::new(version.get() + u64::from(shares)))
    }
}
