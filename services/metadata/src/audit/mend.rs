//! Mends what an audit has found and what can be mended without losing anything.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tidelog_blob::object_store::{self, ObjectStore, ObjectStoreExt as _};
use tidelog_blob::{ClusterLayout, ErrorKind, classify};
use tidelog_env::Env;
use tidelog_store::{ReadMode, RowSource, ScanOptions, Store, StoreError, TransactError, transact};
use tidelog_types::{ClusterId, SegmentName, ShardId, Tenant};

use super::difference::Difference;
use crate::backup::{Backups, ObjectError, Pages, PendingError, pending_restore};
use crate::catalogue::RETRY;
use crate::keyspace::{DyingRow, Keyspace, LiveBytesRow, RowError};

/// Orphans that are deleted between two looks at what must stay.
const ORPHANS: usize = 100;

/// What was mended, and what was left since it had changed.
#[derive(Clone, Debug, Default)]
pub struct Mended {
    /// The differences that are no more.
    pub mended: BTreeSet<Difference>,
    /// Those that something has changed since they were found: the next audit says what has become of them.
    pub changed: BTreeSet<Difference>,
}

/// Why something was not mended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MendError {
    /// The bucket failed.
    #[error("an orphan cannot be deleted")]
    Bucket(#[from] object_store::Error),
    /// The metadata store cannot be read.
    #[error("the metadata store cannot be read")]
    Read(#[from] StoreError),
    /// Backups cannot be listed, which say what must stay.
    #[error("the backups cannot be listed")]
    Backups(#[from] ObjectError),
    /// The metadata store failed.
    #[error("a row cannot be written")]
    Store(#[from] TransactError<Box<MendError>>),
    /// A row is damaged.
    #[error("stored metadata is damaged")]
    Row(#[from] RowError),
    /// Rows are damaged or missing: what they would name counts as named by nothing, and would be lost with a row or an
    /// object that is mended after such a picture.
    #[error("nothing is mended while rows of the metadata store are damaged or missing")]
    Incomplete,
    /// What was restored waits to be accepted.
    #[error("nothing is mended until the restore is accepted")]
    Restored,
}

/// What rows that cannot be read, or are not there, would name is not known.
fn is_whole(differences: &BTreeSet<Difference>) -> Result<(), MendError> {
    let unknown =
        |found: &Difference| matches!(found, Difference::Row { .. } | Difference::Log { .. });
    if differences.iter().any(unknown) {
        return Err(MendError::Incomplete);
    }
    Ok(())
}

/// Whose orphans are deleted.
pub struct OrphansOf<'a, R: ?Sized> {
    /// The rows of the metadata store, as they are now.
    pub source: &'a R,
    /// The bucket.
    pub objects: Arc<dyn ObjectStore>,
    /// Where the cluster's objects are.
    pub layout: ClusterLayout,
    /// The cluster.
    pub cluster: ClusterId,
    /// Clock and randomness.
    pub env: &'a Env,
}

impl<R: ?Sized> fmt::Debug for OrphansOf<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrphansOf").finish_non_exhaustive()
    }
}

/// Deletes the orphans among the differences that no backup needs. None of them can be committed any more, now or
/// later. But an audit may have taken hours: before some are deleted it is looked whether a restore has begun since, by
/// which they may be named again, and which of them a backup needs.
pub async fn mend_orphans<R: RowSource + ?Sized>(
    of: &OrphansOf<'_, R>,
    differences: &BTreeSet<Difference>,
) -> Result<Mended, MendError> {
    is_whole(differences)?;
    let backups = Backups::new(Arc::clone(&of.objects), of.layout.clone(), of.cluster);
    let pages = Pages {
        source: of.source,
        env: of.env,
        options: ScanOptions::default(),
    };
    let restore = Keyspace::new(Tenant::default()).restore();
    let orphans = differences
        .iter()
        .filter_map(|difference| match difference {
            Difference::Orphan {
                segment,
                pinned: false,
                ..
            } => Some((*segment, difference)),
            _ => None,
        });
    let orphans: Vec<_> = orphans.collect();
    let mut mended = Mended::default();
    for some in orphans.chunks(ORPHANS) {
        if pages.value(restore.clone()).await?.is_some() {
            return Err(MendError::Restored);
        }
        let pins = backups.pins().await?;
        for (segment, difference) in some {
            if pins.name(*segment) {
                mended.changed.insert((*difference).clone());
                continue;
            }
            // Its name is its own in all buckets.
            for bucket in of.layout.buckets() {
                match of
                    .objects
                    .delete(&of.layout.segment(bucket, *segment))
                    .await
                {
                    Ok(()) => {}
                    Err(error) if classify(&error) == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
            mended.mended.insert((*difference).clone());
        }
    }
    Ok(mended)
}

/// Writes the live bytes among the differences as extents have them, and takes note of segments that were forgotten.
///
/// Each row is written only if it still is what the audit has read: every change of the extents of a segment changes its
/// live bytes, so that the sum that was found then holds.
pub async fn mend_rows(
    store: &dyn Store,
    env: &Env,
    differences: &BTreeSet<Difference>,
) -> Result<Mended, MendError> {
    is_whole(differences)?;
    let mut mended = Mended::default();
    for difference in differences {
        let is_done = match difference {
            Difference::LiveBytes {
                segment,
                shard,
                stored,
                named,
            } => write(store, env, *segment, Some((*shard, *stored, *named))).await?,
            Difference::Forgotten { segment } => write(store, env, *segment, None).await?,
            _ => continue,
        };
        let done = if is_done {
            &mut mended.mended
        } else {
            &mut mended.changed
        };
        done.insert(difference.clone());
    }
    Ok(mended)
}

/// Writes one row of live bytes, if it has what is expected, and a dying row where nothing is named. Says whether it did.
async fn write(
    store: &dyn Store,
    env: &Env,
    segment: SegmentName,
    change: Option<(ShardId, Option<u64>, u64)>,
) -> Result<bool, MendError> {
    let keys = Keyspace::new(Tenant::default());
    let written = transact(store, env, RETRY, |mut transaction| async move {
        match pending_restore(transaction.as_mut()).await {
            Ok(None) => {}
            Ok(Some(_)) => return Err(TransactError::Abort(Box::new(MendError::Restored))),
            Err(PendingError::Read(error)) => return Err(TransactError::Read(error)),
            Err(PendingError::Row(error)) => return Err(abort(error)),
        }
        let mut names_none = true;
        if let Some((shard, expected, named)) = change {
            names_none = named == 0;
            let key = keys.live_bytes(segment, shard);
            let value = transaction.get(&key, ReadMode::Serializable).await?;
            let row = value.map(LiveBytesRow::decode).transpose().map_err(abort)?;
            if row.map(|row| row.bytes) != expected {
                return Ok((transaction, false));
            }
            let committed = row.map_or(named, |row| row.committed.max(named));
            let row = LiveBytesRow {
                bytes: named,
                committed,
            };
            transaction.put(key, row.encode());
        }
        if names_none {
            let key = keys.dying(segment);
            if transaction
                .get(&key, ReadMode::Serializable)
                .await?
                .is_none()
            {
                transaction.put(key, DyingRow::default().encode());
            }
        }
        Ok((transaction, true))
    });
    Ok(written.await?)
}

fn abort(error: RowError) -> TransactError<Box<MendError>> {
    TransactError::Abort(Box::new(MendError::Row(error)))
}
