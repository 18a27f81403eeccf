//! Topics and how they are named.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    CatalogueError, NewTopic, PartitionCount, PartitionInfo, TopicConfig, TopicInfo, TopicPage,
    TopicSelector, TopicState,
};
use tidelog_types::limits::TOPIC_PARTITIONS_MAX;
use tidelog_types::{ShardId, Timestamp, TopicId, TopicName, TopicNumber};

use super::{WireError, id, id_bytes};

pub(crate) fn topic_to(topic: &TopicInfo) -> v1::Topic {
    let counts = topic.counts.iter().map(|count| v1::PartitionCount {
        count: count.count,
        since: count.since.as_millis(),
    });
    let deletion = |at: Timestamp, purge_after: Timestamp, purging| v1::TopicDeletion {
        at: at.as_millis(),
        purge_after: purge_after.as_millis(),
        purging,
    };
    let deletion = match topic.state {
        TopicState::Live => None,
        TopicState::Deleted { at, purge_after } => Some(deletion(at, purge_after, false)),
        TopicState::Purging { at, purge_after } => Some(deletion(at, purge_after, true)),
    };
    let shards = topic.partitions.iter();
    v1::Topic {
        topic_id: id_bytes(topic.id.to_bytes()),
        number: topic.number.get(),
        name: topic.name.as_str().to_owned(),
        shards: shards.map(|partition| partition.shard.get()).collect(),
        counts: counts.collect(),
        config: topic.config.as_set().clone(),
        created_at: topic.created_at.as_millis(),
        deletion,
    }
}

pub(crate) fn topic_from(topic: Option<v1::Topic>) -> Result<Arc<TopicInfo>, WireError> {
    let topic = topic.ok_or(WireError::Missing("topic"))?;
    let most = usize::try_from(TOPIC_PARTITIONS_MAX).unwrap_or(usize::MAX);
    if topic.shards.len() > most {
        return Err(WireError::TooLong {
            field: "shards",
            max: most,
        });
    }
    let time = Timestamp::from_millis;
    let shards = topic.shards.into_iter().map(ShardId::new);
    let counts = topic.counts.into_iter().map(|count| PartitionCount {
        count: count.count,
        since: time(count.since),
    });
    let state = topic.deletion.map_or(TopicState::Live, |deletion| {
        let (at, purge_after) = (time(deletion.at), time(deletion.purge_after));
        if deletion.purging {
            TopicState::Purging { at, purge_after }
        } else {
            TopicState::Deleted { at, purge_after }
        }
    });
    Ok(Arc::new(TopicInfo {
        id: TopicId::from_bytes(id("topic_id", &topic.topic_id)?),
        number: TopicNumber::new(topic.number),
        name: name(&topic.name)?,
        partitions: shards.map(|shard| PartitionInfo { shard }).collect(),
        counts: counts.collect(),
        // As it was stored: a process of another version may know other keys.
        config: TopicConfig::from_stored(topic.config),
        state,
        created_at: time(topic.created_at),
    }))
}

fn name(text: &str) -> Result<TopicName, WireError> {
    TopicName::new(text).map_err(|error| WireError::damaged("name", &error))
}

pub(crate) fn page_to(page: TopicPage) -> v1::ListTopicsResponse {
    v1::ListTopicsResponse {
        topics: page.topics.iter().map(|topic| topic_to(topic)).collect(),
        next: Bytes::from(page.next),
    }
}

pub(crate) fn page_from(response: v1::ListTopicsResponse) -> Result<TopicPage, WireError> {
    let topics = response.topics.into_iter();
    Ok(TopicPage {
        topics: topics
            .map(|topic| topic_from(Some(topic)))
            .collect::<Result<_, _>>()?,
        next: response.next.to_vec(),
    })
}

pub(crate) fn selector_to(selector: &TopicSelector) -> v1::TopicSelector {
    use v1::topic_selector::Selector;
    let selector = match selector {
        TopicSelector::Name(name) => Selector::Name(name.as_str().to_owned()),
        TopicSelector::Id(id) => Selector::TopicId(id_bytes(id.to_bytes())),
        TopicSelector::Number(number) => Selector::Number(number.get()),
    };
    v1::TopicSelector {
        selector: Some(selector),
    }
}

pub(crate) fn selector_from(
    selector: Option<v1::TopicSelector>,
) -> Result<TopicSelector, WireError> {
    use v1::topic_selector::Selector;
    let selector = selector.and_then(|selector| selector.selector);
    Ok(match selector.ok_or(WireError::Missing("selector"))? {
        Selector::Name(text) => TopicSelector::Name(name(&text)?),
        Selector::TopicId(bytes) => TopicSelector::Id(TopicId::from_bytes(id("topic_id", &bytes)?)),
        Selector::Number(number) => TopicSelector::Number(TopicNumber::new(number)),
    })
}

pub(crate) fn new_topic_to(topic: NewTopic) -> v1::CreateTopicRequest {
    v1::CreateTopicRequest {
        name: topic.name.as_str().to_owned(),
        partitions: topic.partitions,
        config: topic.config,
        validate_only: topic.validate_only,
    }
}

/// The name may be one that no topic can have, which is an error of the catalogue.
pub(crate) fn new_topic_from(request: v1::CreateTopicRequest) -> Result<NewTopic, CatalogueError> {
    Ok(NewTopic {
        name: TopicName::new(&request.name)?,
        partitions: request.partitions,
        config: request.config,
        validate_only: request.validate_only,
    })
}
