//! `EndTxn`.

use tidelog_kafka_codec::messages::{EndTxnRequest, EndTxnResponse};
use tidelog_metadata_api::{Decision, EndTransaction, ProducerIdentity, TransactionVersion};

use super::errors::refusal;
use super::producer;
use crate::call::Call;
use crate::errors::Refusal;

/// The first version in which the producer has another epoch afterwards.
const EPOCH_FROM: i16 = 5;

impl Call {
    pub(crate) async fn end_txn(&self, request: EndTxnRequest) -> EndTxnResponse {
        let mut response = EndTxnResponse {
            producer_id: -1,
            producer_epoch: -1,
            ..EndTxnResponse::default()
        };
        match self.end(request).await {
            Ok(producer) => {
                response.producer_id = producer.id.get();
                response.producer_epoch = producer.epoch.get();
            }
            Err(refusal) => {
                tracing::debug!(code = %refusal.code, reason = refusal.message, "not ended");
                response.error_code = self.code(refusal.code);
            }
        }
        response
    }

    async fn end(&self, request: EndTxnRequest) -> Result<ProducerIdentity, Refusal> {
        let end = EndTransaction {
            id: self.transactional_id(&request.transactional_id)?,
            producer: producer(request.producer_id, request.producer_epoch),
            decision: if request.committed {
                Decision::Commit
            } else {
                Decision::Abort
            },
            version: if self.version < EPOCH_FROM {
                TransactionVersion::One
            } else {
                TransactionVersion::Two
            },
        };
        let ended = self.front.engine().transactions().end(end).await;
        ended.map_err(|error| refusal(&error, self.key, self.version))
    }
}
