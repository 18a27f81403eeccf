//! Leaders, replicas and brokers, which nobody moves: `ElectLeaders`, `AlterPartitionReassignments`,
//! `ListPartitionReassignments` and `UnregisterBroker`.

use std::sync::Arc;

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use tidelog_kafka_codec::messages::elect_leaders_request::TopicPartitions;
use tidelog_kafka_codec::messages::elect_leaders_response::{
    PartitionResult, ReplicaElectionResult,
};
use tidelog_kafka_codec::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse,
};
use tidelog_metadata_api::TopicInfo;
use tidelog_runtime::access::{Operation, Resource};

use crate::call::{Call, partition};
use crate::errors::Refusal;

/// The kinds of elections: of the preferred replica, and of any.
const ELECTIONS: std::ops::RangeInclusive<i8> = 0..=1;
/// The first version with an error of its own.
const ELECTION_ERROR_FROM: i16 = 1;

impl Call {
    pub(crate) async fn elect_leaders(&self, request: ElectLeadersRequest) -> ElectLeadersResponse {
        let mut allowed = self.may(Operation::Alter, Resource::Cluster);
        if !ELECTIONS.contains(&request.election_type) {
            let message = format!(
                "there are no elections of the type `{}`",
                request.election_type
            );
            allowed = allowed.and(Err(Refusal::new(ErrorCode::InvalidRequest, message)));
        }
        let mut response = ElectLeadersResponse::default();
        if let Err(refusal) = &allowed
            && self.version >= ELECTION_ERROR_FROM
        {
            response.error_code = self.code(refusal.code);
        }
        // Where all partitions are meant, those whose leader stays are left out.
        for topic in request.topic_partitions.unwrap_or_default() {
            let found = match &allowed {
                Ok(()) => self.topic(Operation::Describe, &topic.topic).await,
                Err(refusal) => Err(refusal.clone()),
            };
            response
                .replica_election_results
                .push(self.elected(&found, topic));
        }
        response
    }

    fn elected(
        &self,
        found: &Result<Arc<TopicInfo>, Refusal>,
        topic: TopicPartitions,
    ) -> ReplicaElectionResult {
        let results = topic.partitions.iter().map(|index| {
            let refusal = match found {
                Ok(topic) => partition(topic, *index).err().unwrap_or_else(|| {
                    let message = "partitions have no leader that could be another";
                    Refusal::new(ErrorCode::ElectionNotNeeded, message)
                }),
                Err(refusal) => refusal.clone(),
            };
            let (error_code, error_message) = self.refused(Some(&refusal));
            PartitionResult {
                partition_id: *index,
                error_code,
                error_message,
            }
        });
        ReplicaElectionResult {
            partition_result: results.collect(),
            topic: topic.topic,
        }
    }

    pub(crate) async fn alter_partition_reassignments(
        &self,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        if let Err(refusal) = self.may(Operation::Alter, Resource::Cluster) {
            let (error_code, error_message) = self.refused(Some(&refusal));
            return AlterPartitionReassignmentsResponse {
                error_code,
                error_message,
                ..AlterPartitionReassignmentsResponse::default()
            };
        }
        let brokers = self.brokers();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = self.topic(Operation::Alter, &topic.name).await;
            let leaders = found
                .as_ref()
                .map(|topic| brokers.leaders(topic.id, topic.partition_count()));
            let partitions = topic.partitions.iter().map(|wanted| {
                let at = usize::try_from(wanted.partition_index).ok();
                let leader = at.and_then(|at| leaders.as_ref().ok()?.get(at).copied());
                let moved = match (&found, leader) {
                    (Err(refusal), _) => Err(refusal.clone()),
                    (Ok(topic), None) => partition(topic, wanted.partition_index).map(drop),
                    (Ok(_), Some(leader)) => moved(leader, wanted.replicas.as_deref()),
                };
                let (error_code, error_message) = self.refused(moved.err().as_ref());
                ReassignablePartitionResponse {
                    partition_index: wanted.partition_index,
                    error_code,
                    error_message,
                }
            });
            responses.push(ReassignableTopicResponse {
                partitions: partitions.collect(),
                name: topic.name,
            });
        }
        AlterPartitionReassignmentsResponse {
            responses,
            ..AlterPartitionReassignmentsResponse::default()
        }
    }

    /// Nothing is ever on the move.
    pub(crate) fn list_partition_reassignments(&self) -> ListPartitionReassignmentsResponse {
        let allowed = self.may(Operation::Describe, Resource::Cluster);
        let (error_code, error_message) = self.refused(allowed.err().as_ref());
        ListPartitionReassignmentsResponse {
            error_code,
            error_message,
            ..ListPartitionReassignmentsResponse::default()
        }
    }

    pub(crate) fn unregister_broker(
        &self,
        request: &UnregisterBrokerRequest,
    ) -> UnregisterBrokerResponse {
        let id = request.broker_id;
        let brokers = self.brokers();
        let is_there = brokers.all().iter().any(|broker| broker.node_id == id);
        let (code, why) = if is_there {
            let why = format!("the broker `{id}` lives: it leaves the list when it ends");
            (ErrorCode::InvalidRequest, why)
        } else {
            let why = format!("there is no broker `{id}`");
            (ErrorCode::BrokerIdNotRegistered, why)
        };
        let refusal = self.never(Operation::Alter, code, &why);
        let (error_code, error_message) = self.refused(Some(&refusal));
        UnregisterBrokerResponse {
            error_code,
            error_message,
            ..UnregisterBrokerResponse::default()
        }
    }
}

/// Whether a partition can be where it is wanted, which is where it is told to be. Who wants to end its move hears that
/// it makes none.
fn moved(leader: i32, replicas: Option<&[i32]>) -> Result<(), Refusal> {
    match replicas {
        Some(replicas) if replicas == [leader] => Ok(()),
        Some(_) => {
            let message = "partitions have no replicas that could be moved: the bucket replicates";
            Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
        }
        None => {
            let message = "the partition is not on the move";
            Err(Refusal::new(ErrorCode::NoReassignmentInProgress, message))
        }
    }
}
