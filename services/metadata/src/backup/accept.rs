//! Accepts a restore in a store that one process has to itself, whoever that is: the operator's word goes into
//! the bucket, and the process that has the store open finds it there. So nobody has to be stopped for it.

use bytes::Bytes;
use tidelog_env::Env;
use tidelog_store::{RowSource, ScanOptions, Store};
use tidelog_types::Tenant;

use super::error::AcceptError;
use super::objects::{ObjectError, get, put_new};
use super::{Backups, Pages, accept_restore, pending_restore};
use crate::keyspace::{Keyspace, RestoreRow, RestoreState};

/// The word is the name of a backup and little more.
const WORD_BYTES_MAX: u64 = 4_096;

/// What became of the restore of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// None waits to be accepted.
    Nothing,
    /// One waits, and nobody has accepted it yet.
    Waits,
    /// It is accepted now.
    Accepted(RestoreRow),
}

impl Backups {
    /// Says in the bucket that an operator accepts the restore that waits in a store, for
    /// [`accept_if_asked`](Self::accept_if_asked). A second time does nothing. Returns the restore.
    pub async fn ask_to_accept<R: RowSource + ?Sized>(
        &self,
        rows: &R,
        env: &Env,
    ) -> Result<RestoreRow, AcceptError> {
        let pages = Pages {
            source: rows,
            env,
            options: ScanOptions::default(),
        };
        let key = Keyspace::new(Tenant::default()).restore();
        let row = pages.value(key).await.map_err(AcceptError::Read)?;
        let row = row.map(RestoreRow::decode).transpose()?;
        let row = row.ok_or(AcceptError::None)?;
        if row.state == RestoreState::Running {
            return Err(AcceptError::Unfinished(row.backup));
        }
        let path = self.layout.accept(row.generation);
        let word = Bytes::from(format!("{}\n", row.backup));
        put_new(self.objects.as_ref(), &path, word).await?;
        Ok(row)
    }

    /// Accepts the restore that waits in a store if that was said in the bucket. A store in which none waits
    /// needs no request to the bucket.
    pub async fn accept_if_asked(
        &self,
        store: &dyn Store,
        env: &Env,
    ) -> Result<Acceptance, AcceptError> {
        let mut transaction = store.begin().await.map_err(AcceptError::Read)?;
        let Some(row) = pending_restore(transaction.as_mut()).await? else {
            return Ok(Acceptance::Nothing);
        };
        drop(transaction);
        let path = self.layout.accept(row.generation);
        match get(self.objects.as_ref(), &path, WORD_BYTES_MAX).await {
            Ok(_) => {}
            Err(ObjectError::Missing(_)) => return Ok(Acceptance::Waits),
            Err(error) => return Err(error.into()),
        }
        Ok(Acceptance::Accepted(accept_restore(store, env).await?))
    }
}
