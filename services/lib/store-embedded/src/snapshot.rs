//! Reads of one transaction.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use slatedb::{DbIterator, DbSnapshot, IterationOrder};
use tidelog_env::MonoTime;
use tidelog_store::buffer::WriteBuffer;
use tidelog_store::occ::ReadSet;
use tidelog_store::{
    CommitError, Direction, KeyRange, ScanOptions, ScanPage, Snapshot, StoreError, Version,
};

use crate::engine::{Engine, read_error, version_of};
use crate::keys;
use crate::queue::CommitQueue;

/// How much a scan asks for in one request when it has to read a table.
const READ_AHEAD_BYTES: usize = 64 * 1024;

pub(crate) struct EmbeddedSnapshot {
    pub(crate) engine: Arc<Engine>,
    pub(crate) queue: CommitQueue,
    pub(crate) snapshot: Arc<DbSnapshot>,
    pub(crate) too_old_at: MonoTime,
}

impl fmt::Debug for EmbeddedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedSnapshot")
            .field("version", &self.version())
            .field("too_old_at", &self.too_old_at)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Snapshot for EmbeddedSnapshot {
    fn version(&self) -> Version {
        version_of(&self.snapshot)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.engine.lifecycle.check()?;
        if self.engine.env.clock.now() > self.too_old_at {
            self.engine.metrics.on_too_old();
            return Err(StoreError::TooOld);
        }
        Ok(())
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(&self.snapshot, key).await
    }

    async fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let order = match options.direction {
            Direction::Forward => IterationOrder::Ascending,
            Direction::Backward => IterationOrder::Descending,
        };
        let scan = scan_options().with_order(order);
        let stored = keys::encode_range(range);
        let rows = self.snapshot.scan_with_options(stored, &scan).await;
        collect(rows.map_err(read_error)?, options).await
    }

    async fn commit(self, reads: ReadSet, writes: WriteBuffer) -> Result<Version, CommitError> {
        let version = self.version();
        let Self {
            engine,
            queue,
            snapshot,
            ..
        } = self;
        // What waits in the queue needs no snapshot; holding it would keep old rows from compaction.
        drop(snapshot);
        queue.commit(&engine, version, reads, writes).await
    }
}

/// One page of rows. They are copies, since the stored ones are slices of whole blocks.
pub(crate) async fn collect(
    mut rows: DbIterator,
    options: ScanOptions,
) -> Result<ScanPage, StoreError> {
    let mut page = ScanPage::default();
    let mut bytes = 0;
    while let Some(row) = rows.next().await.map_err(read_error)? {
        if page.rows.len() >= options.limit || (bytes >= options.bytes_max && !page.rows.is_empty())
        {
            page.more = true;
            break;
        }
        bytes += row.key.len() - 1 + row.value.len();
        page.rows
            .push((keys::decode(&row.key), Bytes::copy_from_slice(&row.value)));
    }
    Ok(page)
}

/// The value of a transaction's key. A copy, since the stored one is a slice of a whole block.
pub(crate) async fn get(snapshot: &DbSnapshot, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let value = snapshot.get(keys::encode(key)).await.map_err(read_error)?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

pub(crate) fn scan_options() -> slatedb::config::ScanOptions {
    slatedb::config::ScanOptions::new()
        .with_read_ahead_bytes(READ_AHEAD_BYTES)
        .with_cache_blocks(true)
}
