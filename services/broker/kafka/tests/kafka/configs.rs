//! Facts about configuration.

use tidelog_kafka_codec::messages::alter_configs_request::{
    AlterConfigsResource as Replaced, AlterableConfig as Given,
};
use tidelog_kafka_codec::messages::describe_configs_request::DescribeConfigsResource;
use tidelog_kafka_codec::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use tidelog_kafka_codec::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};

use crate::world::{Client, World, name};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// The values of a resource that are not the defaults, or the error.
async fn described(
    client: &mut Client,
    kind: i8,
    resource: &str,
) -> Result<Vec<String>, &'static str> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let response = client.call(&request, 4).await;
    let result = &response.results[0];
    if result.error_code != 0 {
        return Err(name(result.error_code));
    }
    assert!(result.configs.len() > 5);
    let set = result.configs.iter().filter(|it| it.config_source == 1);
    let text = set.map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or_default()));
    Ok(text.collect())
}

async fn alter(
    client: &mut Client,
    kind: i8,
    resource: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> &'static str {
    let configs = changes
        .iter()
        .map(|(key, operation, value)| AlterableConfig {
            name: (*key).into(),
            config_operation: *operation,
            value: value.map(Into::into),
        });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configs: configs.collect(),
        }],
        validate_only: false,
    };
    let response = client.call(&request, 1).await;
    name(response.responses[0].error_code)
}

#[tokio::test]
async fn keys_of_topics_are_set_taken_back_and_replaced() {
    let (_world, mut client) = World::with_topic(1).await;
    let c = &mut client;
    assert_eq!(described(c, TOPIC, "t").await, Ok(Vec::new()));
    let changes = [
        ("retention.ms", 0, Some("9")),
        ("cleanup.policy", 2, Some("compact")),
    ];
    assert_eq!(alter(c, TOPIC, "t", &changes).await, "NONE");
    let expected = ["cleanup.policy=delete,compact", "retention.ms=9"];
    assert_eq!(described(c, TOPIC, "t").await.unwrap(), expected);
    let changes = [("retention.ms", 1, None)];
    assert_eq!(alter(c, TOPIC, "t", &changes).await, "NONE");
    let wrong = [("retention.ms", 0, Some("x"))];
    assert_eq!(alter(c, TOPIC, "t", &wrong).await, "INVALID_CONFIG");
    let wrong = [("retention.hours", 0, Some("1"))];
    assert_eq!(alter(c, TOPIC, "t", &wrong).await, "INVALID_CONFIG");
    let unset = [("retention.hours", 1, None)];
    assert_eq!(alter(c, TOPIC, "t", &unset).await, "NONE");
    let empty = [("retention.ms", 0, None)];
    assert_eq!(alter(c, TOPIC, "t", &empty).await, "INVALID_REQUEST");
    let replace = AlterConfigsRequest {
        resources: vec![Replaced {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![Given {
                name: "segment.bytes".into(),
                value: Some("5".into()),
            }],
        }],
        validate_only: false,
    };
    let response = c.call(&replace, 2).await;
    assert_eq!(name(response.responses[0].error_code), "NONE");
    let mut wrong = replace.clone();
    wrong.resources[0].configs[0].value = None;
    let response = c.call(&wrong, 2).await;
    assert_eq!(name(response.responses[0].error_code), "INVALID_REQUEST");
    let expected = ["segment.bytes=5"];
    assert_eq!(described(c, TOPIC, "t").await.unwrap(), expected);
}

#[tokio::test]
async fn a_resource_that_stands_in_a_request_twice_is_not_touched() {
    let (_world, mut client) = World::with_topic(1).await;
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "t".into(),
        configs: vec![AlterableConfig {
            name: "retention.ms".into(),
            config_operation: 0,
            value: Some("5".into()),
        }],
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource.clone(), resource],
        validate_only: false,
    };
    let response = client.call(&request, 1).await;
    let codes = response.responses.iter().map(|it| name(it.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), ["INVALID_REQUEST"; 2]);
    assert_eq!(described(&mut client, TOPIC, "t").await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_broker_is_described_by_itself_and_not_configured_through_the_protocol() {
    let (_world, mut client) = World::with_topic(1).await;
    let metadata = client.call(&MetadataRequest::default(), 12).await;
    let me = metadata.brokers[0].node_id.to_string();
    let c = &mut client;
    assert_eq!(described(c, BROKER, &me).await, Ok(Vec::new()));
    assert_eq!(described(c, BROKER, "").await, Ok(Vec::new()));
    assert_eq!(described(c, BROKER, "77").await, Err("INVALID_REQUEST"));
    assert_eq!(described(c, 99, "x").await, Err("INVALID_REQUEST"));
    let unknown = described(c, TOPIC, "nowhere").await;
    assert_eq!(unknown, Err("UNKNOWN_TOPIC_OR_PARTITION"));
    let change = [("num.partitions", 0, Some("3"))];
    assert_eq!(alter(c, BROKER, &me, &change).await, "INVALID_REQUEST");
    // What is not set may be taken back.
    let unset = [("leader.replication.throttled.rate", 1, None)];
    assert_eq!(alter(c, BROKER, &me, &unset).await, "NONE");
    assert_eq!(alter(c, BROKER, "77", &unset).await, "INVALID_REQUEST");
    let both = [unset[0], change[0]];
    assert_eq!(alter(c, BROKER, &me, &both).await, "INVALID_REQUEST");
    assert_eq!(alter(c, BROKER, &me, &[]).await, "INVALID_REQUEST");
}
