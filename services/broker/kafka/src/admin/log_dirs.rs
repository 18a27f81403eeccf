//! `DescribeLogDirs` and `AlterReplicaLogDirs`: the bucket stands for the one folder of every broker.

use std::collections::HashMap;
use std::sync::Arc;

use tidelog_kafka_codec::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use tidelog_kafka_codec::messages::describe_log_dirs_request::DescribableLogDirTopic;
use tidelog_kafka_codec::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use tidelog_kafka_codec::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::{Operation, Resource};

use crate::brokers::Brokers;
use crate::call::{Call, partition};
use crate::errors::Refusal;

/// What the bucket is called where Kafka has a folder.
const LOG_DIR: &str = "/bucket";
/// Stands for a size that is not known: partitions share segments.
const SIZE_UNKNOWN: i64 = -1;
/// The first version with an error of its own.
const ERROR_FROM: i16 = 3;

impl Call {
    pub(crate) async fn describe_log_dirs(
        &self,
        request: DescribeLogDirsRequest,
    ) -> DescribeLogDirsResponse {
        let mut response = DescribeLogDirsResponse::default();
        if let Err(refusal) = self.may(Operation::Describe, Resource::Cluster) {
            // Older versions say it by telling of no folder, as Kafka does.
            if self.version >= ERROR_FROM {
                response.error_code = self.code(refusal.code);
            }
            return response;
        }
        let mut result = DescribeLogDirsResult {
            log_dir: ByteString::from_static(LOG_DIR),
            ..DescribeLogDirsResult::default()
        };
        match self.visible_topics().await {
            Ok(topics) => result.topics = self.in_log_dir(&topics, request.topics),
            Err(refusal) => result.error_code = self.code(refusal.code),
        }
        response.results = vec![result];
        response
    }

    /// The partitions that are wanted, of those whose leader this broker is said to be.
    fn in_log_dir(
        &self,
        topics: &[Arc<TopicInfo>],
        wanted: Option<Vec<DescribableLogDirTopic>>,
    ) -> Vec<DescribeLogDirsTopic> {
        let wanted = wanted.map(|topics| {
            let topics = topics.into_iter().map(|it| (it.topic, it.partitions));
            topics.collect::<HashMap<ByteString, Vec<i32>>>()
        });
        let is_wanted = |topic: &TopicInfo, index: i32| match &wanted {
            None => true,
            Some(wanted) => wanted
                .get(topic.name.as_str())
                .is_some_and(|indexes| indexes.contains(&index)),
        };
        let brokers = self.brokers();
        let mut found = Vec::new();
        for topic in topics {
            let partitions = led(&brokers, topic).filter(|index| is_wanted(topic, *index));
            let partitions = partitions.map(|partition_index| DescribeLogDirsPartition {
                partition_index,
                partition_size: SIZE_UNKNOWN,
                ..DescribeLogDirsPartition::default()
            });
            let partitions: Vec<DescribeLogDirsPartition> = partitions.collect();
            if !partitions.is_empty() {
                found.push(DescribeLogDirsTopic {
                    name: topic.name.as_str().into(),
                    partitions,
                });
            }
        }
        found
    }

    pub(crate) async fn alter_replica_log_dirs(
        &self,
        request: AlterReplicaLogDirsRequest,
    ) -> AlterReplicaLogDirsResponse {
        let allowed = self.may(Operation::Alter, Resource::Cluster);
        let mut results = Vec::new();
        for dir in request.dirs {
            for topic in dir.topics {
                let found = match &allowed {
                    Ok(()) => self.topic(Operation::Alter, &topic.name).await,
                    Err(refusal) => Err(refusal.clone()),
                };
                let partitions = topic.partitions.iter().map(|index| {
                    let moved = match &found {
                        Ok(topic) => partition(topic, *index).and_then(|_| moved_to(&dir.path)),
                        Err(refusal) => Err(refusal.clone()),
                    };
                    let code = moved.err().map_or(ErrorCode::None, |refusal| refusal.code);
                    AlterReplicaLogDirPartitionResult {
                        partition_index: *index,
                        error_code: self.code(code),
                    }
                });
                results.push(AlterReplicaLogDirTopicResult {
                    partitions: partitions.collect(),
                    topic_name: topic.name,
                });
            }
        }
        AlterReplicaLogDirsResponse {
            results,
            ..AlterReplicaLogDirsResponse::default()
        }
    }
}

/// The partitions whose leader the client is told this broker is.
fn led(brokers: &Brokers, topic: &TopicInfo) -> impl Iterator<Item = i32> {
    let leaders = brokers.leaders(topic.id, topic.partition_count());
    let leaders = (0..).zip(leaders);
    leaders.filter_map(|(index, leader)| brokers.is_asked(leader).then_some(index))
}

/// Everything is where it can be, and can be nowhere else.
fn moved_to(path: &str) -> Result<(), Refusal> {
    if path == LOG_DIR {
        return Ok(());
    }
    let message = format!("there is no folder `{path}`: records are in the bucket");
    Err(Refusal::new(ErrorCode::LogDirNotFound, message))
}
