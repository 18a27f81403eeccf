//! `ListConfigResources`: what has a configuration.

use tidelog_kafka_codec::messages::list_config_resources_response::ConfigResource;
use tidelog_kafka_codec::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::configs::{
    RESOURCE_BROKER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP, RESOURCE_LOGGER, RESOURCE_TOPIC,
};
use crate::errors::Refusal;

/// The first version that asks for more than subscriptions to metrics of clients.
const TYPES_FROM: i16 = 1;

/// Every type that there is, in the order of the answer.
const TYPES: [i8; 5] = [
    RESOURCE_TOPIC,
    RESOURCE_BROKER,
    RESOURCE_LOGGER,
    RESOURCE_CLIENT_METRICS,
    RESOURCE_GROUP,
];

impl Call {
    pub(crate) async fn list_config_resources(
        &self,
        request: ListConfigResourcesRequest,
    ) -> ListConfigResourcesResponse {
        let listed = self.config_resources(&request.resource_types).await;
        let code = listed.as_ref().err().map_or(ErrorCode::None, |it| it.code);
        ListConfigResourcesResponse {
            error_code: self.code(code),
            config_resources: listed.unwrap_or_default(),
            ..ListConfigResourcesResponse::default()
        }
    }

    async fn config_resources(&self, types: &[i8]) -> Result<Vec<ConfigResource>, Refusal> {
        self.may(Operation::DescribeConfigs, Resource::Cluster)?;
        if let Some(odd) = types.iter().find(|it| !TYPES.contains(it)) {
            let message = format!("there are no resources of the type `{odd}`");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
        let mut listed = Vec::new();
        if self.version < TYPES_FROM {
            return Ok(listed);
        }
        let is_wanted = |resource_type| types.is_empty() || types.contains(&resource_type);
        let mut add = |resource_type, resource_name: ByteString| {
            listed.push(ConfigResource {
                resource_name,
                resource_type,
            });
        };
        if is_wanted(RESOURCE_TOPIC) {
            for topic in self.visible_topics().await? {
                add(RESOURCE_TOPIC, topic.name.as_str().into());
            }
        }
        // Of subscriptions to metrics and of groups none has a configuration of its own.
        for resource_type in [RESOURCE_BROKER, RESOURCE_LOGGER] {
            if is_wanted(resource_type) {
                for broker in self.brokers().all() {
                    add(resource_type, broker.node_id.to_string().into());
                }
            }
        }
        Ok(listed)
    }
}
