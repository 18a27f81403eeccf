//! `DescribeTopicPartitions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::describe_topic_partitions_request::{
    Cursor as RequestCursor, TopicRequest,
};
use tidelog_kafka_codec::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as Topic,
};
use tidelog_kafka_codec::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::Operation;

use crate::brokers::{Brokers, LEADER_EPOCH};
use crate::call::Call;
use crate::errors::Refusal;

/// Partitions of one answer, whatever the client asks for.
const PARTITIONS_MAX: i32 = 2_000;

impl Call {
    pub(crate) async fn describe_topic_partitions(
        &self,
        request: DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        if let Some(cursor) = &request.cursor
            && !is_within(cursor, &request.topics)
        {
            return self.nothing_from_there(request.topics);
        }
        let from = request
            .cursor
            .map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
        let first = from.as_ref().map_or("", |(name, _)| name.as_str());
        // Answers are in the order of names.
        let mut wanted: BTreeMap<String, Result<Arc<TopicInfo>, Refusal>> = BTreeMap::new();
        if request.topics.is_empty() {
            for topic in self.visible_topics().await.unwrap_or_default() {
                wanted.insert(topic.name.to_string(), Ok(topic));
            }
        } else {
            for topic in request.topics {
                let found = self.topic(Operation::Describe, &topic.name).await;
                wanted.insert(topic.name.to_string(), found);
            }
        }
        let brokers = self.brokers();
        let mut response = DescribeTopicPartitionsResponse::default();
        let mut left = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
        for (name, found) in wanted.range(first.to_owned()..) {
            let start = match &from {
                Some((first, partition)) if first == name => *partition,
                _ => 0,
            };
            if left == 0 {
                response.next_cursor = Some(cursor(name, start));
                break;
            }
            let topic = match found {
                Ok(topic) => topic,
                Err(refusal) => {
                    response.topics.push(Topic {
                        error_code: self.code(refusal.code),
                        name: Some(name.as_str().into()),
                        topic_authorized_operations: match refusal.code {
                            ErrorCode::UnknownTopicOrPartition => self.topic_operations(name),
                            _ => Topic::default().topic_authorized_operations,
                        },
                        ..Topic::default()
                    });
                    continue;
                }
            };
            let count = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
            let end = count.min(start.saturating_add(left));
            response
                .topics
                .push(self.described(topic, &brokers, start..end));
            left -= (end - start).max(0);
            if end < count {
                response.next_cursor = Some(cursor(name, end));
                break;
            }
        }
        response
    }

    /// The answer to who wants to go on from where there is nothing.
    fn nothing_from_there(&self, topics: Vec<TopicRequest>) -> DescribeTopicPartitionsResponse {
        let topics = topics.into_iter().map(|topic| Topic {
            error_code: self.code(ErrorCode::InvalidRequest),
            name: Some(topic.name),
            ..Topic::default()
        });
        DescribeTopicPartitionsResponse {
            topics: topics.collect(),
            ..DescribeTopicPartitionsResponse::default()
        }
    }

    fn described(
        &self,
        topic: &TopicInfo,
        brokers: &Brokers,
        indexes: std::ops::Range<i32>,
    ) -> Topic {
        let leaders = brokers.leaders(topic.id, topic.partition_count());
        let partitions = (0..)
            .zip(leaders)
            .filter(|(index, _)| indexes.contains(index));
        let partitions = partitions.map(|(partition_index, leader)| Partition {
            partition_index,
            leader_id: leader,
            leader_epoch: LEADER_EPOCH,
            replica_nodes: vec![leader],
            isr_nodes: vec![leader],
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Partition::default()
        });
        Topic {
            name: Some(topic.name.as_str().into()),
            topic_id: *topic.id.as_uuid(),
            partitions: partitions.collect(),
            topic_authorized_operations: self.topic_operations(topic.name.as_str()),
            ..Topic::default()
        }
    }
}

/// Whether a cursor names a partition that there may be, of one of the topics that are asked for, or of any.
fn is_within(cursor: &RequestCursor, topics: &[TopicRequest]) -> bool {
    let is_named = topics.is_empty() || topics.iter().any(|it| it.name == cursor.topic_name);
    is_named && cursor.partition_index >= 0
}

fn cursor(name: &str, partition_index: i32) -> Cursor {
    Cursor {
        topic_name: name.into(),
        partition_index,
    }
}
