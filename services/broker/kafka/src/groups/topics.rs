//! Topics in requests about offsets and in assignments.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use tidelog_kafka_codec::{ByteString, Uuid};
use tidelog_metadata_api::{CatalogueError, TopicInfo, TopicSelector, TopicState};
use tidelog_runtime::access::{Operation, Resource};
use tidelog_types::{ErrorCode, TopicId, TopicNumber, TopicPartition};

use super::errors::while_loading;
use crate::call::Call;
use crate::errors::Refusal;

/// Topics that are looked up at a time.
const LOOKUPS_AT_ONCE: usize = 16;

/// Topics by number, looked up once each.
#[derive(Debug, Default)]
pub(crate) struct Topics(HashMap<TopicNumber, Option<Arc<TopicInfo>>>);

impl Topics {
    /// Looks up the topics of partitions, many at a time.
    async fn look_up(&mut self, call: &Call, partitions: &[TopicPartition]) -> Result<(), Refusal> {
        let numbers: BTreeSet<TopicNumber> = partitions.iter().map(|at| at.topic).collect();
        let unknown = numbers
            .into_iter()
            .filter(|number| !self.0.contains_key(number));
        let lookups: Vec<_> = unknown.map(|number| call.live_topic(number)).collect();
        let mut found = futures::stream::iter(lookups).buffered(LOOKUPS_AT_ONCE);
        while let Some(found) = found.next().await {
            let (number, topic) = found?;
            self.0.insert(number, topic);
        }
        Ok(())
    }

    /// The live topic of each of these partitions; none for one that was deleted.
    pub(super) async fn of_all(
        &mut self,
        call: &Call,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Arc<TopicInfo>>>, Refusal> {
        self.look_up(call, partitions).await?;
        let topics = partitions
            .iter()
            .map(|at| self.0.get(&at.topic).cloned().flatten());
        Ok(topics.collect())
    }

    /// The partitions of each live topic that these belong to, in the order in which topics come up.
    pub(crate) async fn by_topic(
        &mut self,
        call: &Call,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(Arc<TopicInfo>, Vec<i32>)>, Refusal> {
        let found = self.of_all(call, partitions).await?;
        let mut places: HashMap<TopicNumber, usize> = HashMap::new();
        let mut topics: Vec<(Arc<TopicInfo>, Vec<i32>)> = Vec::new();
        for (partition, topic) in partitions.iter().zip(found) {
            let Some(topic) = topic else {
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
    /// The topic with this number; none if it was deleted.
    async fn live_topic(
        &self,
        number: TopicNumber,
    ) -> Result<(TopicNumber, Option<Arc<TopicInfo>>), Refusal> {
        let catalogue = self.front.engine().catalogue();
        let found = match catalogue.topic(&TopicSelector::Number(number)).await {
            Ok(topic) => Some(topic).filter(|topic| topic.state == TopicState::Live),
            Err(error) => none_if_unknown(&error)?,
        };
        Ok((number, found))
    }

    /// The number of a topic by its id, also of one that was deleted. None if nobody ever heard of it.
    pub(super) async fn topic_number(&self, id: Uuid) -> Result<Option<TopicNumber>, Refusal> {
        let selector = TopicSelector::Id(TopicId::new(id));
        match self.front.engine().catalogue().topic(&selector).await {
            Ok(topic) => Ok(Some(topic.number)),
            Err(error) => none_if_unknown(&error).map(|_| None),
        }
    }

    /// The topics of a request about offsets, in order and many at a time: by their ids in versions that name
    /// topics so, else by their names.
    pub(super) async fn topics_of_offsets(
        &self,
        operation: Operation,
        topics: impl Iterator<Item = (&ByteString, Uuid)>,
        is_by_id: bool,
    ) -> Vec<Result<Arc<TopicInfo>, Refusal>> {
        let lookups = topics.map(|(name, id)| async move {
            let found = if is_by_id {
                self.topic_by_id(operation, id).await
            } else {
                self.topic(operation, name).await
            };
            found.map_err(while_loading)
        });
        let lookups: Vec<_> = lookups.collect();
        let found = futures::stream::iter(lookups).buffered(LOOKUPS_AT_ONCE);
        found.collect().await
    }

    /// Whether the caller may see a topic.
    pub(crate) fn may_see(&self, topic: &str) -> bool {
        self.may(Operation::Describe, Resource::Topic(topic))
            .is_ok()
    }
}
