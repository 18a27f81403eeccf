//! `Metadata`.

use std::sync::Arc;

use tidelog_kafka_codec::messages::metadata_request::MetadataRequestTopic;
use tidelog_kafka_codec::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use tidelog_kafka_codec::messages::{MetadataRequest, MetadataResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode, Uuid};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::{Operation, Resource};

use crate::brokers::{Brokers, LEADER_EPOCH};
use crate::call::Call;
use crate::errors::Refusal;
use crate::settings::TOPICS_PAGE;

/// The first version in which topics may be named by ids alone.
const BY_ID_FROM: i16 = 12;
/// In the first version no topics stand for all.
const NONE_IS_ALL_UNTIL: i16 = 0;
/// Where Kafka keeps offsets of groups and states of transactions. They are kept elsewhere here; clients that look for
/// these topics by name, to tell them from those of users, find them without partitions.
const INTERNAL_TOPICS: &[&str] = &["__consumer_offsets", "__transaction_state"];

impl Call {
    pub(crate) async fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let with_operations = request.include_topic_authorized_operations;
        let creates =
            request.allow_auto_topic_creation && self.front.parts.settings.auto_create_topics;
        let asked = request
            .topics
            .filter(|topics| self.version > NONE_IS_ALL_UNTIL || !topics.is_empty());
        let brokers = self.brokers();
        let topics = match asked {
            Some(asked) => {
                let topics = self.asked_topics(asked, &brokers, (with_operations, creates));
                topics.await
            }
            None => self.every_topic(&brokers, with_operations).await,
        };
        let (topics, error_code) = match topics {
            Ok(topics) => (topics, 0),
            // Where the version has no place for it, the client sees no topics and asks again.
            Err(refusal) => (Vec::new(), self.code(refusal.code)),
        };
        let controller_id = brokers.controller();
        let all = brokers.all().iter().cloned();
        let all = all.map(|broker| MetadataResponseBroker {
            node_id: broker.node_id,
            host: broker.host,
            port: broker.port,
            rack: broker.rack,
        });
        let mut response = MetadataResponse {
            brokers: all.collect(),
            cluster_id: Some(self.front.engine().cluster().to_string().into()),
            controller_id,
            topics,
            error_code,
            ..MetadataResponse::default()
        };
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = self.cluster_operations();
        }
        response
    }

    /// Every topic that the caller may see.
    pub(crate) async fn visible_topics(&self) -> Result<Vec<Arc<TopicInfo>>, Refusal> {
        let catalogue = self.front.engine().catalogue();
        let mut after = Vec::new();
        let mut topics = Vec::new();
        loop {
            let page = catalogue.list_topics(&after, TOPICS_PAGE, false).await;
            let page = page.map_err(|error| Refusal::from(&error))?;
            topics.extend(page.topics.into_iter().filter(|topic| {
                let on = Resource::Topic(topic.name.as_str());
                self.may(Operation::Describe, on).is_ok()
            }));
            after = page.next;
            if after.is_empty() {
                return Ok(topics);
            }
        }
    }

    async fn every_topic(
        &self,
        brokers: &Brokers,
        operations: bool,
    ) -> Result<Vec<MetadataResponseTopic>, Refusal> {
        let topics = self.visible_topics().await?;
        let topics = topics.iter();
        let rows = topics.map(|topic| self.topic_row(topic, brokers, operations));
        Ok(rows.collect())
    }

    async fn asked_topics(
        &self,
        asked: Vec<MetadataRequestTopic>,
        brokers: &Brokers,
        (operations, creates): (bool, bool),
    ) -> Result<Vec<MetadataResponseTopic>, Refusal> {
        let mut topics = Vec::with_capacity(asked.len());
        for MetadataRequestTopic { topic_id, name } in asked {
            let found = match &name {
                Some(name) => {
                    let creates = creates && !INTERNAL_TOPICS.contains(&&**name);
                    self.topic_or_new(name, creates).await
                }
                None => self.topic_by_id(Operation::Describe, topic_id).await,
            };
            topics.push(match found {
                Ok(topic) => self.topic_row(&topic, brokers, operations),
                Err(refusal) => match name {
                    Some(name) if is_internal(&name, &refusal) => MetadataResponseTopic {
                        name: Some(name),
                        is_internal: true,
                        ..MetadataResponseTopic::default()
                    },
                    name => {
                        let mut row = self.missing(name, topic_id, &refusal);
                        if operations && refusal.code == ErrorCode::UnknownTopicOrPartition {
                            let name = row.name.as_deref().unwrap_or_default();
                            row.topic_authorized_operations = self.topic_operations(name);
                        }
                        row
                    }
                },
            });
        }
        Ok(topics)
    }

    /// A topic by name, made if there is none and the client wants so.
    async fn topic_or_new(&self, name: &str, creates: bool) -> Result<Arc<TopicInfo>, Refusal> {
        let found = self.topic(Operation::Describe, name).await;
        match found {
            Err(refusal) if creates && refusal.code == ErrorCode::UnknownTopicOrPartition => {
                let made = self.create_by_default(name).await;
                if made
                    .as_ref()
                    .is_err_and(|it| it.code == ErrorCode::TopicAlreadyExists)
                {
                    // Another client was faster.
                    return self.topic(Operation::Describe, name).await;
                }
                made
            }
            found => found,
        }
    }

    fn missing(
        &self,
        name: Option<ByteString>,
        topic_id: Uuid,
        refusal: &Refusal,
    ) -> MetadataResponseTopic {
        // Older versions have no way to leave the name out.
        let may_lack = self.version >= BY_ID_FROM;
        let name = name.or_else(|| (!may_lack).then(ByteString::new));
        MetadataResponseTopic {
            error_code: self.code(refusal.code),
            name,
            topic_id,
            ..MetadataResponseTopic::default()
        }
    }

    fn topic_row(
        &self,
        topic: &TopicInfo,
        brokers: &Brokers,
        operations: bool,
    ) -> MetadataResponseTopic {
        let leaders = brokers.leaders(topic.id, topic.partition_count());
        let partitions = (0..).zip(leaders);
        let partitions = partitions.map(|(partition_index, leader)| MetadataResponsePartition {
            partition_index,
            leader_id: leader,
            leader_epoch: LEADER_EPOCH,
            replica_nodes: vec![leader],
            isr_nodes: vec![leader],
            ..MetadataResponsePartition::default()
        });
        let mut row = MetadataResponseTopic {
            name: Some(topic.name.as_str().into()),
            topic_id: *topic.id.as_uuid(),
            partitions: partitions.collect(),
            ..MetadataResponseTopic::default()
        };
        if operations {
            row.topic_authorized_operations = self.topic_operations(topic.name.as_str());
        }
        row
    }
}

/// Whether a topic that there is not is one that clients know to be internal.
fn is_internal(name: &str, refusal: &Refusal) -> bool {
    refusal.code == ErrorCode::UnknownTopicOrPartition && INTERNAL_TOPICS.contains(&name)
}
