//! `DescribeCluster`, and what a caller may do.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::describe_cluster_response::DescribeClusterBroker;
use tidelog_kafka_codec::messages::{DescribeClusterRequest, DescribeClusterResponse};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

/// The endpoints that brokers have; controllers have others, and there are none.
const ENDPOINT_BROKERS: i8 = 1;
const ENDPOINT_CONTROLLERS: i8 = 2;

/// What can be done with a topic, and the numbers of it in Kafka.
const TOPIC_OPERATIONS: &[(Operation, u32)] = &[
    (Operation::Read, 3),
    (Operation::Write, 4),
    (Operation::Create, 5),
    (Operation::Delete, 6),
    (Operation::Alter, 7),
    (Operation::Describe, 8),
    (Operation::DescribeConfigs, 10),
    (Operation::AlterConfigs, 11),
];
/// What can be done with a group.
const GROUP_OPERATIONS: &[(Operation, u32)] = &[
    (Operation::Read, 3),
    (Operation::Delete, 6),
    (Operation::Describe, 8),
    (Operation::DescribeConfigs, 10),
    (Operation::AlterConfigs, 11),
];
/// What can be done with the cluster.
const CLUSTER_OPERATIONS: &[(Operation, u32)] = &[
    (Operation::Create, 5),
    (Operation::Alter, 7),
    (Operation::Describe, 8),
    // What brokers of Kafka ask of each other.
    (Operation::Alter, 9),
    (Operation::DescribeConfigs, 10),
    (Operation::AlterConfigs, 11),
    (Operation::IdempotentWrite, 12),
];

impl Call {
    /// What the caller may do, as a set of bits.
    fn allowed(&self, operations: &[(Operation, u32)], on: Resource<'_>) -> i32 {
        let may = |operation: &&(Operation, u32)| self.may(operation.0, on).is_ok();
        let allowed = operations.iter().filter(may);
        allowed.fold(0, |bits, (_, number)| bits | (1 << number))
    }

    pub(crate) fn topic_operations(&self, topic: &str) -> i32 {
        self.allowed(TOPIC_OPERATIONS, Resource::Topic(topic))
    }

    pub(crate) fn group_operations(&self, group: &str) -> i32 {
        self.allowed(GROUP_OPERATIONS, Resource::Group(group))
    }

    pub(crate) fn cluster_operations(&self) -> i32 {
        self.allowed(CLUSTER_OPERATIONS, Resource::Cluster)
    }

    pub(crate) fn describe_cluster(
        &self,
        request: &DescribeClusterRequest,
    ) -> DescribeClusterResponse {
        let refusal = match request.endpoint_type {
            ENDPOINT_BROKERS => self.may(Operation::Describe, Resource::Cluster).err(),
            ENDPOINT_CONTROLLERS => Some(Refusal::new(
                ErrorCode::MismatchedEndpointType,
                "this is a broker, and there are no controllers",
            )),
            other => Some(Refusal::new(
                ErrorCode::UnsupportedEndpointType,
                format!("there are no endpoints of the type `{other}`"),
            )),
        };
        if let Some(refusal) = refusal {
            return DescribeClusterResponse {
                error_code: self.code(refusal.code),
                error_message: Some(refusal.text()),
                ..DescribeClusterResponse::default()
            };
        }
        let brokers = self.brokers();
        let controller_id = brokers.controller();
        let all = brokers.all().iter().cloned();
        let all = all.map(|broker| DescribeClusterBroker {
            broker_id: broker.node_id,
            host: broker.host,
            port: broker.port,
            rack: broker.rack,
            ..DescribeClusterBroker::default()
        });
        let mut response = DescribeClusterResponse {
            cluster_id: self.front.engine().cluster().to_string().into(),
            controller_id,
            brokers: all.collect(),
            ..DescribeClusterResponse::default()
        };
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = self.cluster_operations();
        }
        response
    }
}
