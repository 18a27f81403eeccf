//! A restore that has ended and that nobody has accepted yet: what was written after the backup is kept.

use tidelog_env::Env;
use tidelog_store::{ReadMode, ScanOptions, Store, TransactError, Transaction, transact};
use tidelog_types::{SegmentName, Tenant};

use super::error::{AcceptError, PendingError};
use crate::catalogue::RETRY;
use crate::keyspace::{Keyspace, RestoreRow, RestoreState};

/// The restore of this store that has not been accepted yet, if there is one.
pub async fn pending_restore(
    transaction: &mut dyn Transaction,
) -> Result<Option<RestoreRow>, PendingError> {
    let key = Keyspace::new(Tenant::default()).restore();
    // Serializable: what is decided by it conflicts with a restore that begins meanwhile.
    let value = transaction.get(&key, ReadMode::Serializable).await?;
    Ok(value.map(RestoreRow::decode).transpose()?)
}

/// Whether a segment may be deleted as far as restores are concerned: while one is not accepted, nothing
/// that is newer than its backup may be, that is only what the backup has counted the live bytes of.
///
/// Backups have their own say: see [`Pins`](super::Pins).
pub async fn may_delete(
    transaction: &mut dyn Transaction,
    segment: SegmentName,
) -> Result<bool, PendingError> {
    let Some(restore) = pending_restore(transaction).await? else {
        return Ok(true);
    };
    if restore.state == RestoreState::Running || segment.incarnation >= restore.first_incarnation {
        return Ok(false);
    }
    let keys = Keyspace::new(Tenant::default());
    let counted = transaction
        .scan(keys.live_bytes_of(segment), ScanOptions::limit(1))
        .await?;
    Ok(!counted.rows.is_empty())
}

/// Takes note that an operator accepts what a restore has lost. Returns the restore.
pub async fn accept_restore(store: &dyn Store, env: &Env) -> Result<RestoreRow, AcceptError> {
    let key = Keyspace::new(Tenant::default()).restore();
    let accepted = transact(store, env, RETRY, |mut transaction| {
        let key = key.clone();
        async move {
            let value = transaction.get(&key, ReadMode::Serializable).await?;
            let row = value
                .map(RestoreRow::decode)
                .transpose()
                .map_err(|error| TransactError::Abort(AcceptError::Row(error)))?;
            let row = row.ok_or(TransactError::Abort(AcceptError::None))?;
            if row.state == RestoreState::Running {
                return Err(TransactError::Abort(AcceptError::Unfinished(row.backup)));
            }
            transaction.delete(key);
            Ok((transaction, row))
        }
    });
    Ok(accepted.await?)
}
