//! The ids of a shard as operators list them: as they are stored.

use tidelog_metadata_api::{
    TransactionFilter, TransactionListing, TransactionalId, TransactionsError,
};

use super::Transactor;
use super::errors::of_row;
use super::sweep::read_page;

/// Some ids that a filter lets through, and the last that was looked at if there may be more.
pub(crate) type Listed = (Vec<TransactionListing>, Option<TransactionalId>);

impl Transactor {
    /// Looks at about so many ids of the shard that come after one, in their order.
    pub(crate) async fn list(
        &self,
        filter: &TransactionFilter,
        after: Option<&TransactionalId>,
        count: usize,
    ) -> Result<Listed, TransactionsError> {
        let range = self.parts.keys.transactions_after(self.shard, after);
        let page = read_page(self.parts.store.as_ref(), range, count).await?;
        let last = page.ids.last().map(|(id, _)| id.clone());
        let wall = self.parts.env.clock.wall();
        let mut listed = Vec::new();
        for (id, stored) in page.ids {
            let stored = stored.map_err(of_row)?;
            if stored.is_listed(filter, wall) {
                listed.push(TransactionListing {
                    id,
                    producer: stored.shown_producer().id,
                    state: stored.state(),
                });
            }
        }
        Ok((listed, last.filter(|_| page.has_more)))
    }

    /// Shows that this process has owned the shard at some time since the call, and that what was on its way is
    /// stored.
    pub(super) async fn prove(&self) -> Result<(), TransactionsError> {
        let proof = self.sequencer.barrier().await;
        proof.map(drop).map_err(super::errors::of_log)
    }
}
