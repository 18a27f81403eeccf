//! The transactions of a process that has none.

use async_trait::async_trait;

use super::{
    EndTransaction, InitTransactions, TransactionDescription, TransactionFilter, TransactionPage,
    TransactionWork, TransactionalId, Transactions, TransactionsError, Verified,
};
use crate::{ProducerIdentity, TransactionNumber};

/// Answers to every request that no coordinator is available.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTransactions;

fn refuse() -> TransactionsError {
    TransactionsError::Unavailable {
        reason: "this process knows no coordinators".to_owned(),
    }
}

#[async_trait]
impl Transactions for NoTransactions {
    async fn init(&self, _: InitTransactions) -> Result<ProducerIdentity, TransactionsError> {
        Err(refuse())
    }

    async fn add(&self, _: TransactionWork) -> Result<TransactionNumber, TransactionsError> {
        Err(refuse())
    }

    async fn verify(&self, _: TransactionWork) -> Result<Verified, TransactionsError> {
        Err(refuse())
    }

    async fn end(&self, _: EndTransaction) -> Result<ProducerIdentity, TransactionsError> {
        Err(refuse())
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>> {
        ids.iter().map(|_| Err(refuse())).collect()
    }

    async fn list_transactions(
        &self,
        _: &TransactionFilter,
        _: &[u8],
        _: usize,
    ) -> Result<TransactionPage, TransactionsError> {
        Err(refuse())
    }
}
