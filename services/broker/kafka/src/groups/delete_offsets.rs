//! `OffsetDelete`.

use tidelog_kafka_codec::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use tidelog_kafka_codec::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use tidelog_kafka_codec::{ErrorCode, Uuid};
use tidelog_metadata_api::{DeleteOffsets, GroupName};
use tidelog_runtime::access::Operation;

use super::errors::group_code;
use crate::call::{Call, partition};

impl Call {
    pub(crate) async fn offset_delete(&self, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        let result = match self.group(Operation::Delete, &request.group_id) {
            Ok(group) => self.delete_offsets(group, request).await,
            Err(refusal) => Err(refusal.code),
        };
        let code = result.as_ref().err().copied().unwrap_or(ErrorCode::None);
        OffsetDeleteResponse {
            error_code: self.code(code),
            topics: result.unwrap_or_default(),
            ..OffsetDeleteResponse::default()
        }
    }

    async fn delete_offsets(
        &self,
        group: GroupName,
        request: OffsetDeleteRequest,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
        let mut partitions = Vec::new();
        let mut places = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        let named = request
            .topics
            .iter()
            .map(|topic| (&topic.name, Uuid::nil()));
        let found = self.topics_of_offsets(Operation::Read, named, false).await;
        for (topic, found) in request.topics.into_iter().zip(found) {
            let mut answers = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let at = match &found {
                    Ok(topic) => partition(topic, wanted.partition_index),
                    Err(refusal) => Err(refusal.clone()),
                };
                let code = at.as_ref().err().map_or(ErrorCode::None, |it| it.code);
                if let Ok(at) = at {
                    partitions.push(at);
                    places.push((topics.len(), answers.len()));
                }
                answers.push(OffsetDeleteResponsePartition {
                    partition_index: wanted.partition_index,
                    error_code: self.code(code),
                });
            }
            topics.push(OffsetDeleteResponseTopic {
                name: topic.name,
                partitions: answers,
            });
        }
        // The group is asked even if nothing is left to delete: whether it is there is part of the answer.
        let delete = DeleteOffsets { group, partitions };
        let results = self.front.engine().groups().delete_offsets(delete).await;
        let results = results.map_err(|error| group_code(&error))?;
        for ((topic, partition), result) in places.into_iter().zip(results) {
            let topic = topics.get_mut(topic);
            let place = topic.and_then(|topic| topic.partitions.get_mut(partition));
            if let (Some(place), Err(error)) = (place, result) {
                place.error_code = self.code(group_code(&error));
            }
        }
        Ok(topics)
    }
}
