//! `OffsetFetch`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidelog_kafka_codec::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use tidelog_kafka_codec::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use tidelog_kafka_codec::messages::{OffsetFetchRequest, OffsetFetchResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{
    CommittedOffset, FetchOffsets, FetchedOffset, FetchedOffsets, GroupsError, TopicInfo,
};
use tidelog_runtime::access::Operation;
use tidelog_types::TopicPartition;

use super::errors::group_code;
use super::topics::Topics;
use crate::call::{Call, partition};
use crate::errors::Refusal;

/// The first version with an error for the whole group.
const GROUP_ERROR_FROM: i16 = 2;
/// The first version for many groups.
const MANY_GROUPS_FROM: i16 = 8;
/// The first version whose topics are named by ids.
const BY_ID_FROM: i16 = 10;
/// Groups whose offsets are asked for at a time.
const GROUPS_AT_ONCE: usize = 8;
/// About how large an answer may become before no more groups are looked at.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Stands for no offset.
const NO_OFFSET: i64 = -1;

/// A topic of the request as far as it is known.
struct Topic {
    asked: OffsetFetchRequestTopics,
    /// For each partition what it is for us, or the code of its answer.
    partitions: Vec<Result<TopicPartition, ErrorCode>>,
}

impl Topic {
    /// An error is one of the whole group: to say of a topic that cannot be looked up now that it has no offset
    /// would let its readers begin anew.
    fn new(
        asked: OffsetFetchRequestTopics,
        found: Result<Arc<TopicInfo>, Refusal>,
    ) -> Result<Self, ErrorCode> {
        let indexes = asked.partition_indexes.iter();
        let partitions = match found {
            Ok(topic) => {
                let at = |index: &i32| partition(&topic, *index).map_err(|_| ErrorCode::None);
                indexes.map(at).collect()
            }
            Err(refusal) => {
                let code = match refusal.code {
                    code @ (ErrorCode::TopicAuthorizationFailed | ErrorCode::UnknownTopicId) => {
                        code
                    }
                    // What is not there has no offset.
                    ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidTopicException => {
                        ErrorCode::None
                    }
                    other => return Err(other),
                };
                indexes.map(|_| Err(code)).collect()
            }
        };
        Ok(Self { asked, partitions })
    }
}

/// A group of the request.
struct Asked {
    group_id: ByteString,
    /// None: all that have an offset.
    topics: Option<Vec<Topic>>,
}

impl Call {
    pub(crate) async fn offset_fetch(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        if self.version >= MANY_GROUPS_FROM {
            return OffsetFetchResponse {
                groups: self
                    .fetched_groups(request.groups, request.require_stable)
                    .await,
                ..OffsetFetchResponse::default()
            };
        }
        let topics = request.topics.map(|topics| {
            let topics = topics.into_iter();
            let topics = topics.map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            });
            topics.collect::<Vec<_>>()
        });
        let asked = OffsetFetchRequestGroup {
            group_id: request.group_id,
            topics: topics.clone(),
            ..OffsetFetchRequestGroup::default()
        };
        let only_stable = request.require_stable;
        let group = self.fetched_groups(vec![asked], only_stable).await.pop();
        let group = group.unwrap_or_default();
        let mut response = OffsetFetchResponse {
            topics: group.topics.into_iter().map(without_id).collect(),
            ..OffsetFetchResponse::default()
        };
        if group.error_code != 0 {
            if self.version >= GROUP_ERROR_FROM {
                response.error_code = group.error_code;
            } else {
                let topics = topics.unwrap_or_default().into_iter();
                let topics = topics.map(|topic| without_id(failed(topic, group.error_code)));
                response.topics = topics.collect();
            }
        }
        response
    }

    /// An answer for each group, in order. Some groups are asked for at a time, and a group once, so that the
    /// answer is no larger than its client can mean.
    async fn fetched_groups(
        &self,
        groups: Vec<OffsetFetchRequestGroup>,
        only_stable: bool,
    ) -> Vec<OffsetFetchResponseGroup> {
        let mut responses: Vec<OffsetFetchResponseGroup> = Vec::with_capacity(groups.len());
        let mut seen = HashSet::new();
        let mut groups = groups.into_iter();
        let mut bytes = 0;
        loop {
            let some: Vec<_> = groups.by_ref().take(GROUPS_AT_ONCE).collect();
            if some.is_empty() {
                return responses;
            }
            let mut checked = Vec::with_capacity(some.len());
            for group in some {
                let is_new = seen.insert(group.group_id.clone());
                checked.push(if is_new && bytes <= ANSWER_BYTES_MAX {
                    Ok(group)
                } else {
                    Err((group.group_id, ErrorCode::InvalidRequest))
                });
            }
            let fetched = self.fetched_some(checked, only_stable).await;
            bytes += fetched.iter().map(size_of_group).sum::<usize>();
            responses.extend(fetched);
        }
    }

    /// An answer for each group, in order. All are asked for at once.
    async fn fetched_some(
        &self,
        groups: Vec<Result<OffsetFetchRequestGroup, (ByteString, ErrorCode)>>,
        only_stable: bool,
    ) -> Vec<OffsetFetchResponseGroup> {
        let mut requests = Vec::new();
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            let group = match group {
                Ok(group) => group,
                Err(refused) => {
                    asked.push(Err(refused));
                    continue;
                }
            };
            let group_id = group.group_id.clone();
            asked.push(match self.fetch_request(group, only_stable).await {
                Ok((request, topics)) => {
                    requests.push(request);
                    Ok(Asked { group_id, topics })
                }
                Err(code) => Err((group_id, code)),
            });
        }
        let answers = if requests.is_empty() {
            Vec::new()
        } else {
            self.front.engine().groups().fetch_offsets(requests).await
        };
        let mut answers = answers.into_iter();
        let mut responses = Vec::with_capacity(asked.len());
        for asked in asked {
            let (group_id, topics) = match asked {
                Ok(asked) => {
                    let answer = answers.next().unwrap_or(Err(GroupsError::Unknown));
                    let topics = self.fetched(asked.topics, answer).await;
                    (asked.group_id, topics)
                }
                Err((group_id, code)) => (group_id, Err(code)),
            };
            let code = topics.as_ref().err().copied().unwrap_or(ErrorCode::None);
            responses.push(OffsetFetchResponseGroup {
                group_id,
                error_code: self.code(code),
                topics: topics.unwrap_or_default(),
            });
        }
        responses
    }

    /// What is asked of the coordinator, and what the client asked for.
    async fn fetch_request(
        &self,
        asked: OffsetFetchRequestGroup,
        only_stable: bool,
    ) -> Result<(FetchOffsets, Option<Vec<Topic>>), ErrorCode> {
        let group = self.group(Operation::Describe, &asked.group_id);
        let group = group.map_err(|refusal| refusal.code)?;
        let topics = match asked.topics {
            None => None,
            Some(asked) => {
                let named = asked.iter().map(|topic| (&topic.name, topic.topic_id));
                let is_by_id = self.version >= BY_ID_FROM;
                let operation = Operation::Describe;
                let found = self.topics_of_offsets(operation, named, is_by_id).await;
                let topics = asked.into_iter().zip(found);
                let topics = topics.map(|(asked, found)| Topic::new(asked, found));
                Some(topics.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let partitions = topics.as_ref().map(|topics| {
            let partitions = topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .filter_map(|it| it.as_ref().ok().copied())
                .collect()
        });
        let member = asked.member_id.filter(|_| asked.member_epoch >= 0);
        let request = FetchOffsets {
            group,
            member: member.map(|id| (id.to_string(), asked.member_epoch)),
            partitions,
            only_stable,
        };
        Ok((request, topics))
    }

    /// The topics of an answer.
    async fn fetched(
        &self,
        topics: Option<Vec<Topic>>,
        answer: FetchedOffsets,
    ) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
        let offsets = answer.map_err(|error| fetch_code(&error))?;
        match topics {
            Some(topics) => {
                let offsets: HashMap<_, _> = offsets.into_iter().collect();
                let answers = topics
                    .into_iter()
                    .map(|topic| self.fetched_topic(topic, &offsets));
                Ok(answers.collect())
            }
            None => self.fetched_all(&offsets).await,
        }
    }

    fn fetched_topic(
        &self,
        topic: Topic,
        offsets: &HashMap<TopicPartition, FetchedOffset>,
    ) -> OffsetFetchResponseTopics {
        let indexes = topic.asked.partition_indexes.iter().zip(topic.partitions);
        let partitions = indexes.map(|(index, partition)| match partition {
            Ok(at) => self.fetched_one(*index, offsets.get(&at).unwrap_or(&Ok(None))),
            Err(code) => OffsetFetchResponsePartitions {
                error_code: self.code(code),
                ..fetched_partition(*index, None)
            },
        });
        OffsetFetchResponseTopics {
            partitions: partitions.collect(),
            name: topic.asked.name,
            topic_id: topic.asked.topic_id,
        }
    }

    fn fetched_one(&self, index: i32, found: &FetchedOffset) -> OffsetFetchResponsePartitions {
        match found {
            Ok(found) => fetched_partition(index, found.as_ref()),
            Err(error) => OffsetFetchResponsePartitions {
                error_code: self.code(fetch_code(error)),
                ..fetched_partition(index, None)
            },
        }
    }

    /// All offsets of a group, of topics that are there and that the caller may see.
    async fn fetched_all(
        &self,
        offsets: &[(TopicPartition, FetchedOffset)],
    ) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
        let partitions: Vec<TopicPartition> = offsets.iter().map(|(at, _)| *at).collect();
        let topics = Topics::default().of_all(self, &partitions).await;
        let topics = topics.map_err(|refusal| refusal.code)?;
        let mut answers: Vec<OffsetFetchResponseTopics> = Vec::new();
        let mut places = HashMap::new();
        for ((at, offset), topic) in offsets.iter().zip(topics) {
            let Some(topic) = topic.filter(|topic| self.may_see(topic.name.as_str())) else {
                continue;
            };
            let place = *places.entry(at.topic).or_insert(answers.len());
            if place == answers.len() {
                answers.push(OffsetFetchResponseTopics {
                    name: topic.name.as_str().into(),
                    topic_id: *topic.id.as_uuid(),
                    ..OffsetFetchResponseTopics::default()
                });
            }
            let index = i32::try_from(at.partition.get()).unwrap_or(i32::MAX);
            if let Some(answer) = answers.get_mut(place) {
                answer.partitions.push(self.fetched_one(index, offset));
            }
        }
        Ok(answers)
    }
}

/// The code of an error. Consumers before Kafka 3.9 give up after `COORDINATOR_NOT_AVAILABLE`, which other
/// requests use for the same.
const fn fetch_code(error: &GroupsError) -> ErrorCode {
    match group_code(error) {
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
        other => other,
    }
}

/// About how many bytes a group takes in an answer.
fn size_of_group(group: &OffsetFetchResponseGroup) -> usize {
    let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
    let sizes = partitions.map(|it| {
        let metadata = it.metadata.as_ref().map_or(0, |metadata| metadata.len());
        size_of::<OffsetFetchResponsePartitions>() + metadata
    });
    sizes.sum()
}

fn fetched_partition(
    partition_index: i32,
    offset: Option<&CommittedOffset>,
) -> OffsetFetchResponsePartitions {
    let Some(CommittedOffset { offset, .. }) = offset else {
        return OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: NO_OFFSET,
            ..OffsetFetchResponsePartitions::default()
        };
    };
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: offset.offset.to_i64(),
        committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
        metadata: Some(offset.metadata.as_str().into()),
        error_code: 0,
    }
}

/// The answer for a topic of a group that failed as a whole.
fn failed(topic: OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopics {
    let indexes = topic.partition_indexes.into_iter();
    let partitions = indexes.map(|index| OffsetFetchResponsePartitions {
        error_code,
        ..fetched_partition(index, None)
    });
    OffsetFetchResponseTopics {
        partitions: partitions.collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    }
}

/// A topic in the form that it has in versions for one group.
fn without_id(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|it| OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
    });
    OffsetFetchResponseTopic {
        partitions: partitions.collect(),
        name: topic.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_of_any_age_asks_again_when_the_coordinator_cannot_answer() {
        let reason = String::new();
        let unavailable = GroupsError::Unavailable { reason };
        for error in [
            unavailable,
            GroupsError::Unknown,
            GroupsError::NotCoordinator,
        ] {
            assert_eq!(fetch_code(&error), ErrorCode::NotCoordinator);
        }
        let loading = fetch_code(&GroupsError::Loading);
        assert_eq!(loading, ErrorCode::CoordinatorLoadInProgress);
        let stale = fetch_code(&GroupsError::StaleEpoch);
        assert_eq!(stale, ErrorCode::StaleMemberEpoch);
    }
}
