//! `TransactionService`.

use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_api::internal::v1::coordinate_request::Request as Ask;
use tidelog_api::internal::v1::coordinate_response::Answer;
use tidelog_metadata_api::{Transactions, TransactionsError};
use tonic::{Request, Response, Status};

use super::call::Front;
use crate::rpc::Rpc;
use crate::settings::MESSAGE_BYTES_MAX;
use crate::wire::{
    WireError, end_from, id_from, init_from, producer_to, shortened, transaction_failure_to,
    transaction_filter_from, transaction_page_to, transaction_to, verified_to, work_from,
};

#[tonic::async_trait]
impl v1::transaction_service_server::TransactionService for Front {
    async fn coordinate(
        &self,
        request: Request<v1::CoordinateRequest>,
    ) -> Result<Response<v1::CoordinateResponse>, Status> {
        let call = self.begin(Rpc::Coordinate, &request)?;
        let transactions = call.parts()?.transactions;
        let request = request.into_inner();
        call.run(async move { Ok(take(transactions.as_ref(), request).await) })
            .await
    }
}

fn response(answer: Result<Answer, TransactionsError>) -> v1::CoordinateResponse {
    let answer = answer.unwrap_or_else(|error| Answer::Failure(transaction_failure_to(&error)));
    v1::CoordinateResponse {
        answer: Some(answer),
    }
}

/// Asks, and gives an answer that fits a message.
async fn take(
    transactions: &dyn Transactions,
    request: v1::CoordinateRequest,
) -> v1::CoordinateResponse {
    let answer = match request.request {
        Some(ask) => answer(transactions, ask).await,
        // Of a later version.
        None => Err(TransactionsError::InvalidRequest {
            reason: "this metadata process does not know the request".to_owned(),
        }),
    };
    let whole = response(answer);
    if whole.encoded_len() < MESSAGE_BYTES_MAX {
        return whole;
    }
    let reason = "the answer is larger than a message between processes may be".to_owned();
    response(Err(TransactionsError::InvalidRequest { reason }))
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn refuse(error: WireError) -> TransactionsError {
    TransactionsError::InvalidRequest {
        reason: shortened(error.to_string()),
    }
}

async fn answer(transactions: &dyn Transactions, ask: Ask) -> Result<Answer, TransactionsError> {
    Ok(match ask {
        Ask::Init(request) => {
            let request = init_from(&request).map_err(refuse)?;
            Answer::Producer(producer_to(transactions.init(request).await?))
        }
        Ask::Add(work) => {
            let work = work_from(work).map_err(refuse)?;
            let number = transactions.add(work).await?.0;
            Answer::Joined(v1::JoinedTransaction { number })
        }
        Ask::Verify(work) => {
            let work = work_from(work).map_err(refuse)?;
            Answer::Verified(verified_to(&transactions.verify(work).await?))
        }
        Ask::End(request) => {
            let request = end_from(&request).map_err(refuse)?;
            Answer::Producer(producer_to(transactions.end(request).await?))
        }
        Ask::Describe(request) => {
            let id = id_from(&request.transactional_id).map_err(refuse)?;
            let described = transactions.describe_transactions(&[id]).await.pop();
            let described = described.unwrap_or(Err(TransactionsError::Unknown))?;
            Answer::Description(transaction_to(&described))
        }
        Ask::List(request) => {
            let filter = transaction_filter_from(&request).map_err(refuse)?;
            let count = usize::try_from(request.count).unwrap_or(usize::MAX);
            let page = transactions
                .list_transactions(&filter, &request.after, count)
                .await?;
            Answer::Listed(transaction_page_to(page))
        }
    })
}
