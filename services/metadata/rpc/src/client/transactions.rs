//! The coordinators of transactional ids of a remote process.

use async_trait::async_trait;
use futures::future::join_all;
use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::coordinate_request::Request as Ask;
use tidelog_api::internal::v1::coordinate_response::Answer;
use tidelog_metadata_api::{
    EndTransaction, InitTransactions, ProducerIdentity, TransactionDescription, TransactionFilter,
    TransactionNumber, TransactionPage, TransactionWork, TransactionalId, Transactions,
    TransactionsError, Verified,
};

use super::node::RemoteNode;
use crate::rpc::Rpc;
use crate::settings::MESSAGE_BYTES_MAX;
use crate::status::CallError;
use crate::wire::{
    WireError, end_to, id_to, init_to, list_transactions_to, producer_from,
    transaction_failure_from, transaction_from, transaction_page_from, verified_from, work_to,
};

/// The answer is none to what was asked, or makes no sense: nothing is known of what was done.
fn nonsense(error: &WireError) -> TransactionsError {
    tracing::warn!(%error, "an answer of a coordinator makes no sense");
    TransactionsError::Unknown
}

fn other() -> TransactionsError {
    nonsense(&WireError::Missing("answer"))
}

impl RemoteNode {
    async fn coordinate(&self, ask: Ask) -> Result<Answer, TransactionsError> {
        let message = v1::CoordinateRequest { request: Some(ask) };
        if message.encoded_len() > MESSAGE_BYTES_MAX {
            let reason = "it is larger than a message between processes may be".to_owned();
            return Err(TransactionsError::InvalidRequest { reason });
        }
        let mut client = self.peer.transactions();
        let answer = self
            .peer
            .call(Rpc::Coordinate, message, |request| async move {
                client.coordinate(request).await
            });
        let answer = answer.await.map_err(CallError::into_transactions)?;
        match answer.answer {
            Some(Answer::Failure(failure)) => Err(transaction_failure_from(failure)),
            Some(answer) => Ok(answer),
            None => Err(other()),
        }
    }

    async fn producer(&self, ask: Ask) -> Result<ProducerIdentity, TransactionsError> {
        match self.coordinate(ask).await? {
            Answer::Producer(producer) => {
                producer_from(Some(producer)).map_err(|error| nonsense(&error))
            }
            _ => Err(other()),
        }
    }
}

#[async_trait]
impl Transactions for RemoteNode {
    async fn init(&self, request: InitTransactions) -> Result<ProducerIdentity, TransactionsError> {
        self.producer(Ask::Init(init_to(&request))).await
    }

    async fn add(&self, work: TransactionWork) -> Result<TransactionNumber, TransactionsError> {
        match self.coordinate(Ask::Add(work_to(&work))).await? {
            Answer::Joined(joined) => Ok(TransactionNumber(joined.number)),
            _ => Err(other()),
        }
    }

    async fn verify(&self, work: TransactionWork) -> Result<Verified, TransactionsError> {
        match self.coordinate(Ask::Verify(work_to(&work))).await? {
            Answer::Verified(verified) => verified_from(verified).map_err(|error| nonsense(&error)),
            _ => Err(other()),
        }
    }

    async fn end(&self, request: EndTransaction) -> Result<ProducerIdentity, TransactionsError> {
        self.producer(Ask::End(end_to(&request))).await
    }

    async fn describe_transactions(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<Result<TransactionDescription, TransactionsError>> {
        let asked = ids.iter().map(|id| async {
            let transactional_id = id_to(id);
            let ask = Ask::Describe(v1::DescribeTransaction { transactional_id });
            match self.coordinate(ask).await? {
                Answer::Description(description) => {
                    transaction_from(description).map_err(|error| nonsense(&error))
                }
                _ => Err(other()),
            }
        });
        join_all(asked).await
    }

    async fn list_transactions(
        &self,
        filter: &TransactionFilter,
        after: &[u8],
        count: usize,
    ) -> Result<TransactionPage, TransactionsError> {
        let ask = Ask::List(list_transactions_to(filter, after, count));
        match self.coordinate(ask).await? {
            Answer::Listed(page) => transaction_page_from(page).map_err(|error| nonsense(&error)),
            _ => Err(other()),
        }
    }
}
