//! `ConsumerGroupDescribe`: groups of the consumer protocol.

use tidelog_kafka_codec::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use tidelog_kafka_codec::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{ConsumerDescription, ConsumerMember, GroupDescription};
use tidelog_types::TopicPartition;

use super::list::state_name;
use super::topics::Topics;
use crate::call::Call;
use crate::errors::Refusal;

/// Members by the protocol that they speak.
const TYPE_CLASSIC: i8 = 0;
const TYPE_CONSUMER: i8 = 1;

impl Call {
    pub(crate) async fn consumer_group_describe(
        &self,
        request: ConsumerGroupDescribeRequest,
    ) -> ConsumerGroupDescribeResponse {
        let descriptions = self.descriptions(&request.group_ids).await;
        let mut topics = Topics::default();
        let mut groups = Vec::with_capacity(request.group_ids.len());
        for (group_id, description) in request.group_ids.into_iter().zip(descriptions) {
            let described = match description {
                Ok(GroupDescription::Consumer(consumer)) => {
                    self.described_consumer(&mut topics, consumer).await
                }
                Ok(GroupDescription::Classic(_)) => {
                    let message = "the group is not of the consumer protocol";
                    Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
                }
                Err(refusal) => Err(refusal),
            };
            let mut described = match described {
                Ok(described) => described,
                Err(refusal) => DescribedGroup {
                    error_code: self.code(refusal.code),
                    error_message: Some(refusal.text()),
                    ..DescribedGroup::default()
                },
            };
            described.group_id = group_id;
            if request.include_authorized_operations && described.error_code == 0 {
                described.authorized_operations = self.group_operations(&described.group_id);
            }
            groups.push(described);
        }
        ConsumerGroupDescribeResponse {
            groups,
            ..ConsumerGroupDescribeResponse::default()
        }
    }

    async fn described_consumer(
        &self,
        topics: &mut Topics,
        consumer: ConsumerDescription,
    ) -> Result<DescribedGroup, Refusal> {
        let mut members = Vec::with_capacity(consumer.members.len());
        for member in consumer.members {
            members.push(self.described_member(topics, member).await?);
        }
        Ok(DescribedGroup {
            group_state: ByteString::from_static(state_name(consumer.state)),
            group_epoch: consumer.epoch,
            assignment_epoch: consumer.target_epoch,
            assignor_name: consumer.assignor.into(),
            members,
            ..DescribedGroup::default()
        })
    }

    async fn described_member(
        &self,
        topics: &mut Topics,
        member: ConsumerMember,
    ) -> Result<Member, Refusal> {
        if !member.topics.iter().all(|topic| self.may_see(topic)) {
            return Err(hides());
        }
        let names = member.topics.into_iter().map(Into::into);
        Ok(Member {
            member_id: member.member_id.into(),
            instance_id: member.instance.map(Into::into),
            rack_id: member.rack.map(Into::into),
            member_epoch: member.epoch,
            client_id: member.client.id.into(),
            client_host: member.client.host.into(),
            subscribed_topic_names: names.collect(),
            // Empty for none, as Kafka says it.
            subscribed_topic_regex: Some(member.pattern.unwrap_or_default().into()),
            assignment: self.shown(topics, &member.assigned).await?,
            target_assignment: self.shown(topics, &member.target).await?,
            member_type: if member.is_classic {
                TYPE_CLASSIC
            } else {
                TYPE_CONSUMER
            },
        })
    }

    /// Partitions as an answer shows them.
    async fn shown(
        &self,
        topics: &mut Topics,
        partitions: &[TopicPartition],
    ) -> Result<Assignment, Refusal> {
        let mut shown = Vec::new();
        for (topic, partitions) in topics.by_topic(self, partitions).await? {
            if !self.may_see(topic.name.as_str()) {
                return Err(hides());
            }
            shown.push(TopicPartitions {
                topic_id: *topic.id.as_uuid(),
                topic_name: topic.name.as_str().into(),
                partitions,
            });
        }
        Ok(Assignment {
            topic_partitions: shown,
        })
    }
}

fn hides() -> Refusal {
    let message = "the group reads a topic that the caller may not see";
    Refusal::new(ErrorCode::TopicAuthorizationFailed, message)
}
