//! A transaction of the client, seen as a snapshot to read from and a way to commit.

use std::sync::Arc;

use async_trait::async_trait;
use foundationdb::options::{ConflictRangeType, MutationType, StreamingMode};
use foundationdb::{FdbError, RangeOption, Transaction as Client};
use tidelog_env::MonoTime;
use tidelog_store::buffer::{Write, WriteBuffer};
use tidelog_store::occ::ReadSet;
use tidelog_store::{
    Bytes, CommitError, Direction, KeyRange, ScanOptions, ScanPage, Snapshot, StoreError, Version,
};

use crate::errors::{FdbFailure, commit_error, read_error, too_large};
use crate::keyspace::CLIENT_BYTES_MAX;
use crate::store::{Shared, to_version};

/// Keys that are read at the same time: each is a question over the network.
const READS_AT_ONCE: usize = 1_000;

#[derive(Debug)]
pub(crate) struct FdbSnapshot {
    // Before the shared part, whose database must outlive it.
    client: Client,
    version: Version,
    began: MonoTime,
    shared: Arc<Shared>,
}

impl FdbSnapshot {
    pub(crate) fn new(
        client: Client,
        version: Version,
        began: MonoTime,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            client,
            version,
            began,
            shared,
        }
    }

    /// Hands the reads and writes to the client, cleared ranges first, as the buffer has them.
    fn fill(&self, reads: &ReadSet, writes: &WriteBuffer) -> Result<(), FdbError> {
        let (client, keyspace) = (&self.client, &self.shared.keyspace);
        for range in reads.ranges() {
            let (start, end) = keyspace.bounds(&range);
            client.add_conflict_range(&start, &end, ConflictRangeType::Read)?;
        }
        for range in writes.cleared() {
            let (start, end) = keyspace.bounds(&range);
            client.clear_range(&start, &end);
        }
        for (key, write) in writes.writes() {
            let key = keyspace.key(key);
            match write {
                Write::Put(value) => client.set(&key, value),
                Write::Delete => client.clear(&key),
                Write::Add(delta) => {
                    client.atomic_op(&key, &delta.to_le_bytes(), MutationType::Add);
                }
            }
        }
        for range in writes.conflicts() {
            let (start, end) = keyspace.bounds(&range);
            client.add_conflict_range(&start, &end, ConflictRangeType::Write)?;
        }
        let age = self.shared.clock.now() - self.began;
        client.set_option(self.shared.commit_limit(age))
    }

    /// A row as the caller knows it.
    fn row(&self, key: &[u8], value: &[u8]) -> Result<(Bytes, Bytes), StoreError> {
        let own = self.shared.keyspace.strip(key);
        let own = own.ok_or_else(|| StoreError::Damaged(Arc::new(ForeignKey)))?;
        Ok((own, Bytes::copy_from_slice(value)))
    }
}

/// The client returned a key outside the range that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("a key outside the store's prefix was returned by FoundationDB")]
struct ForeignKey;

#[async_trait]
impl Snapshot for FdbSnapshot {
    fn version(&self) -> Version {
        self.version
    }

    fn reads_at_once(&self) -> usize {
        READS_AT_ONCE
    }

    fn check(&self) -> Result<(), StoreError> {
        self.shared.check()?;
        if self.shared.clock.now() - self.began >= self.shared.age_max() {
            self.shared.metrics.on_read_error(&StoreError::TooOld);
            return Err(StoreError::TooOld);
        }
        Ok(())
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.client.get(&self.shared.keyspace.key(key), true).await;
        let value = value.map_err(|error| self.shared.read_failed(error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    async fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<ScanPage, StoreError> {
        let request = RangeOption {
            limit: Some(options.limit),
            // The client's 0 is "as much as you like"; any row passes a limit of 1.
            target_bytes: options.bytes_max.max(1),
            mode: StreamingMode::WantAll,
            reverse: options.direction == Direction::Backward,
            ..RangeOption::from(self.shared.keyspace.bounds(range))
        };
        let values = self.client.get_range(&request, 1, true).await;
        let values = values.map_err(|error| self.shared.read_failed(error))?;
        let rows: Result<Vec<_>, StoreError> = values
            .iter()
            .map(|row| self.row(row.key(), row.value()))
            .collect();
        let page = ScanPage {
            rows: rows?,
            more: values.more(),
        };
        if page.more && page.rows.is_empty() {
            // The caller could only ask the same again.
            let failure = FdbFailure::new(0, "a page without a row is said not to be the last");
            return Err(read_error(failure));
        }
        Ok(page)
    }

    async fn commit(self, reads: ReadSet, writes: WriteBuffer) -> Result<Version, CommitError> {
        let shared = Arc::clone(&self.shared);
        let _running = shared.commits.read().await;
        self.check()?;
        let client_bytes = shared.keyspace.client_bytes(&reads, &writes);
        if client_bytes > CLIENT_BYTES_MAX {
            return Err(too_large(client_bytes).into());
        }
        // Nothing is sent before `commit`, so a failure here has left no trace.
        self.fill(&reads, &writes)
            .map_err(|error| shared.read_failed(error))?;
        let (version, began) = (self.version, shared.clock.now());
        let outcome = match self.client.commit().await {
            Ok(committed) => {
                let committed = committed.committed_version().ok().and_then(to_version);
                Ok(committed.unwrap_or(version))
            }
            Err(error) => {
                let failure = FdbFailure::from(FdbError::from(error));
                Err(commit_error(failure, client_bytes))
            }
        };
        let took = shared.clock.now() - began;
        shared.metrics.on_commit(took, outcome.as_ref().err());
        outcome
    }
}
