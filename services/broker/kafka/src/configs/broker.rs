//! What this broker says of itself in Kafka's words. It cannot be changed through the protocol.

use tidelog_metadata_api::ConfigKey;
use tidelog_types::limits::BATCH_BYTES_MAX_DEFAULT;

use super::{SOURCE_DEFAULT, SOURCE_STATIC};
use crate::call::Call;

/// A key of a broker and its value.
#[derive(Clone, Debug)]
pub(super) struct BrokerEntry {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: i8,
    pub(super) doc: &'static str,
}

/// The value that topics have unless they say otherwise.
fn topic_default(name: &str) -> String {
    let key = ConfigKey::find(name).ok();
    key.map_or("", |key| key.default).to_owned()
}

impl Call {
    /// What tools look for.
    pub(super) fn broker_entries(&self) -> Vec<BrokerEntry> {
        let parts = &self.front.parts;
        let default = |name, value, doc| BrokerEntry {
            name,
            value,
            source: SOURCE_DEFAULT,
            doc,
        };
        let given = |name, value, doc| BrokerEntry {
            source: SOURCE_STATIC,
            ..default(name, value, doc)
        };
        vec![
            given(
                "auto.create.topics.enable",
                parts.settings.auto_create_topics.to_string(),
                "whether a topic is created when a client that wants so asks for it",
            ),
            given(
                "broker.id",
                self.front.node_id().to_string(),
                "the number of this run of the broker",
            ),
            given(
                "broker.rack",
                parts.zone.clone(),
                "the zone that this broker runs in",
            ),
            default(
                "default.replication.factor",
                "1".to_owned(),
                "the bucket replicates",
            ),
            default(
                "delete.topic.enable",
                "true".to_owned(),
                "topics can be deleted",
            ),
            default(
                "log.cleanup.policy",
                topic_default("cleanup.policy"),
                "how old records go",
            ),
            default(
                "log.retention.ms",
                topic_default("retention.ms"),
                "how long records are kept",
            ),
            default(
                "message.max.bytes",
                BATCH_BYTES_MAX_DEFAULT.to_string(),
                "largest record batch",
            ),
            default(
                "min.insync.replicas",
                topic_default("min.insync.replicas"),
                "the bucket replicates",
            ),
            default(
                "num.partitions",
                parts.settings.default_partitions.to_string(),
                "partitions of a topic that is created without a number",
            ),
            default(
                "socket.request.max.bytes",
                parts.settings.request_bytes_max.to_string(),
                "largest request",
            ),
        ]
    }
}
