//! `DeleteRecords`.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::delete_records_request::DeleteRecordsPartition;
use tidelog_kafka_codec::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use tidelog_kafka_codec::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::Operation;
use tidelog_types::Offset;

use crate::call::{Call, partition};
use crate::errors::Refusal;

/// Stands for the end of the log.
const END_OF_LOG: i64 = -1;

impl Call {
    pub(crate) async fn delete_records(
        &self,
        request: DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = self.topic(Operation::Delete, &topic.name).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let result = match &found {
                    Ok(topic) => self.delete_before(topic, &wanted).await,
                    Err(refusal) => Err(refusal.clone()),
                };
                let low_watermark = result.as_ref().map_or(-1, |offset| offset.to_i64());
                let code = result.err().map_or(ErrorCode::None, |error| error.code);
                partitions.push(DeleteRecordsPartitionResult {
                    partition_index: wanted.partition_index,
                    low_watermark,
                    error_code: self.code(code),
                });
            }
            topics.push(DeleteRecordsTopicResult {
                name: topic.name,
                partitions,
            });
        }
        DeleteRecordsResponse {
            topics,
            ..DeleteRecordsResponse::default()
        }
    }

    async fn delete_before(
        &self,
        topic: &TopicInfo,
        wanted: &DeleteRecordsPartition,
    ) -> Result<Offset, Refusal> {
        let at = partition(topic, wanted.partition_index)?;
        let before = match wanted.offset {
            END_OF_LOG => None,
            offset => Some(Offset::from_i64(offset).ok_or_else(|| {
                let message = format!("offset `{offset}` is outside the log");
                Refusal::new(ErrorCode::OffsetOutOfRange, message)
            })?),
        };
        let deleted = self.front.engine().delete_records(at, before).await;
        let (bounds, _) = deleted.map_err(|error| Refusal::from(&error))?;
        Ok(bounds.log_start)
    }
}
