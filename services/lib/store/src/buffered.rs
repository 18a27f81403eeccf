//! The transaction that implementations with a local conflict check share: a snapshot with the
//! transaction's own writes laid over it.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::buffer::{Write, WriteBuffer, check_range, within};
use crate::occ::ReadSet;
use crate::{
    CommitError, Direction, KeyRange, LimitKind, Limits, ReadMode, ScanOptions, ScanPage,
    StoreError, Transaction, Version,
};

/// What a store provides to have a [`BufferedTransaction`].
#[async_trait]
pub trait Snapshot: Debug + Send + Sync + 'static {
    /// The version that reads see.
    fn version(&self) -> Version;

    /// How many keys are read at the same time, if many are asked for. Where keys share blocks that a read
    /// fetches whole, few: each of them would fetch the same one.
    fn reads_at_once(&self) -> usize {
        8
    }

    /// Fails if the snapshot may no longer be read.
    fn check(&self) -> Result<(), StoreError>;

    /// The value of `key` in the snapshot.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Rows of a non-empty `range` in the snapshot, at most one page. A page that says `more` has a row.
    async fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError>;

    /// Checks `reads` for conflicts and commits `writes`, which are within the limits and not empty.
    async fn commit(self, reads: ReadSet, writes: WriteBuffer) -> Result<Version, CommitError>;
}

/// A transaction over a [`Snapshot`].
#[derive(Debug)]
pub struct BufferedTransaction<S> {
    snapshot: S,
    limits: Limits,
    reads: ReadSet,
    read_conflicts_len: usize,
    writes: WriteBuffer,
    /// The first write over a limit. It is kept, since a later write may cover it.
    too_large: Option<crate::TooLarge>,
}

impl<S: Snapshot> BufferedTransaction<S> {
    /// A transaction without writes.
    pub fn new(snapshot: S, limits: Limits) -> Self {
        Self {
            snapshot,
            limits,
            reads: ReadSet::default(),
            read_conflicts_len: 0,
            writes: WriteBuffer::default(),
            too_large: None,
        }
    }

    fn note(&mut self, result: Result<(), crate::TooLarge>) {
        if let Err(error) = result {
            self.too_large.get_or_insert(error);
        }
    }

    fn note_key(&mut self, key: &Bytes) {
        let result = within(LimitKind::Key, key.len(), self.limits.key_bytes_max);
        self.note(result);
    }

    /// Takes note of a read, before it is made.
    fn note_read(&mut self, key: &[u8], mode: ReadMode) -> Result<(), StoreError> {
        within(LimitKind::Key, key.len(), self.limits.key_bytes_max)?;
        let own = self.writes.lookup(key);
        let is_own = matches!(own, Some(Write::Put(_) | Write::Delete));
        if mode == ReadMode::Serializable && !is_own {
            self.reads.add_key(key);
        }
        Ok(())
    }

    /// The value of `key` with the own writes laid over it.
    async fn look_up(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let own = self.writes.lookup(key);
        match own {
            Some(Write::Put(value)) => Ok(Some(value)),
            Some(Write::Delete) => Ok(None),
            Some(write @ Write::Add(_)) => {
                let before = self.snapshot.get(key).await?;
                Ok(write.resolve(before.as_deref()))
            }
            None => self.snapshot.get(key).await,
        }
    }

    /// Reads pages of the snapshot until the merged rows fill `options` or the range ends.
    async fn scan_merged(
        &self,
        range: &KeyRange,
        options: ScanOptions,
    ) -> Result<ScanPage, StoreError> {
        let mut page = ScanPage::default();
        let mut bytes = 0;
        let mut rest = Some(range.clone());
        while let Some(part) = rest {
            let limit = options.limit - page.rows.len();
            let base = self
                .snapshot
                .scan(&part, ScanOptions { limit, ..options })
                .await?;
            rest = base
                .next(&part, options.direction)
                .filter(|rest| !rest.is_empty());
            let covered = covered(&part, rest.as_ref(), options.direction);
            let mut merged = self
                .merge(base, &covered, options.direction)
                .into_iter()
                .peekable();
            while let Some((key, value)) = merged.next() {
                bytes += key.len() + value.len();
                page.rows.push((key, value));
                if page.rows.len() >= options.limit || bytes >= options.bytes_max {
                    page.more = merged.peek().is_some() || rest.is_some();
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// The rows of `base` with the own writes of `covered` laid over them.
    fn merge(
        &self,
        base: ScanPage,
        covered: &KeyRange,
        direction: Direction,
    ) -> Vec<(Bytes, Bytes)> {
        let mut rows = base.rows;
        let mut own: Vec<(&Bytes, &Write)> = self.writes.writes_in(covered).collect();
        if own.is_empty() {
            rows.retain(|(key, _)| self.writes.lookup(key).is_none());
            return rows;
        }
        if direction == Direction::Backward {
            own.reverse();
        }
        let mut merged = Vec::with_capacity(rows.len() + own.len());
        let mut rows = rows.into_iter().peekable();
        for (key, write) in own {
            while let Some(row) = rows.next_if(|(base, _)| precedes(base, key, direction)) {
                merged.push(row);
            }
            let before = rows
                .next_if(|(base, _)| base == key)
                .map(|(_, value)| value);
            if let Some(value) = write.resolve(before.as_deref()) {
                merged.push((key.clone(), value));
            }
        }
        merged.extend(rows);
        merged.retain(|(key, _)| {
            self.writes
                .lookup(key)
                .is_none_or(|write| write != Write::Delete)
        });
        merged
    }
}

fn precedes(one: &Bytes, other: &Bytes, direction: Direction) -> bool {
    match direction {
        Direction::Forward => one < other,
        Direction::Backward => one > other,
    }
}

/// `part` without `rest`, which is its end in `direction`.
fn covered(part: &KeyRange, rest: Option<&KeyRange>, direction: Direction) -> KeyRange {
    let mut covered = part.clone();
    match (rest, direction) {
        (None, _) => {}
        (Some(rest), Direction::Forward) => covered.end = Some(rest.start.clone()),
        (Some(rest), Direction::Backward) => {
            covered.start = rest.end.clone().unwrap_or_else(|| part.start.clone());
        }
    }
    covered
}

#[async_trait]
impl<S: Snapshot> Transaction for BufferedTransaction<S> {
    fn read_version(&self) -> Version {
        self.snapshot.version()
    }

    fn size_bytes(&self) -> usize {
        self.writes.size_bytes() + self.read_conflicts_len
    }

    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Bytes>, StoreError> {
        self.snapshot.check()?;
        self.note_read(key, mode)?;
        self.look_up(key).await
    }

    async fn get_many(
        &mut self,
        keys: &[(Bytes, ReadMode)],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.snapshot.check()?;
        for (key, mode) in keys {
            self.note_read(key, *mode)?;
        }
        let reads: Vec<_> = keys.iter().map(|(key, _)| self.look_up(key)).collect();
        futures::stream::iter(reads)
            .buffered(self.snapshot.reads_at_once())
            .try_collect()
            .await
    }

    async fn scan(
        &mut self,
        range: KeyRange,
        options: ScanOptions,
    ) -> Result<ScanPage, StoreError> {
        check_range(&range, &self.limits)?;
        self.snapshot.check()?;
        if options.limit == 0 || range.is_empty() {
            return Ok(ScanPage {
                rows: Vec::new(),
                more: !range.is_empty(),
            });
        }
        let page = self.scan_merged(&range, options).await?;
        if options.mode == ReadMode::Serializable {
            let rest = page.next(&range, options.direction);
            self.reads
                .add_range(covered(&range, rest.as_ref(), options.direction));
        }
        Ok(page)
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.note_key(&key);
        self.note(within(
            LimitKind::Value,
            value.len(),
            self.limits.value_bytes_max,
        ));
        self.writes.put(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.note_key(&key);
        self.writes.delete(key);
    }

    fn delete_range(&mut self, range: KeyRange) {
        self.note(check_range(&range, &self.limits));
        self.writes.delete_range(range);
    }

    fn add(&mut self, key: Bytes, delta: i64) {
        self.note_key(&key);
        self.writes.add(key, delta);
    }

    fn add_read_conflict(&mut self, range: KeyRange) {
        self.note(check_range(&range, &self.limits));
        self.read_conflicts_len += range.bounds_len();
        self.reads.add_range(range);
    }

    fn add_write_conflict(&mut self, range: KeyRange) {
        self.note(check_range(&range, &self.limits));
        self.writes.add_conflict(range);
    }

    async fn commit(self: Box<Self>) -> Result<Version, CommitError> {
        let bytes = self.size_bytes();
        let Self {
            snapshot,
            limits,
            reads,
            writes,
            too_large,
            ..
        } = *self;
        if let Some(error) = too_large {
            return Err(error.into());
        }
        within(LimitKind::Transaction, bytes, limits.transaction_bytes_max)?;
        snapshot.check()?;
        if writes.is_empty() {
            return Ok(snapshot.version());
        }
        snapshot.commit(reads, writes).await
    }
}
