//! What the service offers to transactional producers: the coordinators of its shards.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use tidelog_metadata_api::{
    EndTransaction, InitTransactions, ProducerIdentity, TransactionDescription, TransactionFilter,
    TransactionListing, TransactionNumber, TransactionPage, TransactionPlace, TransactionWork,
    TransactionalId, Transactions, TransactionsError, Verified, transaction_shard,
};

use super::MetadataService;
use crate::transactor::Transactor;

/// Transactional ids that are looked at for a page at most.
const PAGE_MAX: usize = 1_000;
/// Of a change that was under way when the store was lost nobody knows what became.
const LOST: TransactionsError = TransactionsError::Unknown;

impl MetadataService {
    fn transactor(&self, id: &TransactionalId) -> Result<Arc<Transactor>, TransactionsError> {
        let shard = transaction_shard(id, self.inner.cluster.shards);
        Ok(self.inner.shards.transactor(shard)?)
    }

    /// Some ids of the shard of `place`, which is here or should be.
    async fn list_transactions_from(
        &self,
        filter: &TransactionFilter,
        place: TransactionPlace,
        count: usize,
    ) -> Result<(Vec<TransactionListing>, Option<TransactionPlace>), TransactionsError> {
        let transactor = self.inner.shards.transactor(place.shard)?;
        let listed = transactor.list(filter, place.after.as_ref(), count).await?;
        let (listings, last) = listed;
        let next = match last {
            Some(last) => Some(TransactionPlace {
                shard: place.shard,
                after: Some(last),
            }),
            None => place.next_shard(self.inner.cluster.shards),
        };
        Ok((listings, next))
    }
}

#[async_trait]
impl Transactions for MetadataService {
    async fn init(&self, request: InitTransactions) -> Result<ProducerIdentity, TransactionsError> {
        let transactor = self.transactor(&request.id)?;
        let work = transactor.init(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber, TransactionsError> {
        let transactor = self.transactor(&work.id)?;
        let work = transactor.add(work);
        self.inner.touch.change(LOST, work).await
    }

    async fn verify(&self, work: TransactionWork) -> Result<Verified, TransactionsError> {
        let transactor = self.transactor(&work.id)?;
        let work = transactor.verify(work);
        self.inner.touch.answer(work).await
    }

    async fn end(&self, request: EndTransaction) -> Result<ProducerIdentity, TransactionsError> {
        let transactor = self.transactor(&request.id)?;
        let work = transactor.end(request);
        self.inner.touch.change(LOST, work).await
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>> {
        let descriptions = ids.iter().map(|id| async move {
            let transactor = self.transactor(id)?;
            let work = transactor.describe(id.clone());
            self.inner.touch.answer(work).await
        });
        join_all(descriptions).await
    }

    async fn list_transactions(
        &self,
        filter: &TransactionFilter,
        after: &[u8],
        count: usize,
    ) -> Result<TransactionPage, TransactionsError> {
        let place = TransactionPlace::decode(after)?;
        let count = count.clamp(1, PAGE_MAX);
        let work = self.list_transactions_from(filter, place, count);
        let (transactions, next) = self.inner.touch.answer(work).await?;
        let next = next.map(|place| place.encode()).unwrap_or_default();
        Ok(TransactionPage { transactions, next })
    }
}
