//! `CreateTopics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_kafka_codec::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic,
};
use tidelog_kafka_codec::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use tidelog_kafka_codec::messages::{CreateTopicsRequest, CreateTopicsResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{NewTopic, TopicInfo};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::TopicName;

use crate::call::Call;
use crate::configs::entries;
use crate::errors::Refusal;
use crate::repeats::Repeats;

/// Stands for "as the server sees fit".
const UNSET: i32 = -1;
/// How many brokers keep a partition, as far as clients are told: the bucket replicates.
const REPLICATION_FACTOR: i16 = 1;

impl Call {
    pub(crate) async fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut repeats = Repeats::of(request.topics.iter().map(|topic| topic.name.clone()));
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let name = topic.name.clone();
            let Some(allowed) = repeats.check_once(&name, "the topic") else {
                continue;
            };
            let result = match allowed {
                Ok(()) => self.create(topic, request.validate_only).await,
                Err(refusal) => Err(refusal),
            };
            topics.push(self.created(name, result, request.validate_only));
        }
        CreateTopicsResponse {
            topics,
            ..CreateTopicsResponse::default()
        }
    }

    async fn create(
        &self,
        topic: CreatableTopic,
        validate_only: bool,
    ) -> Result<Arc<TopicInfo>, Refusal> {
        self.may(Operation::Create, Resource::Topic(&topic.name))?;
        let name = TopicName::new(&topic.name).map_err(|error| Refusal::from(&error))?;
        let default = self.front.parts.settings.default_partitions;
        let partitions = partitions(&topic, default)?;
        let mut config = BTreeMap::new();
        for entry in topic.configs {
            let Some(value) = entry.value else {
                let message = format!("`{}` has no value", entry.name);
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            };
            config.insert(entry.name.to_string(), value.to_string());
        }
        let new = NewTopic {
            name,
            partitions,
            config,
            validate_only,
        };
        let created = self.front.engine().catalogue().create_topic(new).await;
        created.map_err(|error| Refusal::from(&error))
    }

    /// Creates a topic as the server sees fit.
    pub(super) async fn create_by_default(&self, name: &str) -> Result<Arc<TopicInfo>, Refusal> {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: UNSET,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        self.create(topic, false).await
    }

    fn created(
        &self,
        name: ByteString,
        result: Result<Arc<TopicInfo>, Refusal>,
        validate_only: bool,
    ) -> CreatableTopicResult {
        let topic = match result {
            Ok(topic) => topic,
            Err(refusal) => {
                return CreatableTopicResult {
                    name,
                    error_code: self.code(refusal.code),
                    error_message: Some(refusal.text()),
                    ..CreatableTopicResult::default()
                };
            }
        };
        let mut result = CreatableTopicResult {
            name,
            num_partitions: i32::try_from(topic.partition_count()).unwrap_or(i32::MAX),
            replication_factor: REPLICATION_FACTOR,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        };
        if !validate_only {
            result.topic_id = *topic.id.as_uuid();
        }
        let on = Resource::Topic(topic.name.as_str());
        if self.may(Operation::DescribeConfigs, on).is_ok() {
            let configs = entries(&topic.config).map(|entry| CreatableTopicConfigs {
                name: ByteString::from_static(entry.key.name),
                value: Some(entry.value.into()),
                read_only: false,
                config_source: entry.source,
                is_sensitive: false,
            });
            result.configs = Some(configs.collect());
        } else {
            result.topic_config_error_code = self.code(ErrorCode::TopicAuthorizationFailed);
        }
        result
    }
}

/// How many partitions a new topic has.
fn partitions(topic: &CreatableTopic, default: u32) -> Result<u32, Refusal> {
    let factor = i32::from(topic.replication_factor);
    if !topic.assignments.is_empty() {
        if topic.num_partitions != UNSET || factor != UNSET {
            let message = "a topic has either assignments or numbers of partitions and replicas";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        return assigned(&topic.assignments);
    }
    if factor != UNSET && factor < 1 {
        let message = "the replication factor is at least 1, or -1 for the default";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    match topic.num_partitions {
        UNSET => Ok(default),
        count => u32::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| {
                let message = "a topic has at least 1 partition, or -1 for the default";
                Refusal::new(ErrorCode::InvalidPartitions, message)
            }),
    }
}

/// Where partitions shall lie has no meaning here, but which there are has.
fn assigned(assignments: &[CreatableReplicaAssignment]) -> Result<u32, Refusal> {
    let mut indexes: Vec<i32> = assignments.iter().map(|it| it.partition_index).collect();
    indexes.sort_unstable();
    let is_dense = (0..).zip(&indexes).all(|(at, index)| at == *index);
    let is_placed = assignments.iter().all(|it| !it.broker_ids.is_empty());
    let count = u32::try_from(indexes.len()).ok();
    count.filter(|_| is_dense && is_placed).ok_or_else(|| {
        let message = "assignments name each partition from 0 once, and a broker for each";
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(count: i32, factor: i16, assigned: &[i32]) -> CreatableTopic {
        let assignments = assigned.iter().map(|index| CreatableReplicaAssignment {
            partition_index: *index,
            broker_ids: vec![1],
        });
        CreatableTopic {
            num_partitions: count,
            replication_factor: factor,
            assignments: assignments.collect(),
            ..CreatableTopic::default()
        }
    }

    #[test]
    fn partitions_are_given_by_number_by_assignment_or_by_default() {
        let count = |count, factor, assigned: &[i32]| {
            partitions(&topic(count, factor, assigned), 4).map_err(|refusal| refusal.code)
        };
        assert_eq!(count(-1, -1, &[]), Ok(4));
        assert_eq!(count(7, 3, &[]), Ok(7));
        assert_eq!(count(-1, -1, &[1, 0, 2]), Ok(3));
        assert_eq!(count(0, 1, &[]), Err(ErrorCode::InvalidPartitions));
        assert_eq!(count(-2, 1, &[]), Err(ErrorCode::InvalidPartitions));
        assert_eq!(count(1, 0, &[]), Err(ErrorCode::InvalidReplicationFactor));
        assert_eq!(count(1, -1, &[0]), Err(ErrorCode::InvalidRequest));
        for wrong in [&[0, 0][..], &[1], &[-1, 0], &[0, 2]] {
            let refused = Err(ErrorCode::InvalidReplicaAssignment);
            assert_eq!(count(-1, -1, wrong), refused, "{wrong:?}");
        }
    }
}
