//! Transactions: what coordinators of transactional ids offer.

mod error;
mod id;
mod nobody;
mod request;
mod show;

use std::fmt;

use async_trait::async_trait;

pub use error::{TransactionError, TransactionsError};
pub use id::{TransactionalId, TransactionalIdError};
pub use nobody::NoTransactions;
pub use request::{
    EndTransaction, InitTransactions, Participant, TransactionVersion, TransactionWork, Verified,
};
pub use show::{
    TransactionDescription, TransactionFilter, TransactionListing, TransactionPage,
    TransactionState,
};

use crate::{ProducerIdentity, TransactionNumber};

/// Coordinators of transactional ids. Each id has one, beside the sequencer of its shard.
///
/// An error says what has happened: see [`TransactionsError`]. All requests may be repeated.
#[async_trait]
pub trait Transactions: fmt::Debug + Send + Sync + 'static {
    /// A producer begins; the answer is who it is. Whoever was before is fenced, and what it has open is aborted.
    async fn init(&self, request: InitTransactions) -> Result<ProducerIdentity, TransactionsError>;

    /// Partitions and groups join the producer's transaction, which begins with the first of them: all or none.
    /// The answer is its number, which what is sent to them must name.
    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber, TransactionsError>;

    /// Which of these do not take part in the producer's open transaction: nothing may be sent to them.
    async fn verify(&self, work: TransactionWork) -> Result<Verified, TransactionsError>;

    /// A producer ends its transaction; the answer is who it is for its next one.
    async fn end(&self, request: EndTransaction) -> Result<ProducerIdentity, TransactionsError>;

    /// Describes ids, one answer for each and in their order. Linearizable (rule C9).
    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>>;

    /// Lists ids, about `count` in a page, from where `after` (a page's `next`, or empty) points.
    async fn list_transactions(
        &self,
        filter: &TransactionFilter,
        after: &[u8],
        count: usize,
    ) -> Result<TransactionPage, TransactionsError>;
}
