//! Topics in requests about offsets and in assignments.

use std::collections::HashMap;
use std::sync::Arc;

use tidelog_kafka_codec::{ByteString, Uuid};
use tidelog_metadata_api::{CatalogueError, TopicInfo, TopicSelector, TopicState};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::{ErrorCode, TopicId, TopicNumber, TopicPartition};

use super::errors::while_loading;
use crate::call::Call;
use crate::errors::Refusal;

/// Topics by number, looked up once each.
#[derive(Debug, Default)]
pub(super) struct Topics(HashMap<TopicNumber, Option<Arc<TopicInfo>>>);

impl Topics {
    /// The topic with this number; none if it was deleted.
    pub(super) async fn live(
        &mut self,
        call: &Call,
        number: TopicNumber,
    ) -> Result<Option<Arc<TopicInfo>>, Refusal> {
        if let Some(found) = self.0.get(&number) {
            return Ok(found.clone());
        }
        let catalogue = call.front.engine().catalogue();
        let found = match catalogue.topic(&TopicSelector::Number(number)).await {
            Ok(topic) => Some(topic).filter(|topic| topic.state == TopicState::Live),
            Err(error) => none_if_unknown(&error)?,
        };
        self.0.insert(number, found.clone());
        Ok(found)
    }

    /// The partitions of each live topic that these belong to, in the order in which topics come up.
    pub(super) async fn by_topic(
        &mut self,
        call: &Call,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(Arc<TopicInfo>, Vec<i32>)>, Refusal> {
        let mut places: HashMap<TopicNumber, usize> = HashMap::new();
        let mut topics: Vec<(Arc<TopicInfo>, Vec<i32>)> = Vec::new();
        for partition in partitions {
            let Some(topic) = self.live(call, partition.topic).await? else {
                continue;
            };
            let place = *places.entry(partition.topic).or_insert(topics.len());
            if place == topics.len() {
                topics.push((topic, Vec::new()));
            }
            if let Some((_, indexes)) = topics.get_mut(place) {
                indexes.extend(i32::try_from(partition.partition.get()));
            }
        }
        Ok(topics)
    }
}

/// A topic that is not there is no error here.
fn none_if_unknown(error: &CatalogueError) -> Result<Option<Arc<TopicInfo>>, Refusal> {
    if error.code() == ErrorCode::UnknownTopic {
        return Ok(None);
    }
    Err(while_loading(Refusal::from(error)))
}

impl Call {
    /// The number of a topic by its id, also of one that was deleted. None if nobody ever heard of it.
    pub(super) async fn topic_number(&self, id: Uuid) -> Result<Option<TopicNumber>, Refusal> {
        let selector = TopicSelector::Id(TopicId::new(id));
        match self.front.engine().catalogue().topic(&selector).await {
            Ok(topic) => Ok(Some(topic.number)),
            Err(error) => none_if_unknown(&error).map(|_| None),
        }
    }

    /// A topic of a request about offsets: by its id in versions that name topics so, else by its name.
    pub(super) async fn topic_of_offsets(
        &self,
        operation: Operation,
        name: &ByteString,
        id: Uuid,
        is_by_id: bool,
    ) -> Result<Arc<TopicInfo>, Refusal> {
        let found = if is_by_id {
            self.topic_by_id(operation, id).await
        } else {
            self.topic(operation, name).await
        };
        found.map_err(while_loading)
    }

    /// Whether the caller may see a topic.
    pub(super) fn may_see(&self, topic: &str) -> bool {
        self.may(Operation::Describe, Resource::Topic(topic))
            .is_ok()
    }
}
