//! `DeleteTopics` and `CreatePartitions`.

use tidelog_kafka_codec::messages::create_partitions_request::CreatePartitionsTopic;
use tidelog_kafka_codec::messages::create_partitions_response::CreatePartitionsTopicResult;
use tidelog_kafka_codec::messages::delete_topics_request::DeleteTopicState;
use tidelog_kafka_codec::messages::delete_topics_response::DeletableTopicResult;
use tidelog_kafka_codec::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode, Uuid};
use tidelog_metadata_api::TopicSelector;
use tidelog_runtime::access::Operation;
use tidelog_types::limits::TOPIC_PARTITIONS_MAX;

use crate::call::Call;
use crate::errors::Refusal;
use crate::repeats::Repeats;

/// The first version whose topics are named by names or by ids.
const BY_STATE_FROM: i16 = 6;

impl Call {
    pub(crate) async fn delete_topics(&self, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let topics = if self.version >= BY_STATE_FROM {
            request.topics
        } else {
            let named = |name| DeleteTopicState {
                name: Some(name),
                ..DeleteTopicState::default()
            };
            request.topic_names.into_iter().map(named).collect()
        };
        let all = topics.iter();
        let mut repeats = Repeats::of(all.map(|topic| (topic.name.clone(), topic.topic_id)));
        let mut responses = Vec::with_capacity(topics.len());
        for topic in topics {
            let id = topic.topic_id;
            let named = topic.name.clone();
            let Some(allowed) = repeats.check_once(&(named.clone(), id), "the topic") else {
                continue;
            };
            let deleted = match allowed {
                Ok(()) => self.delete(topic).await,
                Err(refusal) => Err(refusal),
            };
            let response = match deleted {
                Ok((name, topic_id)) => DeletableTopicResult {
                    name: Some(name),
                    topic_id,
                    ..DeletableTopicResult::default()
                },
                Err(refusal) => DeletableTopicResult {
                    name: named,
                    topic_id: id,
                    error_code: self.code(refusal.code),
                    error_message: Some(refusal.text()),
                },
            };
            responses.push(response);
        }
        DeleteTopicsResponse {
            responses,
            ..DeleteTopicsResponse::default()
        }
    }

    async fn delete(&self, topic: DeleteTopicState) -> Result<(ByteString, Uuid), Refusal> {
        let found = match &topic.name {
            Some(_) if !topic.topic_id.is_nil() => {
                let message = "a topic is named by its name or by its id";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            Some(name) => self.topic(Operation::Delete, name).await.map_err(absent)?,
            None if topic.topic_id.is_nil() => {
                let message = "a topic is named by its name or by its id";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            None => self.topic_by_id(Operation::Delete, topic.topic_id).await?,
        };
        // Not another one that was made under its name meanwhile.
        let selector = TopicSelector::Id(found.id);
        let deleted = self.front.engine().catalogue().delete_topic(&selector);
        deleted.await.map_err(|error| Refusal::from(&error))?;
        Ok((found.name.as_str().into(), *found.id.as_uuid()))
    }

    pub(crate) async fn create_partitions(
        &self,
        request: CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let mut repeats = Repeats::of(request.topics.iter().map(|topic| topic.name.clone()));
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let Some(allowed) = repeats.check_once(&topic.name, "the topic") else {
                continue;
            };
            let widened = match allowed {
                Ok(()) => self.widen(&topic, request.validate_only).await,
                Err(refusal) => Err(refusal),
            };
            let refusal = widened.err();
            let code = refusal.as_ref().map_or(ErrorCode::None, |it| it.code);
            results.push(CreatePartitionsTopicResult {
                name: topic.name,
                error_code: self.code(code),
                error_message: refusal.map(|refusal| refusal.text()),
            });
        }
        CreatePartitionsResponse {
            results,
            ..CreatePartitionsResponse::default()
        }
    }

    async fn widen(
        &self,
        wanted: &CreatePartitionsTopic,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let topic = self.topic(Operation::Alter, &wanted.name).await?;
        let now = topic.partition_count();
        let allowed = now + 1..=TOPIC_PARTITIONS_MAX;
        let count = u32::try_from(wanted.count).ok();
        let count = count.filter(|count| allowed.contains(count));
        let count = count.ok_or_else(|| {
            let message = format!(
                "the topic has `{now}` partitions and can have more, at most `{TOPIC_PARTITIONS_MAX}`, not \
                 `{}`",
                wanted.count
            );
            Refusal::new(ErrorCode::InvalidPartitions, message)
        })?;
        let added = usize::try_from(count - now).unwrap_or(usize::MAX);
        if let Some(assignments) = &wanted.assignments
            && assignments.len() != added
        {
            let message = format!("there are `{added}` new partitions to be assigned");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        if validate_only {
            return Ok(());
        }
        let selector = TopicSelector::Id(topic.id);
        let catalogue = self.front.engine().catalogue();
        let widened = catalogue.add_partitions(&selector, count).await;
        widened.map(drop).map_err(|error| Refusal::from(&error))
    }
}

/// No topic has a name that cannot be.
fn absent(refusal: Refusal) -> Refusal {
    match refusal.code {
        ErrorCode::InvalidTopicException => Refusal {
            code: ErrorCode::UnknownTopicOrPartition,
            ..refusal
        },
        _ => refusal,
    }
}
