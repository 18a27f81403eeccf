//! What members ask.

use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    ConsumerHeartbeat, GroupHeartbeat, GroupProtocol, JoinGroup, LeaveGroup, SyncGroup,
};

use super::{
    WireError, client_from, client_to, leaving_from, leaving_to, millis, name_from, name_to,
    partitions_from, partitions_to,
};

pub(crate) fn join_to(request: JoinGroup) -> v1::JoinGroup {
    let protocols = request.protocols.into_iter();
    v1::JoinGroup {
        group: name_to(&request.group),
        member_id: request.member_id,
        instance: request.instance,
        client: Some(client_to(request.client)),
        session_ms: millis(request.session),
        rebalance_ms: millis(request.rebalance),
        protocol_type: request.protocol_type,
        protocols: protocols
            .map(|protocol| v1::GroupProtocol {
                name: protocol.name,
                metadata: protocol.metadata,
            })
            .collect(),
        id_first: request.id_first,
        may_skip_assignment: request.may_skip_assignment,
        reason: request.reason,
    }
}

pub(crate) fn join_from(request: v1::JoinGroup) -> Result<JoinGroup, WireError> {
    let protocols = request.protocols.into_iter();
    Ok(JoinGroup {
        group: name_from(&request.group)?,
        member_id: request.member_id,
        instance: request.instance,
        client: client_from(request.client),
        session: Duration::from_millis(request.session_ms),
        rebalance: Duration::from_millis(request.rebalance_ms),
        protocol_type: request.protocol_type,
        protocols: protocols
            .map(|protocol| GroupProtocol {
                name: protocol.name,
                metadata: protocol.metadata,
            })
            .collect(),
        id_first: request.id_first,
        may_skip_assignment: request.may_skip_assignment,
        reason: request.reason,
    })
}

pub(crate) fn sync_to(request: SyncGroup) -> v1::SyncGroup {
    let assignments = request.assignments.into_iter();
    v1::SyncGroup {
        group: name_to(&request.group),
        member_id: request.member_id,
        instance: request.instance,
        generation: request.generation,
        protocol_type: request.protocol_type,
        protocol: request.protocol,
        assignments: assignments
            .map(|(member_id, assignment)| v1::GroupAssignment {
                member_id,
                assignment,
            })
            .collect(),
    }
}

pub(crate) fn sync_from(request: v1::SyncGroup) -> Result<SyncGroup, WireError> {
    let assignments = request.assignments.into_iter();
    Ok(SyncGroup {
        group: name_from(&request.group)?,
        member_id: request.member_id,
        instance: request.instance,
        generation: request.generation,
        protocol_type: request.protocol_type,
        protocol: request.protocol,
        assignments: assignments
            .map(|one| (one.member_id, one.assignment))
            .collect(),
    })
}

pub(crate) fn heartbeat_to(request: GroupHeartbeat) -> v1::GroupHeartbeat {
    v1::GroupHeartbeat {
        group: name_to(&request.group),
        member_id: request.member_id,
        instance: request.instance,
        generation: request.generation,
    }
}

pub(crate) fn heartbeat_from(request: v1::GroupHeartbeat) -> Result<GroupHeartbeat, WireError> {
    Ok(GroupHeartbeat {
        group: name_from(&request.group)?,
        member_id: request.member_id,
        instance: request.instance,
        generation: request.generation,
    })
}

pub(crate) fn leave_to(request: LeaveGroup) -> v1::LeaveGroup {
    v1::LeaveGroup {
        group: name_to(&request.group),
        members: request.members.into_iter().map(leaving_to).collect(),
    }
}

pub(crate) fn leave_from(request: v1::LeaveGroup) -> Result<LeaveGroup, WireError> {
    Ok(LeaveGroup {
        group: name_from(&request.group)?,
        members: request.members.into_iter().map(leaving_from).collect(),
    })
}

pub(crate) fn beat_to(request: ConsumerHeartbeat) -> v1::ConsumerHeartbeat {
    v1::ConsumerHeartbeat {
        group: name_to(&request.group),
        member_id: request.member_id,
        epoch: request.epoch,
        instance: request.instance,
        rack: request.rack,
        client: Some(client_to(request.client)),
        rebalance_ms: request.rebalance.map(millis),
        topics: request.topics.map(|names| v1::TopicNames { names }),
        pattern: request.pattern,
        assignor: request.assignor,
        owned: request.owned.map(|owned| v1::Partitions {
            partitions: partitions_to(&owned),
        }),
    }
}

pub(crate) fn beat_from(request: v1::ConsumerHeartbeat) -> Result<ConsumerHeartbeat, WireError> {
    let owned = request.owned.map(|owned| partitions_from(owned.partitions));
    Ok(ConsumerHeartbeat {
        group: name_from(&request.group)?,
        member_id: request.member_id,
        epoch: request.epoch,
        instance: request.instance,
        rack: request.rack,
        client: client_from(request.client),
        rebalance: request.rebalance_ms.map(Duration::from_millis),
        topics: request.topics.map(|topics| topics.names),
        pattern: request.pattern,
        assignor: request.assignor,
        owned: owned.transpose()?,
    })
}
