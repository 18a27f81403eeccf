//! `DescribeConfigs`.

use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use tidelog_kafka_codec::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_runtime::access::{Operation, Resource};

use super::{
    RESOURCE_BROKER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP, RESOURCE_LOGGER, RESOURCE_TOPIC,
    SOURCE_DEFAULT, SOURCE_TOPIC, entries, without_configuration,
};
use crate::call::Call;
use crate::errors::Refusal;

/// Types of values; the numbers are Kafka's.
const TYPE_BOOLEAN: i8 = 1;
const TYPE_STRING: i8 = 2;
const TYPE_INT: i8 = 3;
const TYPE_LONG: i8 = 5;
const TYPE_DOUBLE: i8 = 6;
const TYPE_LIST: i8 = 7;

/// The type of a topic's key, as Kafka has it.
fn type_of(name: &str) -> i8 {
    match name {
        "preallocate" | "unclean.leader.election.enable" => TYPE_BOOLEAN,
        "compression.type" | "message.timestamp.type" | "tidelog.storage.class" => TYPE_STRING,
        "index.interval.bytes"
        | "max.message.bytes"
        | "min.insync.replicas"
        | "segment.bytes"
        | "segment.index.bytes" => TYPE_INT,
        "min.cleanable.dirty.ratio" => TYPE_DOUBLE,
        "cleanup.policy" => TYPE_LIST,
        _ => TYPE_LONG,
    }
}

/// What a client wants to hear of each key.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

impl Call {
    pub(crate) async fn describe_configs(
        &self,
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let detail = Detail {
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let mut results = Vec::with_capacity(request.resources.len());
        for resource in request.resources {
            let described = self.describe_resource(&resource, detail).await;
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                ..DescribeConfigsResult::default()
            };
            match described {
                Ok(mut configs) => {
                    // Keys that there are not are left out, and none stands for all, as in Kafka.
                    let keys = resource.configuration_keys.as_ref();
                    if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
                        configs.retain(|config| keys.contains(&config.name));
                    }
                    result.configs = configs;
                }
                Err(refusal) => {
                    result.error_code = self.code(refusal.code);
                    result.error_message = Some(refusal.text());
                }
            }
            results.push(result);
        }
        DescribeConfigsResponse {
            results,
            ..DescribeConfigsResponse::default()
        }
    }

    async fn describe_resource(
        &self,
        resource: &DescribeConfigsResource,
        detail: Detail,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        let name = &resource.resource_name;
        match resource.resource_type {
            RESOURCE_TOPIC => {
                let topic = self.topic(Operation::DescribeConfigs, name).await?;
                let configs = entries(&topic.config).map(|entry| {
                    let mut synonyms = Vec::new();
                    if detail.synonyms {
                        let synonym = |value: &str, source| DescribeConfigsSynonym {
                            name: ByteString::from_static(entry.key.name),
                            value: Some(value.into()),
                            source,
                        };
                        if entry.source == SOURCE_TOPIC {
                            synonyms.push(synonym(entry.value, SOURCE_TOPIC));
                        }
                        synonyms.push(synonym(entry.key.default, SOURCE_DEFAULT));
                    }
                    DescribeConfigsResourceResult {
                        name: ByteString::from_static(entry.key.name),
                        value: Some(entry.value.into()),
                        config_source: entry.source,
                        synonyms,
                        config_type: type_of(entry.key.name),
                        documentation: detail.documentation.then(|| entry.key.doc.into()),
                        ..DescribeConfigsResourceResult::default()
                    }
                });
                Ok(configs.collect())
            }
            RESOURCE_BROKER => {
                self.may(Operation::DescribeConfigs, Resource::Cluster)?;
                self.check_broker(name)?;
                Ok(self.described_broker(detail))
            }
            RESOURCE_LOGGER => {
                self.may(Operation::DescribeConfigs, Resource::Cluster)?;
                self.check_broker(name)?;
                Ok(Vec::new())
            }
            RESOURCE_CLIENT_METRICS => {
                self.may(Operation::DescribeConfigs, Resource::Cluster)?;
                Ok(Vec::new())
            }
            RESOURCE_GROUP => {
                self.may(Operation::DescribeConfigs, Resource::Group(name))?;
                Ok(Vec::new())
            }
            other => Err(without_configuration(other)),
        }
    }

    fn described_broker(&self, detail: Detail) -> Vec<DescribeConfigsResourceResult> {
        let entries = self.broker_entries().into_iter();
        let described = entries.map(|entry| DescribeConfigsResourceResult {
            name: ByteString::from_static(entry.name),
            value: Some(entry.value.into()),
            read_only: true,
            config_source: entry.source,
            config_type: TYPE_STRING,
            documentation: detail.documentation.then(|| entry.doc.into()),
            ..DescribeConfigsResourceResult::default()
        });
        described.collect()
    }

    /// A broker describes itself only. No name stands for what all have in common.
    pub(super) fn check_broker(&self, name: &str) -> Result<(), Refusal> {
        if name.is_empty() || name == self.front.node_id().to_string() {
            return Ok(());
        }
        let message = format!("this is broker `{}`, not `{name}`", self.front.node_id());
        Err(Refusal::new(ErrorCode::InvalidRequest, message))
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata_api::ConfigKey;

    use super::*;

    #[test]
    fn values_are_of_the_type_that_clients_are_told() {
        for key in ConfigKey::all() {
            let fits = match type_of(key.name) {
                TYPE_BOOLEAN => key.default.parse::<bool>().is_ok(),
                TYPE_INT => key.default.parse::<i32>().is_ok(),
                TYPE_LONG => key.default.parse::<i64>().is_ok(),
                TYPE_DOUBLE => key.default.parse::<f64>().is_ok(),
                _ => key.default.parse::<f64>().is_err(),
            };
            assert!(fits, "{} = {}", key.name, key.default);
        }
    }
}
