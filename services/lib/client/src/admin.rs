//! Topics.

use std::collections::BTreeMap;

use tidelog_api::v1;

use crate::call::{Retry, call};
use crate::{Client, ClientError};

/// What an answer must have said.
const NO_TOPIC: ClientError = ClientError::Protocol("an answer about a topic has no topic");

/// Creates, describes and changes topics.
///
/// Changes are durable when answered. A change is tried again only while it is known that it has not
/// happened; when nobody knows, the error says so ([`ClientError::may_have_happened`]).
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// Makes one call of the topic service with the token of the client.
macro_rules! topic_call {
    ($self:ident, $retry:expr, $method:ident, $request:expr) => {{
        let request = $request;
        let service = $self.client.topic_service();
        let response = call(&$self.client, $retry, || {
            let (mut service, request) = (service.clone(), request.clone());
            async move { service.$method(request).await }
        })
        .await?;
        $self.client.token().set(response.token.clone());
        response
    }};
}

impl Admin {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a topic with `partitions` partitions (0: the cluster's default) and settings.
    pub async fn create_topic<K, V>(
        &self,
        name: &str,
        partitions: u32,
        config: impl IntoIterator<Item = (K, V)>,
    ) -> Result<v1::Topic, ClientError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let request = v1::CreateTopicRequest {
            name: name.to_owned(),
            partition_count: partitions,
            config: config
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            validate_only: false,
            token: self.client.token().get(),
        };
        topic_call!(self, Retry::IfNothingHappened, create_topic, request)
            .topic
            .ok_or(NO_TOPIC)
    }

    /// Describes a topic.
    pub async fn topic(&self, name: &str) -> Result<v1::Topic, ClientError> {
        let token = self.client.token().get();
        let request = v1::GetTopicRequest {
            name: name.to_owned(),
            token,
        };
        topic_call!(self, Retry::Always, get_topic, request)
            .topic
            .ok_or(NO_TOPIC)
    }

    /// Lists all topics in use whose name begins with `prefix`, or with `deleted` those that can be
    /// undeleted, ordered by name.
    pub async fn topics(&self, prefix: &str, deleted: bool) -> Result<Vec<v1::Topic>, ClientError> {
        let mut topics = Vec::new();
        let mut request = v1::ListTopicsRequest {
            page_size: 1000,
            name_prefix: prefix.to_owned(),
            deleted,
            token: self.client.token().get(),
            ..v1::ListTopicsRequest::default()
        };
        loop {
            let page = topic_call!(self, Retry::Always, list_topics, request.clone());
            topics.extend(page.topics);
            if page.next_page_token.is_empty() {
                return Ok(topics);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Sets settings of a topic, and puts those named in `unset` back to their defaults.
    pub async fn alter_topic(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        unset: Vec<String>,
    ) -> Result<v1::Topic, ClientError> {
        let request = v1::AlterTopicConfigRequest {
            name: name.to_owned(),
            set,
            unset,
            validate_only: false,
            token: self.client.token().get(),
        };
        topic_call!(self, Retry::Always, alter_topic_config, request)
            .topic
            .ok_or(NO_TOPIC)
    }

    /// Raises the number of partitions to `count`.
    pub async fn add_partitions(&self, name: &str, count: u32) -> Result<v1::Topic, ClientError> {
        let request = v1::AddPartitionsRequest {
            name: name.to_owned(),
            partition_count: count,
            token: self.client.token().get(),
        };
        topic_call!(self, Retry::IfNothingHappened, add_partitions, request)
            .topic
            .ok_or(NO_TOPIC)
    }

    /// Deletes a topic softly: [`Admin::undelete_topic`] brings it back until its purge time.
    pub async fn delete_topic(&self, name: &str) -> Result<v1::Topic, ClientError> {
        let request = v1::DeleteTopicRequest {
            name: name.to_owned(),
            topic_id: String::new(),
            token: self.client.token().get(),
        };
        topic_call!(self, Retry::IfNothingHappened, delete_topic, request)
            .topic
            .ok_or(NO_TOPIC)
    }

    /// Brings back the topic of this name that was deleted last, or the one with `topic_id`.
    pub async fn undelete_topic(
        &self,
        name: &str,
        topic_id: Option<&str>,
    ) -> Result<v1::Topic, ClientError> {
        let request = v1::UndeleteTopicRequest {
            name: name.to_owned(),
            topic_id: topic_id.unwrap_or_default().to_owned(),
            token: self.client.token().get(),
        };
        topic_call!(self, Retry::IfNothingHappened, undelete_topic, request)
            .topic
            .ok_or(NO_TOPIC)
    }
}
