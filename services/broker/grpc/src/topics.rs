//! `TopicService`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{
    CatalogueError, ConfigKey, NewTopic, TopicInfo, TopicSelector, TopicState,
};
use tidelog_runtime::access::{Caller, Operation, Resource};
use tidelog_types::{Timestamp, TopicId};

use crate::errors::catalogue_error;
use crate::front::{Front, ONE_REQUEST, topic_name};

/// Topics in a page that does not say how many.
const PAGE_SIZE_DEFAULT: u32 = 100;
/// Topics in a page, at most.
const PAGE_SIZE_MAX: u32 = 1_000;

/// A time as protobuf has it.
pub(crate) fn to_timestamp(time: Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos: i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
    }
}

fn to_proto(topic: &TopicInfo) -> v1::Topic {
    let set = topic.config.as_set();
    let known = ConfigKey::all().iter().map(|key| {
        let value = set.get(key.name);
        v1::ConfigEntry {
            key: key.name.to_owned(),
            value: value.map_or_else(|| key.default.to_owned(), Clone::clone),
            is_default: value.is_none(),
        }
    });
    let (state, times) = match topic.state {
        TopicState::Live => (v1::TopicState::Active, None),
        TopicState::Deleted { at, purge_after } => {
            (v1::TopicState::Deleted, Some((at, purge_after)))
        }
        TopicState::Purging { at, purge_after } => {
            (v1::TopicState::Purging, Some((at, purge_after)))
        }
    };
    let delete_time = times.map(|(at, _)| to_timestamp(at));
    let purge_time = times.map(|(_, purge_after)| to_timestamp(purge_after));
    v1::Topic {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partition_count: topic.partition_count(),
        config: known.collect(),
        create_time: Some(to_timestamp(topic.created_at)),
        state: state.into(),
        delete_time,
        purge_time,
    }
}

/// A topic by name or, where an id is given, by that.
fn selector(name: &str, id: &str) -> Result<TopicSelector, ApiError> {
    if id.is_empty() {
        return Ok(TopicSelector::Name(topic_name(name)?));
    }
    let id: TopicId = id
        .parse()
        .map_err(|_| ApiError::invalid(format!("`{id}` is not a topic id")))?;
    Ok(TopicSelector::Id(id))
}

impl Front {
    /// The shape of every change of a topic: may the caller do it, has this broker seen what the caller has,
    /// the change itself, and the topic as it is now.
    async fn change(
        &self,
        caller: &Caller,
        operation: Operation,
        (name, token): (&str, &[u8]),
        change: impl Future<Output = Result<Arc<TopicInfo>, ApiError>> + Send,
    ) -> Result<(Option<v1::Topic>, Bytes), ApiError> {
        let tokens = self
            .enter(caller, operation, Resource::Topic(name), token)
            .await?;
        let topic = change.await?;
        Ok((Some(to_proto(&topic)), self.token(tokens)))
    }

    pub(crate) async fn create_topic(
        &self,
        caller: &Caller,
        request: v1::CreateTopicRequest,
    ) -> Result<v1::CreateTopicResponse, ApiError> {
        let asked = (request.name.as_str(), &*request.token);
        let change = async {
            let topic = NewTopic {
                name: topic_name(&request.name)?,
                partitions: match request.partition_count {
                    0 => self.parts.settings.default_partitions,
                    count => count,
                },
                config: request.config,
                validate_only: request.validate_only,
            };
            done(self.engine().catalogue().create_topic(topic).await)
        };
        let (topic, token) = self
            .change(caller, Operation::Create, asked, change)
            .await?;
        Ok(v1::CreateTopicResponse { topic, token })
    }

    pub(crate) async fn get_topic(
        &self,
        caller: &Caller,
        request: v1::GetTopicRequest,
    ) -> Result<v1::GetTopicResponse, ApiError> {
        let tokens = self.catch_up(&request.token).await?;
        let topic = self
            .topic(
                caller,
                Operation::DescribeConfigs,
                &request.name,
                ONE_REQUEST,
            )
            .await?;
        Ok(v1::GetTopicResponse {
            topic: Some(to_proto(&topic)),
            token: self.token(tokens),
        })
    }

    pub(crate) async fn list_topics(
        &self,
        caller: &Caller,
        request: v1::ListTopicsRequest,
    ) -> Result<v1::ListTopicsResponse, ApiError> {
        let tokens = self
            .enter(
                caller,
                Operation::Describe,
                Resource::Cluster,
                &request.token,
            )
            .await?;
        let size = match request.page_size {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut after = page_token(&request.page_token)?;
        let mut topics = Vec::new();
        // A prefix may leave out whole pages.
        loop {
            let count = size - topics.len();
            let page = self
                .engine()
                .catalogue()
                .list_topics(&after, count, request.deleted)
                .await;
            let page = page.map_err(|error| catalogue_error(&error))?;
            let wanted = page.topics.iter().filter(|topic| {
                topic.name.as_str().starts_with(&request.name_prefix)
                    && self
                        .parts
                        .authorizer
                        .authorize(
                            caller,
                            Operation::Describe,
                            Resource::Topic(topic.name.as_str()),
                        )
                        .is_ok()
            });
            topics.extend(wanted.map(|topic| to_proto(topic)));
            after = page.next;
            if topics.len() >= size || after.is_empty() {
                break;
            }
        }
        let next_page_token = hex(&after);
        Ok(v1::ListTopicsResponse {
            topics,
            next_page_token,
            token: self.token(tokens),
        })
    }

    pub(crate) async fn alter_topic_config(
        &self,
        caller: &Caller,
        request: v1::AlterTopicConfigRequest,
    ) -> Result<v1::AlterTopicConfigResponse, ApiError> {
        let asked = (request.name.as_str(), &*request.token);
        let change = async {
            let selector = selector(&request.name, "")?;
            let changes = changes(request.set, request.unset)?;
            let catalogue = self.engine().catalogue();
            done(
                catalogue
                    .alter_topic_config(&selector, changes, request.validate_only)
                    .await,
            )
        };
        let (topic, token) = self
            .change(caller, Operation::AlterConfigs, asked, change)
            .await?;
        Ok(v1::AlterTopicConfigResponse { topic, token })
    }

    pub(crate) async fn add_partitions(
        &self,
        caller: &Caller,
        request: v1::AddPartitionsRequest,
    ) -> Result<v1::AddPartitionsResponse, ApiError> {
        let asked = (request.name.as_str(), &*request.token);
        let change = async {
            let selector = selector(&request.name, "")?;
            let catalogue = self.engine().catalogue();
            let count = request.partition_count;
            done(catalogue.add_partitions(&selector, count).await)
        };
        let (topic, token) = self.change(caller, Operation::Alter, asked, change).await?;
        Ok(v1::AddPartitionsResponse { topic, token })
    }

    pub(crate) async fn delete_topic(
        &self,
        caller: &Caller,
        request: v1::DeleteTopicRequest,
    ) -> Result<v1::DeleteTopicResponse, ApiError> {
        let asked = (request.name.as_str(), &*request.token);
        let change = async {
            let selector = selector(&request.name, &request.topic_id)?;
            done(self.engine().catalogue().delete_topic(&selector).await)
        };
        let (topic, token) = self
            .change(caller, Operation::Delete, asked, change)
            .await?;
        Ok(v1::DeleteTopicResponse { topic, token })
    }

    pub(crate) async fn undelete_topic(
        &self,
        caller: &Caller,
        request: v1::UndeleteTopicRequest,
    ) -> Result<v1::UndeleteTopicResponse, ApiError> {
        let asked = (request.name.as_str(), &*request.token);
        let change = async {
            let selector = selector(&request.name, &request.topic_id)?;
            done(self.engine().catalogue().undelete_topic(&selector).await)
        };
        let (topic, token) = self
            .change(caller, Operation::Delete, asked, change)
            .await?;
        Ok(v1::UndeleteTopicResponse { topic, token })
    }
}

fn done(result: Result<Arc<TopicInfo>, CatalogueError>) -> Result<Arc<TopicInfo>, ApiError> {
    result.map_err(|error| catalogue_error(&error))
}

/// What an alteration sets and unsets; a key is in one of the two.
fn changes(
    set: BTreeMap<String, String>,
    unset: Vec<String>,
) -> Result<BTreeMap<String, Option<String>>, ApiError> {
    let mut changes: BTreeMap<String, Option<String>> = set
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    for key in unset {
        if changes.insert(key.clone(), None).is_some() {
            let message = format!("`{key}` stands in `set` and `unset`, or twice in `unset`");
            return Err(ApiError::invalid(message));
        }
    }
    if changes.is_empty() {
        return Err(ApiError::invalid("`set` or `unset` names at least one key"));
    }
    Ok(changes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub(crate) fn page_token(text: &str) -> Result<Vec<u8>, ApiError> {
    let foreign = || ApiError::invalid("the page token is not one that this service gave out");
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(foreign());
    }
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs
        .iter()
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_survive_the_wire_and_foreign_ones_are_refused() {
        let after = b"orders.v1".to_vec();
        assert_eq!(page_token(&hex(&after)).unwrap(), after);
        assert_eq!(page_token("").unwrap(), Vec::<u8>::new());
        for bad in ["f", "zz", "0g", "\u{e9}"] {
            assert!(page_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_before_1970_keep_their_nanoseconds_positive() {
        let time = to_timestamp(Timestamp::from_millis(-1));
        assert_eq!((time.seconds, time.nanos), (-1, 999_000_000));
    }
}
