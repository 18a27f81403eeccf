//! Ids that nobody asks for: those with a transaction that the owner before has left, and those that have expired.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tidelog_metadata_api::{TransactionalId, TransactionsError};
use tidelog_store::{KeyRange, ScanOptions, Store};
use tidelog_transactions::{Phase, StoredTransaction};
use tidelog_types::Timestamp;

use super::actor::{Actor, Done};
use super::errors::{of_row, of_store};
use super::keeper::Keeper;
use crate::driver::SWEEP_PAGE;
use crate::keyspace::{Keyspace, RowError, TransactionRow};

/// A page of ids.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) ids: Vec<(TransactionalId, Result<StoredTransaction, RowError>)>,
    pub(super) has_more: bool,
}

/// What a look at some ids has come to.
#[derive(Debug)]
pub(super) struct Swept(Result<Page, TransactionsError>);

impl Actor {
    /// Looks at all ids of the shard, some at a time.
    pub(super) fn begin_sweep(&mut self) {
        self.sweep.begin();
        self.go_on_sweeping();
    }

    /// Reads the next rows, unless enough ids are being read.
    pub(super) fn go_on_sweeping(&mut self) {
        let Some(rest) = self.sweep.read_on(self.loading) else {
            return;
        };
        let store = Arc::clone(&self.parts.store);
        let (keys, shard) = (self.parts.keys, self.shard);
        let reading = async move {
            let range = keys.transactions_after(shard, rest.after());
            let page = read_page(store.as_ref(), range, SWEEP_PAGE);
            Done::Swept(Swept(page.await))
        };
        self.jobs.push(reading.boxed());
    }

    pub(super) fn swept(&mut self, swept: Swept) {
        let now = self.parts.env.clock.now();
        let page = match swept.0 {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(
                    shard = self.shard.get(),
                    error = &error as &dyn std::error::Error,
                    "transactional ids could not be looked through"
                );
                self.sweep.has_failed(now);
                return;
            }
        };
        let last = page.ids.last().filter(|_| page.has_more);
        self.sweep.has_read(last.map(|(id, _)| id.clone()));
        for (id, stored) in page.ids {
            match stored {
                Ok(stored) => self.look_at(id, &stored),
                Err(error) => tracing::error!(
                    shard = self.shard.get(),
                    id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "the row of a transactional id is damaged; its transaction may stay open"
                ),
            }
        }
        self.go_on_sweeping();
        self.sweep.end(now, self.parts.settings.sweep_interval);
    }

    /// Decides what an id needs by its row.
    fn look_at(&mut self, id: TransactionalId, stored: &StoredTransaction) {
        let due = match &stored.phase {
            // It has a timer, or participants that may not have been told.
            Phase::Ongoing { .. } | Phase::Ending { .. } => Duration::ZERO,
            Phase::Empty | Phase::Ended { .. } => self.expires_in(stored.changed_at),
        };
        if !due.is_zero() {
            self.note_due(due);
        } else if !self.begin_load(id, Vec::new()) {
            self.note_retry();
        }
    }

    fn expires_in(&self, changed_at: Timestamp) -> Duration {
        let wall = self.parts.env.clock.wall();
        let age = wall.as_millis().saturating_sub(changed_at.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        self.parts.settings.expiry.saturating_sub(age)
    }

    /// Something was not to be had: there may be memory for it later, or a store that answers.
    pub(super) fn note_retry(&mut self) {
        let now = self.parts.env.clock.now();
        let interval = self.parts.settings.sweep_interval;
        self.sweep.note_retry(now, interval);
    }

    fn note_due(&mut self, due: Duration) {
        let now = self.parts.env.clock.now();
        let interval = self.parts.settings.sweep_interval;
        self.sweep.note(now, due, interval);
    }

    /// Takes note of when an id expires, which may have left memory by then.
    pub(super) fn note_expiry(&mut self, keeper: &Keeper) {
        if let Some(stored) = keeper.machine.stored()
            && matches!(stored.phase, Phase::Empty | Phase::Ended { .. })
        {
            self.note_due(self.expires_in(stored.changed_at));
        }
    }
}

/// Reads ids, and whether there may be more. One that is damaged is the error of that one alone.
pub(super) async fn read_page(
    store: &dyn Store,
    range: KeyRange,
    count: usize,
) -> Result<Page, TransactionsError> {
    let mut transaction = store.begin().await.map_err(of_store)?;
    let options = ScanOptions::limit(count).snapshot();
    let page = transaction.scan(range, options).await.map_err(of_store)?;
    let has_more = page.more;
    let ids = page.rows.into_iter().map(|(key, value)| {
        let id = Keyspace::transactional_id(&key).ok_or(RowError {
            kind: "transaction",
            what: "its key has no id",
        });
        let stored = TransactionRow::decode(value).map(|row| row.0);
        Ok((id.map_err(of_row)?, stored))
    });
    let ids = ids.collect::<Result<_, TransactionsError>>()?;
    Ok(Page { ids, has_more })
}
