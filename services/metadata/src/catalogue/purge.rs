//! The end of a deleted topic: from here on nothing brings it back.

use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata_api::{CatalogueError, TopicInfo, TopicState};
use tidelog_store::{TransactError, Transaction, transact};
use tidelog_types::{Timestamp, TopicNumber};

use super::{BodyError, Catalogue, RETRY, corrupt, flatten, read_topic, unavailable};
use crate::backup::{PendingError, pending_restore};

/// When it is looked again whether a restore still waits for an operator.
const RESTORE_PAUSE: Duration = Duration::from_mins(1);

/// Whether a topic is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BeginPurge {
    /// It is being purged.
    Now(Arc<TopicInfo>),
    /// Not before this time.
    At(Timestamp),
    /// It is in use, or is gone.
    Never,
}

impl Catalogue {
    /// Lets nobody bring a topic back whose time is over. The transaction reads the row that an undelete writes, and
    /// writes what that reads: one of the two comes first, and the other sees it.
    pub(crate) async fn begin_purge(
        &self,
        number: TopicNumber,
    ) -> Result<BeginPurge, CatalogueError> {
        let begun = transact(
            self.store.as_ref(),
            &self.env,
            RETRY,
            |mut transaction| async move {
                let begun = self.mark(transaction.as_mut(), number).await?;
                Ok((transaction, begun))
            },
        );
        let begun = begun.await.map_err(flatten);
        if begun == Err(CatalogueError::Unknown) {
            self.may_have_changed();
        }
        let (begun, is_news) = begun?;
        if let (BeginPurge::Now(info), true) = (&begun, is_news) {
            tracing::info!(topic = %info.name, id = %info.id, "purging deleted topic");
            self.changed(info).await;
        }
        Ok(begun)
    }

    /// Whether it is time, and whether this changes something.
    async fn mark(
        &self,
        transaction: &mut dyn Transaction,
        number: TopicNumber,
    ) -> Result<(BeginPurge, bool), BodyError> {
        self.generation.check(transaction).await?;
        let Some(mut row) = read_topic(self.keys, transaction, number).await? else {
            return Ok((BeginPurge::Never, false));
        };
        let (at, purge_after) = match row.state() {
            TopicState::Live => return Ok((BeginPurge::Never, false)),
            TopicState::Purging { .. } => {
                return Ok((BeginPurge::Now(Arc::new(row.info())), false));
            }
            TopicState::Deleted { at, purge_after } => (at, purge_after),
        };
        let now = self.env.clock.wall();
        if purge_after > now {
            return Ok((BeginPurge::At(purge_after), false));
        }
        // Until an operator has accepted a restore, it may be that of another backup that is wanted.
        let pending = pending_restore(transaction).await;
        let pending = pending.map_err(|error| {
            TransactError::Abort(match error {
                PendingError::Read(error) => unavailable(error),
                PendingError::Row(error) => corrupt(&error),
            })
        })?;
        if pending.is_some() {
            let pause = i64::try_from(RESTORE_PAUSE.as_millis()).unwrap_or(i64::MAX);
            let later = Timestamp::from_millis(now.as_millis().saturating_add(pause));
            return Ok((BeginPurge::At(later), false));
        }
        row.set_state(TopicState::Purging { at, purge_after });
        transaction.put(self.keys.topic(number), row.encode());
        Ok((BeginPurge::Now(Arc::new(row.info())), true))
    }
}
