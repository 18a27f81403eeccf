//! What was deleted: its rows go.

use tidelog_metadata_api::{DeadSegment, Deletions, LogError, OrphanSearch};
use tidelog_store::{ReadMode, ScanOptions, Transaction, transact};

use super::{Deletion, Failed, damaged, failed};
use crate::catalogue::RETRY;
use crate::keyspace::{DyingRow, OrphansRow};

/// Segments whose rows one transaction deletes: they may have a row of each shard.
const SEGMENTS: usize = 25;
/// The same of those that lie in the store, which have a row of one shard.
const IN_STORE: usize = 250;

impl Deletion {
    /// Takes note that these are deleted.
    pub(crate) async fn deleted(&self, done: Deletions, is_pinned: bool) -> Result<(), LogError> {
        let count = done.dead.len() + done.orphans.len();
        let (in_store, in_buckets): (Vec<_>, Vec<_>) =
            done.dead.iter().partition(|dead| dead.in_store);
        let chunks = in_store.chunks(IN_STORE);
        for some in chunks.chain(in_buckets.chunks(SEGMENTS)) {
            self.forget(some).await?;
        }
        for search in &done.orphans {
            self.searched(search).await?;
        }
        let now = self.parts.env.clock.now();
        self.plan.lock().done(count, is_pinned, now);
        self.parts.signal.wake();
        Ok(())
    }

    async fn forget(&self, dead: &[DeadSegment]) -> Result<(), LogError> {
        let (store, env) = (self.parts.store.as_ref(), &self.parts.env);
        let done = transact(store, env, RETRY, |mut transaction| async move {
            if self.may_go(transaction.as_mut()).await? {
                for dead in dead {
                    self.forget_one(transaction.as_mut(), dead).await?;
                }
            }
            Ok((transaction, ()))
        });
        done.await.map_err(failed)
    }

    async fn forget_one(
        &self,
        transaction: &mut dyn Transaction,
        dead: &DeadSegment,
    ) -> Result<(), Failed> {
        let key = self.keys().dying(dead.segment);
        let value = transaction.get(&key, ReadMode::Serializable).await?;
        let row = value.map(DyingRow::decode).transpose();
        let row = row.map_err(|error| damaged(&error))?;
        if row.and_then(|row| row.dead_since) != Some(dead.dead_since) {
            // It was noted before, or this is of another time.
            return Ok(());
        }
        let range = self.keys().live_bytes_of(dead.segment);
        let page = transaction.scan(range, ScanOptions::default()).await?;
        for (live, _) in page.rows {
            transaction.delete(live);
        }
        // One that was dead before its row said where it lies may have it too.
        transaction.delete(self.keys().inline(dead.segment));
        transaction.delete(key);
        Ok(())
    }

    async fn searched(&self, search: &OrphanSearch) -> Result<(), LogError> {
        let (store, env) = (self.parts.store.as_ref(), &self.parts.env);
        let done = transact(store, env, RETRY, |mut transaction| async move {
            if !self.may_go(transaction.as_mut()).await? {
                return Ok((transaction, ()));
            }
            let mut row = self.row(transaction.as_mut(), search.writer).await?;
            let below = if search.is_last {
                OrphansRow::ALL
            } else {
                search.below
            };
            // What comes late says less; and of another round, or after a restore, nothing.
            if search.since == row.since && below > row.below && below <= row.until {
                row.below = below;
                transaction.put(self.keys().orphans(search.writer), row.encode());
            }
            Ok((transaction, ()))
        });
        done.await.map_err(failed)?;
        if !search.is_last {
            // There may be more.
            self.parts.signal.tell();
        }
        Ok(())
    }
}
