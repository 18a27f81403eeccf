//! Groups as the API has them.

use std::collections::BTreeMap;

use tidelog_api::{ApiError, v1};
use tidelog_metadata_api::{
    ClassicDescription, ConsumerDescription, ConsumerMember, GroupKind, GroupListing, GroupState,
    TopicInfo, TopicSelector, TopicState,
};
use tidelog_types::{ErrorCode, TopicNumber, TopicPartition};

use crate::errors::catalogue_error;
use crate::front::Front;

pub(super) const fn state(state: v1::GroupState) -> Option<GroupState> {
    Some(match state {
        v1::GroupState::Unspecified => return None,
        v1::GroupState::Empty => GroupState::Empty,
        v1::GroupState::PreparingRebalance => GroupState::PreparingRebalance,
        v1::GroupState::CompletingRebalance => GroupState::CompletingRebalance,
        v1::GroupState::Assigning => GroupState::Assigning,
        v1::GroupState::Reconciling => GroupState::Reconciling,
        v1::GroupState::Stable => GroupState::Stable,
    })
}

const fn to_state(state: GroupState) -> v1::GroupState {
    match state {
        GroupState::Empty => v1::GroupState::Empty,
        GroupState::PreparingRebalance => v1::GroupState::PreparingRebalance,
        GroupState::CompletingRebalance => v1::GroupState::CompletingRebalance,
        GroupState::Assigning => v1::GroupState::Assigning,
        GroupState::Reconciling => v1::GroupState::Reconciling,
        GroupState::Stable => v1::GroupState::Stable,
    }
}

pub(super) const fn kind(protocol: v1::GroupProtocol) -> Option<GroupKind> {
    match protocol {
        v1::GroupProtocol::Unspecified => None,
        v1::GroupProtocol::Classic => Some(GroupKind::Classic),
        v1::GroupProtocol::Consumer => Some(GroupKind::Consumer),
    }
}

pub(super) fn to_summary(listing: &GroupListing) -> v1::GroupSummary {
    let protocol = match listing.kind {
        GroupKind::Classic => v1::GroupProtocol::Classic,
        GroupKind::Consumer => v1::GroupProtocol::Consumer,
    };
    v1::GroupSummary {
        name: listing.group.to_string(),
        protocol: protocol.into(),
        protocol_type: listing.protocol_type.clone(),
        state: to_state(listing.state).into(),
    }
}

pub(super) fn classic(name: &str, group: ClassicDescription) -> v1::Group {
    let members = group.members.into_iter().map(|member| v1::GroupMember {
        member_id: member.member_id,
        instance_id: member.instance.unwrap_or_default(),
        client_id: member.client.id,
        client_host: member.client.host,
        classic_assignment: member.assignment,
        ..v1::GroupMember::default()
    });
    v1::Group {
        name: name.to_owned(),
        protocol: v1::GroupProtocol::Classic.into(),
        protocol_type: group.protocol_type,
        state: to_state(group.state).into(),
        epoch: group.generation,
        assignor: group.protocol,
        members: members.collect(),
    }
}

pub(super) async fn consumer(
    front: &Front,
    name: &str,
    group: ConsumerDescription,
) -> Result<v1::Group, ApiError> {
    let mut topics = Topics::default();
    let mut members = Vec::with_capacity(group.members.len());
    for member in group.members {
        members.push(consumer_member(front, &mut topics, member).await?);
    }
    Ok(v1::Group {
        name: name.to_owned(),
        protocol: v1::GroupProtocol::Consumer.into(),
        protocol_type: "consumer".to_owned(),
        state: to_state(group.state).into(),
        epoch: group.epoch,
        assignor: group.assignor,
        members,
    })
}

async fn consumer_member(
    front: &Front,
    topics: &mut Topics,
    member: ConsumerMember,
) -> Result<v1::GroupMember, ApiError> {
    let mut assigned: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in member.assigned {
        if let Some(topic) = topics.live(front, topic).await? {
            let partitions = assigned.entry(topic.name.to_string()).or_default();
            partitions.push(partition.get());
        }
    }
    let assigned = assigned.into_iter();
    let assigned = assigned.map(|(topic, partitions)| v1::GroupAssignment { topic, partitions });
    Ok(v1::GroupMember {
        member_id: member.member_id,
        instance_id: member.instance.unwrap_or_default(),
        client_id: member.client.id,
        client_host: member.client.host,
        zone: member.rack.unwrap_or_default(),
        epoch: member.epoch,
        assigned: assigned.collect(),
        ..v1::GroupMember::default()
    })
}

/// Topics by number, looked up once each.
#[derive(Debug, Default)]
pub(crate) struct Topics(BTreeMap<TopicNumber, Option<std::sync::Arc<TopicInfo>>>);

impl Topics {
    /// The topic with this number; none if it was deleted.
    pub(crate) async fn live(
        &mut self,
        front: &Front,
        number: TopicNumber,
    ) -> Result<Option<std::sync::Arc<TopicInfo>>, ApiError> {
        if let Some(found) = self.0.get(&number) {
            return Ok(found.clone());
        }
        let catalogue = front.engine().catalogue();
        let found = match catalogue.topic(&TopicSelector::Number(number)).await {
            Ok(topic) => Some(topic).filter(|topic| topic.state == TopicState::Live),
            Err(error) if error.code() == ErrorCode::UnknownTopic => None,
            Err(error) => return Err(catalogue_error(&error)),
        };
        self.0.insert(number, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back() {
        for raw in 1..=6 {
            let there = v1::GroupState::try_from(raw).unwrap();
            assert_eq!(to_state(state(there).unwrap()), there);
        }
        assert!(
            v1::GroupState::try_from(7).is_err(),
            "another state: add it"
        );
    }
}
