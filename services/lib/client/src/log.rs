//! Partitions, request by request.

use std::time::Duration;

use tidelog_api::v1;
use tidelog_types::{ProducerEpoch, ProducerId};

use crate::call::{Retry, call, call_within};
use crate::{Client, ClientError};

/// The plain requests of the log: for conditional appends, fencing tokens, single fetches and offsets.
///
/// It speaks in the messages of the API, fills in the read-your-writes token and retries what can be
/// retried. [`Producer`](crate::Producer) and [`Consumer`](crate::Consumer) are the comfortable way.
#[derive(Clone, Debug)]
pub struct LogClient {
    client: Client,
}

/// Makes one call of the log service with the token of the client.
macro_rules! log_call {
    ($self:ident, $within:expr, $retry:expr, $method:ident, $request:expr) => {{
        let request = $request;
        let service = $self.client.log_service();
        let response = call_within(&$self.client, $within, $retry, || {
            let (mut service, request) = (service.clone(), request.clone());
            async move { service.$method(request).await }
        })
        .await?;
        $self.client.token().set(response.token.clone());
        response
    }};
}

impl LogClient {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Appends entries; answers one result for each, in their order. Refusals of single batches are in
    /// the results. Not retried when it may have happened: an entry that is neither idempotent nor
    /// conditional would be written twice.
    pub async fn produce(
        &self,
        entries: Vec<v1::ProduceEntry>,
    ) -> Result<Vec<v1::ProduceResult>, ClientError> {
        let asked = entries.len();
        let request = v1::ProduceRequest {
            entries,
            token: self.client.token().get(),
        };
        let within = self.client.options().request_timeout;
        let response = log_call!(self, within, Retry::IfNothingHappened, produce, request);
        checked(response.results, asked)
    }

    /// Reads from many partitions once. The wait asked for comes on top of the request timeout.
    pub async fn fetch(
        &self,
        mut request: v1::FetchRequest,
    ) -> Result<Vec<v1::PartitionData>, ClientError> {
        let asked = request.partitions.len();
        request.token = self.client.token().get();
        let wait = request
            .max_wait
            .and_then(|wait| Duration::try_from(wait).ok());
        let within = self.client.options().request_timeout + wait.unwrap_or_default();
        let response = log_call!(self, within, Retry::Always, fetch, request);
        checked(response.partitions, asked)
    }

    /// Finds offsets; answers one result for each partition, in their order.
    pub async fn list_offsets(
        &self,
        partitions: Vec<v1::ListOffsetsPartition>,
    ) -> Result<Vec<v1::ListOffsetsResult>, ClientError> {
        let asked = partitions.len();
        let request = v1::ListOffsetsRequest {
            partitions,
            token: self.client.token().get(),
        };
        let within = self.client.options().request_timeout;
        let response = log_call!(self, within, Retry::Always, list_offsets, request);
        checked(response.results, asked)
    }

    /// Moves log starts forward; answers one result for each partition, in their order.
    pub async fn delete_records(
        &self,
        partitions: Vec<v1::DeleteRecordsPartition>,
    ) -> Result<Vec<v1::DeleteRecordsResult>, ClientError> {
        // Without an offset a repetition would delete what was written in between.
        let repeatable = partitions
            .iter()
            .all(|partition| partition.before_offset.is_some());
        let retry = if repeatable {
            Retry::Always
        } else {
            Retry::IfNothingHappened
        };
        let asked = partitions.len();
        let request = v1::DeleteRecordsRequest {
            partitions,
            token: self.client.token().get(),
        };
        let within = self.client.options().request_timeout;
        let response = log_call!(self, within, retry, delete_records, request);
        checked(response.results, asked)
    }

    /// Asks for a producer id and epoch that nobody else has.
    pub async fn init_producer(&self) -> Result<(ProducerId, ProducerEpoch), ClientError> {
        let service = self.client.log_service();
        let token = self.client.token().get();
        // An id that was given out in vain costs nothing.
        let response = call(&self.client, Retry::Always, || {
            let mut service = service.clone();
            let request = v1::InitProducerRequest {
                token: token.clone(),
            };
            async move { service.init_producer(request).await }
        })
        .await?;
        let epoch = i16::try_from(response.producer_epoch).unwrap_or(-1);
        if response.producer_id < 0 || epoch < 0 {
            return Err(ClientError::Protocol(
                "a producer id or epoch is out of range",
            ));
        }
        Ok((
            ProducerId::new(response.producer_id),
            ProducerEpoch::new(epoch),
        ))
    }
}

/// The service promises one answer for each item.
pub(crate) fn checked<T>(answers: Vec<T>, asked: usize) -> Result<Vec<T>, ClientError> {
    if answers.len() == asked {
        Ok(answers)
    } else {
        Err(ClientError::Protocol(
            "there are not as many answers as were asked for",
        ))
    }
}
