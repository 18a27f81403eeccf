//! `DescribeProducers`: whom a partition remembers.

use tidelog_kafka_codec::messages::describe_producers_request::TopicRequest;
use tidelog_kafka_codec::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use tidelog_kafka_codec::messages::{DescribeProducersRequest, DescribeProducersResponse};
use tidelog_metadata_api::{ActiveProducer, TopicInfo};
use tidelog_runtime::access::Operation;
use tidelog_types::Offset;

use crate::call::{Call, partition};
use crate::errors::Refusal;

impl Call {
    pub(crate) async fn describe_producers(
        &self,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            topics.push(self.producers_of_topic(topic).await);
        }
        DescribeProducersResponse {
            topics,
            ..DescribeProducersResponse::default()
        }
    }

    async fn producers_of_topic(&self, topic: TopicRequest) -> TopicResponse {
        let found = self.topic(Operation::Read, &topic.name).await;
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let producers = match &found {
                Ok(topic) => self.producers(topic, index).await,
                Err(refusal) => Err(refusal.clone()),
            };
            let response = PartitionResponse {
                partition_index: index,
                ..PartitionResponse::default()
            };
            partitions.push(match producers {
                Ok(producers) => PartitionResponse {
                    active_producers: producers.iter().map(state).collect(),
                    ..response
                },
                Err(refusal) => PartitionResponse {
                    error_code: self.code(refusal.code),
                    error_message: Some(refusal.text()),
                    ..response
                },
            });
        }
        TopicResponse {
            name: topic.name,
            partitions,
        }
    }

    async fn producers(
        &self,
        topic: &TopicInfo,
        index: i32,
    ) -> Result<Vec<ActiveProducer>, Refusal> {
        let at = partition(topic, index)?;
        let producers = self.front.engine().producers(at).await;
        producers.map_err(|error| Refusal::from(&error))
    }
}

/// A producer as it is told: -1 stands for what there is not.
fn state(known: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: known.producer.id.get(),
        producer_epoch: i32::from(known.producer.epoch.get()),
        last_sequence: known.last_sequence.unwrap_or(-1),
        last_timestamp: known.last_used.as_millis(),
        coordinator_epoch: known.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: known.open_from.map_or(-1, Offset::to_i64),
    }
}
