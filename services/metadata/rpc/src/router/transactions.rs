//! Transactional ids of the whole cluster: each request goes to the coordinator of its id, and to the next one when it
//! is none any more. All of them may be made twice.

use std::future::Future;

use async_trait::async_trait;
use futures::future::join_all;
use tidelog_metadata_api::{
    ClusterView, EndTransaction, InitTransactions, ProducerIdentity, TransactionDescription,
    TransactionFilter, TransactionNumber, TransactionPage, TransactionPlace, TransactionWork,
    TransactionalId, Transactions, TransactionsError, Verified, transaction_shard,
};

use super::Router;
use super::ask::Twice;
use super::coordinators::{Coordinated, QUESTION};
use crate::server::Parts;

impl Coordinated for TransactionsError {
    fn is_elsewhere(&self, twice: Twice) -> bool {
        match self {
            // Who is not available may only have been out of reach, or have too much to do.
            Self::NotCoordinator | Self::Loading | Self::Unavailable { .. } => true,
            Self::Unknown => twice == Twice::Harmless,
            _ => false,
        }
    }

    fn unheard(reason: String, twice: Twice) -> Self {
        match twice {
            Twice::Harmless => Self::Unavailable { reason },
            Twice::Harmful => Self::Unknown,
        }
    }

    fn loading() -> Self {
        Self::Loading
    }

    fn not_coordinator() -> Self {
        Self::NotCoordinator
    }
}

impl Router {
    /// Asks the coordinator of an id.
    async fn at_id<T, F, Fut>(&self, id: &TransactionalId, ask: F) -> Result<T, TransactionsError>
    where
        F: Fn(Parts) -> Fut + Send,
        Fut: Future<Output = Result<T, TransactionsError>> + Send,
    {
        let shard = |view: &ClusterView| {
            let count = u32::try_from(view.shards.len()).unwrap_or(u32::MAX);
            transaction_shard(id, count)
        };
        self.at_coordinator(shard, QUESTION, ask).await
    }
}

#[async_trait]
impl Transactions for Router {
    async fn init(&self, request: InitTransactions) -> Result<ProducerIdentity, TransactionsError> {
        let request = &request;
        self.at_id(&request.id, |parts| async move {
            parts.transactions.init(request.clone()).await
        })
        .await
    }

    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber, TransactionsError> {
        let work = &work;
        self.at_id(&work.id, |parts| async move {
            parts.transactions.add(work.clone()).await
        })
        .await
    }

    async fn verify(&self, work: TransactionWork) -> Result<Verified, TransactionsError> {
        let work = &work;
        self.at_id(&work.id, |parts| async move {
            parts.transactions.verify(work.clone()).await
        })
        .await
    }

    async fn end(&self, request: EndTransaction) -> Result<ProducerIdentity, TransactionsError> {
        let request = &request;
        self.at_id(&request.id, |parts| async move {
            parts.transactions.end(request.clone()).await
        })
        .await
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>> {
        let asked = ids.iter().map(|id| {
            self.at_id(id, move |parts| async move {
                let id = std::slice::from_ref(id);
                let mut described = parts.transactions.describe_transactions(id).await;
                described.pop().unwrap_or(Err(TransactionsError::Unknown))
            })
        });
        join_all(asked).await
    }

    async fn list_transactions(
        &self,
        filter: &TransactionFilter,
        after: &[u8],
        count: usize,
    ) -> Result<TransactionPage, TransactionsError> {
        let shard = TransactionPlace::decode(after)?.shard;
        let listing = |parts: Parts| async move {
            let transactions = parts.transactions;
            transactions.list_transactions(filter, after, count).await
        };
        self.at_coordinator(|_| shard, QUESTION, listing).await
    }
}
