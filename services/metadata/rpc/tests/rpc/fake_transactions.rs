//! Coordinators of transactional ids that know which ids are theirs, and nothing else.

use async_trait::async_trait;
use tidelog_metadata_api::*;

use crate::fake::Fake;

impl Fake {
    fn coordinates_id(&self, id: &TransactionalId) -> Result<(), TransactionsError> {
        let count = u32::try_from(self.view.borrow().shards.len()).expect("few");
        let shard = transaction_shard(id, count);
        let owns = self.said.lock().groups.contains_key(&shard);
        owns.then_some(()).ok_or(TransactionsError::NotCoordinator)
    }
}

fn refuse() -> TransactionsError {
    TransactionsError::InvalidRequest {
        reason: "no test asks for it".to_owned(),
    }
}

#[async_trait]
impl Transactions for Fake {
    async fn init(&self, _: InitTransactions) -> Result<ProducerIdentity, TransactionsError> {
        Err(refuse())
    }

    /// Waits for as long as a test says.
    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber, TransactionsError> {
        self.coordinates_id(&work.id)?;
        self.joins.send_modify(|joins| *joins += 1);
        let mut gate = self.gate.subscribe();
        // The sender is here.
        let _ = gate.wait_for(|is_open| *is_open).await;
        self.coordinates_id(&work.id)?;
        Ok(TransactionNumber(7))
    }

    async fn verify(&self, _: TransactionWork) -> Result<Verified, TransactionsError> {
        Err(refuse())
    }

    async fn end(&self, _: EndTransaction) -> Result<ProducerIdentity, TransactionsError> {
        Err(TransactionError::Concurrent.into())
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>> {
        ids.iter()
            .map(|_| Err(TransactionsError::NotFound))
            .collect()
    }

    /// One id for each shard, which it must own.
    async fn list_transactions(
        &self,
        _: &TransactionFilter,
        after: &[u8],
        _: usize,
    ) -> Result<TransactionPage, TransactionsError> {
        let place = TransactionPlace::decode(after)?;
        if !self.said.lock().groups.contains_key(&place.shard) {
            return Err(TransactionsError::NotCoordinator);
        }
        let count = u32::try_from(self.view.borrow().shards.len()).expect("few");
        let listing = TransactionListing {
            id: TransactionalId::new(&format!("of-{}", place.shard.get())).expect("a good id"),
            producer: tidelog_types::ProducerId::new(1),
            state: TransactionState::Empty,
        };
        Ok(TransactionPage {
            transactions: vec![listing],
            next: place
                .next_shard(count)
                .map(|next| next.encode())
                .unwrap_or_default(),
        })
    }
}
