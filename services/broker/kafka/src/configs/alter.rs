//! `AlterConfigs` and `IncrementalAlterConfigs`.

use std::collections::BTreeMap;

use tidelog_kafka_codec::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use tidelog_kafka_codec::messages::incremental_alter_configs_request::AlterableConfig;
use tidelog_kafka_codec::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use tidelog_kafka_codec::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{ConfigKey, TopicConfig, TopicInfo, TopicSelector};
use tidelog_runtime::access::{Operation, Resource};

use super::{RESOURCE_BROKER, RESOURCE_TOPIC, without_configuration};
use crate::call::Call;
use crate::errors::Refusal;
use crate::repeats::Repeats;

/// What is done to a key; the numbers are Kafka's.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The keys that hold lists.
const LISTS: &[&str] = &["cleanup.policy"];

/// A value for each key, or none where the default shall hold.
type Changes = BTreeMap<String, Option<String>>;

impl Call {
    pub(crate) async fn incremental_alter_configs(
        &self,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let resources = request.resources.iter();
        let repeats = Repeats::of(resources.map(|it| (it.resource_type, it.resource_name.clone())));
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in request.resources {
            let (kind, name) = (resource.resource_type, resource.resource_name);
            let allowed = repeats.check(&(kind, name.clone()), format_args!("`{name}`"));
            let wanted = |topic: &TopicInfo| changes(&topic.config, &resource.configs);
            let done = match allowed {
                Ok(()) if kind == RESOURCE_BROKER && unsets(&resource.configs) => self.stays(&name),
                Ok(()) => self.alter(kind, &name, wanted, request.validate_only).await,
                Err(refusal) => Err(refusal),
            };
            let (error_code, error_message) = self.said(done);
            responses.push(AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: name,
            });
        }
        IncrementalAlterConfigsResponse {
            responses,
            ..IncrementalAlterConfigsResponse::default()
        }
    }

    pub(crate) async fn alter_configs(&self, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let resources = request.resources.iter();
        let repeats = Repeats::of(resources.map(|it| (it.resource_type, it.resource_name.clone())));
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in request.resources {
            let (kind, name) = (resource.resource_type, resource.resource_name);
            let allowed = repeats.check(&(kind, name.clone()), format_args!("`{name}`"));
            // What is not named has its default again.
            let wanted = |topic: &TopicInfo| {
                let set = topic.config.as_set().keys();
                let mut changes: Changes = set.map(|key| (key.clone(), None)).collect();
                for config in &resource.configs {
                    let value = given(&config.name, config.value.as_deref())?;
                    changes.insert(config.name.to_string(), Some(value.to_owned()));
                }
                Ok(changes)
            };
            let done = match allowed {
                Ok(()) => self.alter(kind, &name, wanted, request.validate_only).await,
                Err(refusal) => Err(refusal),
            };
            let (error_code, error_message) = self.said(done);
            responses.push(Altered {
                error_code,
                error_message,
                resource_type: kind,
                resource_name: name,
            });
        }
        AlterConfigsResponse {
            responses,
            ..AlterConfigsResponse::default()
        }
    }

    /// Whether the caller may change a broker, of which nothing can be set. Tools take back what was not set, such as
    /// limits of replication.
    fn stays(&self, name: &str) -> Result<(), Refusal> {
        self.may(Operation::AlterConfigs, Resource::Cluster)?;
        self.check_broker(name)
    }

    fn said(&self, done: Result<(), Refusal>) -> (i16, Option<ByteString>) {
        match done {
            Ok(()) => (0, None),
            Err(refusal) => (self.code(refusal.code), Some(refusal.text())),
        }
    }

    async fn alter(
        &self,
        resource_type: i8,
        name: &ByteString,
        wanted: impl FnOnce(&TopicInfo) -> Result<Changes, Refusal>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        match resource_type {
            RESOURCE_TOPIC => {}
            RESOURCE_BROKER => {
                self.stays(name)?;
                let message = "a broker is configured by its file, its environment and its flags";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            other => return Err(without_configuration(other)),
        }
        let topic = self.topic(Operation::AlterConfigs, name).await?;
        let changes = wanted(&topic)?;
        if changes.is_empty() {
            return Ok(());
        }
        let selector = TopicSelector::Id(topic.id);
        let catalogue = self.front.engine().catalogue();
        let altered = catalogue
            .alter_topic_config(&selector, changes, validate_only)
            .await;
        altered.map(drop).map_err(|error| Refusal::from(&error))
    }
}

/// Whether operations only take back what may be set.
fn unsets(operations: &[AlterableConfig]) -> bool {
    let mut operations = operations.iter();
    operations.len() > 0 && operations.all(|it| it.config_operation == DELETE)
}

/// The value that a key shall have.
fn given<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Refusal> {
    value.ok_or_else(|| {
        let message = format!("`{name}` has no value");
        Refusal::new(ErrorCode::InvalidRequest, message)
    })
}

/// What operations on keys come to.
fn changes(config: &TopicConfig, operations: &[AlterableConfig]) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    for operation in operations {
        let name = operation.name.to_string();
        let value = operation.value.as_deref();
        let value = match operation.config_operation {
            SET => Some(given(&name, value)?.to_owned()),
            // What cannot be set is not set.
            DELETE if ConfigKey::find(&name).is_err() => continue,
            DELETE => None,
            APPEND => Some(list(config, &name, given(&name, value)?, true)?),
            SUBTRACT => Some(list(config, &name, given(&name, value)?, false)?),
            other => {
                let message = format!("there is no operation `{other}` on keys");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
        };
        if changes.insert(name.clone(), value).is_some() {
            let message = format!("`{name}` stands there twice");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok(changes)
}

/// A list with words added or taken away.
fn list(config: &TopicConfig, name: &str, words: &str, adds: bool) -> Result<String, Refusal> {
    if !LISTS.contains(&name) {
        let message = format!("`{name}` is not a list");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let default = ConfigKey::find(name).map_or("", |key| key.default);
    let now = config.as_set().get(name).map_or(default, String::as_str);
    let split = |text: &str| -> Vec<String> {
        let words = text.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    let (mut now, words) = (split(now), split(words));
    if adds {
        let new: Vec<String> = words.into_iter().filter(|it| !now.contains(it)).collect();
        now.extend(new);
    } else {
        now.retain(|word| !words.contains(word));
    }
    Ok(now.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, number: i8, value: Option<&str>) -> AlterableConfig {
        AlterableConfig {
            name: name.into(),
            config_operation: number,
            value: value.map(Into::into),
        }
    }

    #[test]
    fn operations_set_delete_and_change_lists() {
        let set = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let config = TopicConfig::new(set).unwrap();
        let one = |operation| changes(&config, &[operation]).map_err(|refusal| refusal.code);
        let key = |name: &str, value: Option<&str>| {
            Ok(Changes::from([(name.to_owned(), value.map(str::to_owned))]))
        };
        let done = one(operation("retention.ms", SET, Some("7")));
        assert_eq!(done, key("retention.ms", Some("7")));
        let done = one(operation("retention.ms", DELETE, None));
        assert_eq!(done, key("retention.ms", None));
        let done = one(operation("cleanup.policy", APPEND, Some("compact,delete")));
        assert_eq!(done, key("cleanup.policy", Some("delete,compact")));
        let done = one(operation("cleanup.policy", SUBTRACT, Some("delete")));
        assert_eq!(done, key("cleanup.policy", Some("")));
        let wrong = one(operation("retention.ms", APPEND, Some("1")));
        assert_eq!(wrong, Err(ErrorCode::InvalidConfig));
        let wrong = one(operation("retention.ms", SET, None));
        assert_eq!(wrong, Err(ErrorCode::InvalidRequest));
        assert_eq!(one(operation("odd", DELETE, None)), Ok(Changes::new()));
        let set = one(operation("odd", SET, Some("1")));
        assert_eq!(set, key("odd", Some("1")), "the catalogue knows it is odd");
        let wrong = one(operation("retention.ms", 9, None));
        assert_eq!(wrong, Err(ErrorCode::InvalidRequest));
    }
}
