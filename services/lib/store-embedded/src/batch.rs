//! The one batch of a group: the writes of its transactions, laid over each other in their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::{DbSnapshot, WriteBatch};
use tidelog_store::buffer::{Write, WriteBuffer};
use tidelog_store::{KeyRange, LimitKind, StoreError, TooLarge};

use crate::engine::read_error;
use crate::keys;
use crate::snapshot::{get, scan_options};

/// Collects the writes of a group over the newest durable state. One group is under way at a time, so
/// that state and these writes are all that comes before.
pub(crate) struct BatchBuilder {
    base: Arc<DbSnapshot>,
    writes: WriteBuffer,
    /// Keys of the base that a cleared range of the group covers.
    cleared: BTreeSet<Bytes>,
}

impl BatchBuilder {
    pub(crate) fn new(base: Arc<DbSnapshot>) -> Self {
        Self {
            base,
            writes: WriteBuffer::default(),
            cleared: BTreeSet::new(),
        }
    }

    /// Finds the rows that the cleared ranges of `writes` delete: at most `keys_max`.
    pub(crate) async fn find_cleared(
        &self,
        writes: &WriteBuffer,
        keys_max: usize,
    ) -> Result<BTreeSet<Bytes>, ClearError> {
        let mut found = BTreeSet::new();
        for range in writes.cleared() {
            self.find_range(&range, keys_max, &mut found).await?;
        }
        Ok(found)
    }

    async fn find_range(
        &self,
        range: &KeyRange,
        keys_max: usize,
        found: &mut BTreeSet<Bytes>,
    ) -> Result<(), ClearError> {
        let rows = self
            .base
            .scan_with_options(keys::encode_range(range), &scan_options())
            .await;
        let mut rows = rows.map_err(read_error)?;
        while let Some(row) = rows.next().await.map_err(read_error)? {
            if found.len() >= keys_max {
                let what = LimitKind::RangeDelete;
                return Err(TooLarge {
                    what,
                    size: found.len() + 1,
                    limit: keys_max,
                }
                .into());
            }
            found.insert(keys::decode(&row.key));
        }
        Ok(())
    }

    /// Lays the writes of one more transaction over the others.
    pub(crate) fn append(&mut self, writes: WriteBuffer, cleared: BTreeSet<Bytes>) {
        self.writes.append(writes);
        self.cleared.extend(cleared);
    }

    /// The batch. Counters are read and added up here.
    pub(crate) async fn build(self) -> Result<WriteBatch, StoreError> {
        let mut batch = WriteBatch::new();
        batch.put(keys::HEARTBEAT, []);
        for key in &self.cleared {
            if self.writes.lookup(key) == Some(Write::Delete) {
                batch.delete(keys::encode(key));
            }
        }
        for (key, write) in self.writes.writes() {
            let before = match write {
                Write::Add(_) => get(&self.base, key).await?,
                Write::Put(_) | Write::Delete => None,
            };
            match write.resolve(before.as_deref()) {
                Some(value) => batch.put_bytes(keys::encode(key), value),
                None => batch.delete(keys::encode(key)),
            }
        }
        Ok(batch)
    }
}

/// Why the ranges of a transaction cannot be cleared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClearError {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl From<ClearError> for tidelog_store::CommitError {
    fn from(error: ClearError) -> Self {
        match error {
            ClearError::Read(error) => error.into(),
            ClearError::TooLarge(error) => error.into(),
        }
    }
}
