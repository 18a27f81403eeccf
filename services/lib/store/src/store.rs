//! The traits: a store, and a transaction of it.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use bytes::Bytes;
use tidelog_types::limits::{
    STORE_KEY_BYTES_MAX, STORE_TRANSACTION_BYTES_MAX, STORE_VALUE_BYTES_MAX,
};

use crate::{CloseReason, CommitError, KeyRange, StoreError};

/// A point in the order of commits of one store. Never goes back, not even over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Before every commit.
    pub const ZERO: Self = Self(0);

    /// The version with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The largest things a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key. The end of a range may be one byte longer, so that it can name a key's successor.
    pub key_bytes_max: usize,
    /// Longest value.
    pub value_bytes_max: usize,
    /// Largest sum of a transaction's writes; see [`Transaction::size_bytes`].
    pub transaction_bytes_max: usize,
}

impl Default for Limits {
    /// The limits that every implementation shares.
    fn default() -> Self {
        Self {
            key_bytes_max: STORE_KEY_BYTES_MAX,
            value_bytes_max: STORE_VALUE_BYTES_MAX,
            transaction_bytes_max: STORE_TRANSACTION_BYTES_MAX,
        }
    }
}

/// Whether a read takes part in the conflict check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// A later write to what was read makes the commit conflict.
    #[default]
    Serializable,
    /// The read is of the same snapshot, but no later write makes the commit conflict.
    Snapshot,
}

/// The order in which a scan returns rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the first key up.
    #[default]
    Forward,
    /// From the last key down.
    Backward,
}

/// How to scan a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// At most this many rows; 0 returns none and reads nothing.
    pub limit: usize,
    /// Stop after the row with which keys and values reach this size. The first row is always returned.
    pub bytes_max: usize,
    /// The order of rows.
    pub direction: Direction,
    /// Whether the scan takes part in the conflict check.
    pub mode: ReadMode,
}

impl ScanOptions {
    /// Rows in a page unless the caller says otherwise.
    pub const LIMIT_DEFAULT: usize = 1_000;
    /// Bytes in a page unless the caller says otherwise.
    pub const BYTES_MAX_DEFAULT: usize = 1024 * 1024;

    /// Forward, serializable, at most `limit` rows.
    pub fn limit(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The same, from the last key down.
    #[must_use]
    pub fn backward(self) -> Self {
        Self {
            direction: Direction::Backward,
            ..self
        }
    }

    /// The same, outside the conflict check.
    #[must_use]
    pub fn snapshot(self) -> Self {
        Self {
            mode: ReadMode::Snapshot,
            ..self
        }
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            limit: Self::LIMIT_DEFAULT,
            bytes_max: Self::BYTES_MAX_DEFAULT,
            direction: Direction::Forward,
            mode: ReadMode::Serializable,
        }
    }
}

/// What a scan returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Keys and values, in the order asked for.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Whether the scan stopped at a limit. The range may still hold no further row; the next page,
    /// from [`next`](Self::next), tells.
    pub more: bool,
}

impl ScanPage {
    /// The rest of `range` after this page, or `None` if it was read to its end.
    pub fn next(&self, range: &KeyRange, direction: Direction) -> Option<KeyRange> {
        if !self.more {
            return None;
        }
        let Some((last, _)) = self.rows.last() else {
            return Some(range.clone());
        };
        Some(match direction {
            Direction::Forward => KeyRange {
                start: KeyRange::successor(last),
                end: range.end.clone(),
            },
            Direction::Backward => KeyRange {
                start: range.start.clone(),
                end: Some(last.clone()),
            },
        })
    }
}

/// An ordered transactional key-value store. A handle is shared as `Arc<dyn Store>`.
///
/// Safety: commits are strictly serializable for what was read serializably; what a read returns is
/// durable. Liveness: a transaction that reads little and commits soon succeeds in the end, if the
/// storage below answers and no other process takes the writer's role.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Starts a transaction at a read version that includes every commit that was acknowledged before
    /// the call. It reads only durable data. Cancel-safe.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Starts a transaction that reads at `version`, at which an earlier transaction of this handle has read or
    /// was committed, without asking which is the newest. What it reads serializably, or says that it conflicts
    /// with, conflicts with every commit at a higher version: commits of one moment may share one, so that what
    /// came right behind an own commit is found only from the version below it. `None` if the store has no such thing, or nothing to gain by it.
    ///
    /// Versions are kept for about five seconds: later each use fails with `TooOld`, and the commit as well.
    fn begin_at(&self, version: Version) -> Result<Option<Box<dyn Transaction>>, StoreError> {
        _ = version;
        Ok(None)
    }

    /// Waits until the store will never answer again, and says why. Cancel-safe.
    async fn closed(&self) -> CloseReason;

    /// Proves that this process held the writer's role at a moment after the call began, so that what a
    /// transaction begun before the proof read was the newest state. A store that a process reaches over
    /// its own storage may learn only here, or from a commit, that it has been fenced: a read alone shows
    /// the state as this process knew it. Cancel-safe.
    async fn confirm(&self) -> Result<(), StoreError> {
        self.begin().await.map(drop)
    }

    /// Flushes, gives up the writer's role and ends background work. Commits that are under way are
    /// finished first, later ones fail with `Closed`. A second call does nothing.
    async fn close(&self) -> Result<(), StoreError>;

    /// The largest things the store takes.
    fn limits(&self) -> Limits;
}

/// A snapshot and a buffer of writes. Dropping it has no effect on the store.
///
/// Reads see the transaction's own writes. A method that buffers a write cannot fail: limits are
/// checked by `commit`.
#[async_trait]
pub trait Transaction: Debug + Send {
    /// The version of the snapshot. Never goes back from one transaction of a store to a later one.
    fn read_version(&self) -> Version;

    /// The bytes of the writes so far: keys and values, bounds of deleted ranges and of conflict ranges
    /// added by hand. A key written twice counts once. What was read does not count.
    fn size_bytes(&self) -> usize;

    /// The value of `key`. A serializable read that its own `put` or delete answers adds no conflict.
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Bytes>, StoreError>;

    /// The values of `keys`, in their order: as many [`get`](Self::get)s, which go to the store at the same
    /// time. The caller bounds their number.
    async fn get_many(
        &mut self,
        keys: &[(Bytes, ReadMode)],
    ) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Rows of `range`, at most one page. A serializable scan conflicts with later writes to the part
    /// of the range that it covered: up to the last row if it stopped at a limit, else all of it.
    async fn scan(&mut self, range: KeyRange, options: ScanOptions)
    -> Result<ScanPage, StoreError>;

    /// Sets `key` to `value`.
    fn put(&mut self, key: Bytes, value: Bytes);

    /// Removes `key`, if it is there.
    fn delete(&mut self, key: Bytes);

    /// Removes every key of `range`, also those that other commits add before this one.
    fn delete_range(&mut self, range: KeyRange);

    /// Adds `delta`, wrapping, to the counter at `key`: 8 bytes, little-endian. An absent key counts as
    /// zero; a value of another length is cut or padded with zeros to 8 bytes first. Two transactions
    /// that add to one key both commit.
    fn add(&mut self, key: Bytes, delta: i64);

    /// Conflicts with later writes to `range`, as if it had been read.
    fn add_read_conflict(&mut self, range: KeyRange);

    /// Makes transactions that read a key of `range` conflict, as if it had been written.
    fn add_write_conflict(&mut self, range: KeyRange);

    /// Commits, and returns the version once the commit is durable. A transaction without writes and
    /// without write conflicts always succeeds at its read version, unless it is too old or the store
    /// is closed.
    ///
    /// Not cancel-safe: a dropped future leaves the outcome unknown.
    async fn commit(self: Box<Self>) -> Result<Version, CommitError>;
}
