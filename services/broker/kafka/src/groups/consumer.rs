//! `ConsumerGroupHeartbeat`: members of the consumer protocol (KIP-848).

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use tidelog_kafka_codec::messages::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions,
};
use tidelog_kafka_codec::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use tidelog_metadata_api::{
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, EPOCH_JOIN, EPOCH_LEAVE_FOR_A_WHILE,
};
use tidelog_runtime::access::Operation;
use tidelog_types::{PartitionIndex, TopicPartition};

use super::classic::{owned, rebalance_timeout};
use super::topics::Topics;
use crate::call::Call;
use crate::errors::Refusal;

/// The first version whose members make their own ids.
const OWN_ID_FROM: i16 = 1;

impl Call {
    pub(crate) async fn consumer_group_heartbeat(
        &self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        match self.consumer_beat(request).await {
            Ok(response) => response,
            Err(refusal) => ConsumerGroupHeartbeatResponse {
                error_code: self.code(refusal.code),
                error_message: Some(refusal.text()),
                ..ConsumerGroupHeartbeatResponse::default()
            },
        }
    }

    async fn consumer_beat(
        &self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let group = self.group(Operation::Read, &request.group_id);
        // This request has no word of its own for a group that cannot be.
        let group = group.map_err(|refusal| match refusal.code {
            ErrorCode::InvalidGroupId => invalid(refusal.message),
            _ => refusal,
        })?;
        check(&request, self.version)?;
        let topics = request.subscribed_topic_names.as_ref();
        if let Some(hidden) = topics.and_then(|topics| topics.iter().find(|it| !self.may_see(it))) {
            let message = format!("the topic `{hidden}` is not the member's to read");
            return Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, message));
        }
        let heartbeat = ConsumerHeartbeat {
            group,
            member_id: request.member_id.to_string(),
            epoch: request.member_epoch,
            instance: owned(request.instance_id),
            rack: owned(request.rack_id),
            client: self.group_client(),
            rebalance: rebalance_timeout(request.rebalance_timeout_ms),
            topics: topics.map(|topics| topics.iter().map(ToString::to_string).collect()),
            pattern: owned(request.subscribed_topic_regex),
            assignor: owned(request.server_assignor),
            owned: match request.topic_partitions {
                Some(owned) => Some(self.owned_partitions(owned).await?),
                None => None,
            },
        };
        let groups = self.front.engine().groups();
        let answer = groups.consumer_heartbeat(heartbeat).await;
        let answer = answer.map_err(|error| Refusal::from(&error))?;
        self.consumer_beaten(answer).await
    }

    /// What the member has, without partitions of topics that nobody knows any more.
    async fn owned_partitions(&self, topics: Vec<Owned>) -> Result<Vec<TopicPartition>, Refusal> {
        let mut partitions = Vec::new();
        for topic in topics {
            let Some(number) = self.topic_number(topic.topic_id).await? else {
                continue;
            };
            for index in topic.partitions {
                let index = u32::try_from(index)
                    .map_err(|_| invalid(format!("partition `{index}` is negative")))?;
                let index = PartitionIndex::new(index);
                partitions.push(TopicPartition::new(number, index));
            }
        }
        Ok(partitions)
    }

    async fn consumer_beaten(
        &self,
        answer: ConsumerHeartbeatAnswer,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let assignment = match answer.assignment {
            None => None,
            Some(partitions) => {
                let topics = Topics::default().by_topic(self, &partitions).await?;
                let topics = topics.into_iter();
                let topics = topics.map(|(topic, partitions)| TopicPartitions {
                    topic_id: *topic.id.as_uuid(),
                    partitions,
                });
                Some(Assignment {
                    topic_partitions: topics.collect(),
                })
            }
        };
        // Who has left has no need of one.
        let interval = if answer.epoch < EPOCH_JOIN {
            0
        } else {
            answer.heartbeat.as_millis()
        };
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(answer.member_id.into()),
            member_epoch: answer.epoch,
            heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// What each heartbeat must say, depending on what it is for.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<(), Refusal> {
    let must = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(invalid(rule)) };
    let is_not_empty = |text: Option<&str>| text.is_none_or(|text| !text.is_empty());
    let instance = request.instance_id.as_deref();
    must(is_not_empty(instance), "the instance id is empty")?;
    must(
        is_not_empty(request.rack_id.as_deref()),
        "the rack id is empty",
    )?;
    let epoch = request.member_epoch;
    must(epoch >= EPOCH_LEAVE_FOR_A_WHILE, "there is no such epoch")?;
    let has_id = !request.member_id.is_empty();
    let may_lack_id = epoch == EPOCH_JOIN && version < OWN_ID_FROM;
    must(has_id || may_lack_id, "the member id is empty")?;
    if epoch == EPOCH_LEAVE_FOR_A_WHILE {
        let rule = "only a member with an instance id leaves for a while";
        must(instance.is_some(), rule)?;
    }
    if epoch != EPOCH_JOIN {
        return Ok(());
    }
    let is_timed = request.rebalance_timeout_ms != -1;
    must(is_timed, "a member that joins says its rebalance timeout")?;
    let owned = request.topic_partitions.as_ref();
    let owns_nothing = owned.is_some_and(Vec::is_empty);
    must(
        owns_nothing,
        "a member that joins says that it has no partitions",
    )?;
    let names = request.subscribed_topic_names.as_ref();
    let pattern = request.subscribed_topic_regex.as_deref();
    let wants =
        names.is_some_and(|names| !names.is_empty()) || pattern.is_some_and(|it| !it.is_empty());
    must(wants, "a member that joins says which topics it wants")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            member_id: "m".into(),
            rebalance_timeout_ms: 1_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn refused(request: &ConsumerGroupHeartbeatRequest, version: i16) -> bool {
        let result = check(request, version);
        result.is_err_and(|refusal| refusal.code == ErrorCode::InvalidRequest)
    }

    #[test]
    fn a_member_that_joins_says_all_of_itself() {
        assert!(!refused(&join(), 0) && !refused(&join(), 1));
        let nameless = ConsumerGroupHeartbeatRequest {
            member_id: "".into(),
            ..join()
        };
        assert!(!refused(&nameless, 0) && refused(&nameless, 1));
        let by_pattern = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some("a.*".into()),
            ..join()
        };
        assert!(!refused(&by_pattern, 1));
        let wrong = [
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: -1,
                ..join()
            },
            ConsumerGroupHeartbeatRequest {
                topic_partitions: Some(vec![Owned::default()]),
                ..join()
            },
            ConsumerGroupHeartbeatRequest {
                topic_partitions: None,
                ..join()
            },
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: Some(Vec::new()),
                ..join()
            },
            ConsumerGroupHeartbeatRequest {
                instance_id: Some("".into()),
                ..join()
            },
            ConsumerGroupHeartbeatRequest {
                rack_id: Some("".into()),
                ..join()
            },
        ];
        for wrong in wrong {
            assert!(refused(&wrong, 1), "{wrong:?}");
        }
    }

    #[test]
    fn a_member_that_is_in_says_who_it_is() {
        for (epoch, id, instance, is_wrong) in [
            (5, "m", None, false),
            (5, "", None, true),
            (-1, "m", None, false),
            (-1, "", None, true),
            (-2, "m", Some("i"), false),
            (-2, "m", None, true),
            (-3, "m", Some("i"), true),
        ] {
            let request = ConsumerGroupHeartbeatRequest {
                member_epoch: epoch,
                member_id: id.into(),
                instance_id: instance.map(Into::into),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            assert_eq!(refused(&request, 0), is_wrong, "{epoch} {id}");
        }
    }
}
