//! `OffsetCommit`.

use std::sync::Arc;

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::offset_commit_request::OffsetCommitRequestTopic;
use tidelog_kafka_codec::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use tidelog_kafka_codec::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, GroupName, GroupOffset, GroupsError, TopicInfo,
};
use tidelog_runtime::access::Operation;
use tidelog_types::{Offset, TopicPartition};

use super::classic::owned;
use super::errors::group_code;
use crate::call::{Call, partition};
use crate::errors::Refusal;

/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 10;
/// The first version that members of the consumer protocol may use; older ones know fewer errors.
const CONSUMER_FROM: i16 = 9;

/// Offsets that can be committed, and where their outcomes go: the topic and the partition in the answer.
#[derive(Debug, Default)]
struct Wanted {
    offsets: Vec<(TopicPartition, GroupOffset)>,
    places: Vec<(usize, usize)>,
}

impl Call {
    pub(crate) async fn offset_commit(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let group = self.group(Operation::Read, &request.group_id);
        let member = CommittingMember {
            member_id: request.member_id.to_string(),
            instance: owned(request.group_instance_id),
            epoch: request.generation_id_or_member_epoch,
        };
        let found = match &group {
            Ok(_) => {
                let topics = request
                    .topics
                    .iter()
                    .map(|topic| (&topic.name, topic.topic_id));
                let is_by_id = self.version >= BY_ID_FROM;
                self.topics_of_offsets(Operation::Read, topics, is_by_id)
                    .await
            }
            Err(refusal) => vec![Err(refusal.clone()); request.topics.len()],
        };
        let mut wanted = Wanted::default();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, found) in request.topics.into_iter().zip(found) {
            let at = topics.len();
            topics.push(self.committed_topic(&found, topic, at, &mut wanted));
        }
        if let Ok(group) = group
            && !wanted.offsets.is_empty()
        {
            let outcomes = self.commit(group, member, wanted.offsets).await;
            for ((topic, partition), code) in wanted.places.into_iter().zip(outcomes) {
                let topic = topics.get_mut(topic);
                if let Some(place) = topic.and_then(|topic| topic.partitions.get_mut(partition)) {
                    place.error_code = self.code(code);
                }
            }
        }
        OffsetCommitResponse {
            topics,
            ..OffsetCommitResponse::default()
        }
    }

    /// The answer for a topic as far as it is known before anything is committed.
    fn committed_topic(
        &self,
        found: &Result<Arc<TopicInfo>, Refusal>,
        topic: OffsetCommitRequestTopic,
        at: usize,
        wanted: &mut Wanted,
    ) -> OffsetCommitResponseTopic {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let offset = match found {
                Ok(topic) => Committing {
                    index: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.as_deref(),
                }
                .check(topic),
                Err(refusal) => Err(refusal.clone()),
            };
            let code = offset.as_ref().err().map_or(ErrorCode::None, |it| it.code);
            if let Ok(offset) = offset {
                wanted.offsets.push(offset);
                wanted.places.push((at, partitions.len()));
            }
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: self.code(code),
            });
        }
        OffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions,
        }
    }

    /// A code for each offset.
    async fn commit(
        &self,
        group: GroupName,
        member: CommittingMember,
        offsets: Vec<(TopicPartition, GroupOffset)>,
    ) -> Vec<ErrorCode> {
        let count = offsets.len();
        let commit = CommitOffsets {
            group,
            member,
            offsets,
            transaction: None,
        };
        match self.front.engine().groups().commit_offsets(commit).await {
            Ok(results) => {
                let codes = results.iter().map(|result| match result {
                    Ok(()) => ErrorCode::None,
                    Err(error) => commit_code(error, self.version),
                });
                codes.collect()
            }
            Err(error) => vec![commit_code(&error, self.version); count],
        }
    }
}

/// What shall be committed for a partition, as requests say it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committing<'a> {
    pub(super) index: i32,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Option<&'a str>,
}

impl Committing<'_> {
    /// The partition and the offset, if there are such.
    pub(super) fn check(
        &self,
        topic: &TopicInfo,
    ) -> Result<(TopicPartition, GroupOffset), Refusal> {
        let at = partition(topic, self.index)?;
        let offset = Offset::from_i64(self.offset).ok_or_else(|| {
            let message = format!("offset `{}` is negative", self.offset);
            Refusal::new(ErrorCode::InvalidRequest, message)
        })?;
        let offset = GroupOffset {
            offset,
            leader_epoch: (self.leader_epoch >= 0).then_some(self.leader_epoch),
            metadata: self.metadata.unwrap_or_default().to_owned(),
        };
        Ok((at, offset))
    }
}

/// The code of an error as the version knows it.
const fn commit_code(error: &GroupsError, version: i16) -> ErrorCode {
    match error {
        GroupsError::GroupNotFound if version < CONSUMER_FROM => ErrorCode::IllegalGeneration,
        GroupsError::StaleEpoch if version < CONSUMER_FROM => ErrorCode::UnsupportedVersion,
        // Somebody who is no member, while there are some.
        GroupsError::NotEmpty => ErrorCode::UnknownMemberId,
        GroupsError::TooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
        other => group_code(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_came_with_the_consumer_protocol_have_older_names_before_it() {
        let names = |error: GroupsError| [8, 9].map(|version| commit_code(&error, version).name());
        let old_and_new = ["ILLEGAL_GENERATION", "GROUP_ID_NOT_FOUND"];
        assert_eq!(names(GroupsError::GroupNotFound), old_and_new);
        let old_and_new = ["UNSUPPORTED_VERSION", "STALE_MEMBER_EPOCH"];
        assert_eq!(names(GroupsError::StaleEpoch), old_and_new);
        assert_eq!(names(GroupsError::NotEmpty), ["UNKNOWN_MEMBER_ID"; 2]);
        let reason = String::new();
        let large = GroupsError::TooLarge { reason };
        assert_eq!(names(large), ["INVALID_COMMIT_OFFSET_SIZE"; 2]);
        assert_eq!(names(GroupsError::UnknownMember), ["UNKNOWN_MEMBER_ID"; 2]);
    }
}
