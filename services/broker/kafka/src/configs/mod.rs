//! Configuration of topics and of this broker. Loggers, groups and subscriptions to metrics of clients have none.

mod alter;
mod broker;
mod describe;

use tidelog_kafka_codec::ErrorCode;
use tidelog_metadata_api::{ConfigKey, TopicConfig};

use crate::errors::Refusal;

/// Types of resources; the numbers are Kafka's.
pub(crate) const RESOURCE_TOPIC: i8 = 2;
pub(crate) const RESOURCE_BROKER: i8 = 4;
pub(crate) const RESOURCE_LOGGER: i8 = 8;
pub(crate) const RESOURCE_CLIENT_METRICS: i8 = 16;
pub(crate) const RESOURCE_GROUP: i8 = 32;

/// Where values come from; the numbers are Kafka's.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// What a caller hears who wants to configure something else than a topic or a broker.
fn without_configuration(resource_type: i8) -> Refusal {
    let what = match resource_type {
        RESOURCE_LOGGER => "loggers",
        RESOURCE_CLIENT_METRICS => "subscriptions to metrics of clients",
        RESOURCE_GROUP => "groups",
        other => {
            let message = format!("there are no resources of the type `{other}`");
            return Refusal::new(ErrorCode::InvalidRequest, message);
        }
    };
    let message = format!("{what} have no configuration here");
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// A key of a topic and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'static ConfigKey,
    pub(crate) value: &'a str,
    pub(crate) source: i8,
}

/// Every key of a topic.
pub(crate) fn entries(config: &TopicConfig) -> impl Iterator<Item = Entry<'_>> {
    let set = config.as_set();
    ConfigKey::all().iter().map(|key| {
        let value = set.get(key.name);
        Entry {
            key,
            value: value.map_or(key.default, String::as_str),
            source: if value.is_some() {
                SOURCE_TOPIC
            } else {
                SOURCE_DEFAULT
            },
        }
    })
}
