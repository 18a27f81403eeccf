//! `InitProducerId`.

use std::time::Duration;

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::{InitProducerIdRequest, InitProducerIdResponse};
use tidelog_metadata_api::{InitTransactions, ProducerIdentity};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::{ProducerEpoch, ProducerId};

use super::errors::refusal;
use super::producer;
use crate::call::Call;
use crate::errors::Refusal;

/// Who the producer says that it is: nobody, or all of a producer.
fn expected(request: &InitProducerIdRequest) -> Result<Option<ProducerIdentity>, Refusal> {
    let it = producer(request.producer_id, request.producer_epoch);
    match (it.id == ProducerId::NONE, it.epoch == ProducerEpoch::NONE) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(it)),
        _ => {
            let message = "a producer has an id and an epoch, or neither";
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
    }
}

impl Call {
    pub(crate) async fn init_producer_id(
        &self,
        request: InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        let mut response = InitProducerIdResponse {
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        };
        match self.init(request).await {
            Ok(producer) => {
                response.producer_id = producer.id.get();
                response.producer_epoch = producer.epoch.get();
            }
            Err(refusal) => {
                tracing::debug!(code = %refusal.code, reason = refusal.message, "no producer id");
                response.error_code = self.code(refusal.code);
            }
        }
        response
    }

    async fn init(&self, request: InitProducerIdRequest) -> Result<ProducerIdentity, Refusal> {
        let Some(id) = &request.transactional_id else {
            self.may(Operation::IdempotentWrite, Resource::Cluster)?;
            expected(&request)?;
            let producer = self.front.engine().init_producer().await;
            return producer.map_err(|error| Refusal::from(&error));
        };
        let id = self.transactional_id(id)?;
        let expected = expected(&request)?;
        // What is no time is no allowed one either.
        let timeout = u64::try_from(request.transaction_timeout_ms).unwrap_or_default();
        let request = InitTransactions {
            id,
            timeout: Duration::from_millis(timeout),
            expected,
        };
        let producer = self.front.engine().transactions().init(request).await;
        producer.map_err(|error| refusal(&error, self.key, self.version))
    }
}
