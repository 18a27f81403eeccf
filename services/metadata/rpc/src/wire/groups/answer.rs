//! What members hear.

use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    ConsumerHeartbeatAnswer, GroupsError, JoinedGroup, JoinedMember, SyncedGroup,
};

use super::{
    WireError, group_failure_from, group_failure_to, millis, partitions_from, partitions_to,
};

pub(crate) fn joined_to(joined: JoinedGroup) -> v1::JoinedGroup {
    let members = joined.members.into_iter();
    v1::JoinedGroup {
        generation: joined.generation,
        protocol_type: joined.protocol_type,
        protocol: joined.protocol,
        leader: joined.leader,
        member_id: joined.member_id,
        skip_assignment: joined.skip_assignment,
        members: members
            .map(|member| v1::JoinedMember {
                member_id: member.member_id,
                instance: member.instance,
                metadata: member.metadata,
            })
            .collect(),
    }
}

pub(crate) fn joined_from(joined: v1::JoinedGroup) -> JoinedGroup {
    let members = joined.members.into_iter();
    JoinedGroup {
        generation: joined.generation,
        protocol_type: joined.protocol_type,
        protocol: joined.protocol,
        leader: joined.leader,
        member_id: joined.member_id,
        skip_assignment: joined.skip_assignment,
        members: members
            .map(|member| JoinedMember {
                member_id: member.member_id,
                instance: member.instance,
                metadata: member.metadata,
            })
            .collect(),
    }
}

pub(crate) fn synced_to(synced: SyncedGroup) -> v1::SyncedGroup {
    v1::SyncedGroup {
        protocol_type: synced.protocol_type,
        protocol: synced.protocol,
        assignment: synced.assignment,
    }
}

pub(crate) fn synced_from(synced: v1::SyncedGroup) -> SyncedGroup {
    SyncedGroup {
        protocol_type: synced.protocol_type,
        protocol: synced.protocol,
        assignment: synced.assignment,
    }
}

pub(crate) fn beaten_to(beaten: ConsumerHeartbeatAnswer) -> v1::ConsumerHeartbeatAnswer {
    v1::ConsumerHeartbeatAnswer {
        member_id: beaten.member_id,
        epoch: beaten.epoch,
        heartbeat_ms: millis(beaten.heartbeat),
        assignment: beaten.assignment.map(|assignment| v1::Partitions {
            partitions: partitions_to(&assignment),
        }),
    }
}

pub(crate) fn beaten_from(
    beaten: v1::ConsumerHeartbeatAnswer,
) -> Result<ConsumerHeartbeatAnswer, WireError> {
    let assignment = beaten.assignment;
    let assignment = assignment.map(|assignment| partitions_from(assignment.partitions));
    Ok(ConsumerHeartbeatAnswer {
        member_id: beaten.member_id,
        epoch: beaten.epoch,
        heartbeat: Duration::from_millis(beaten.heartbeat_ms),
        assignment: assignment.transpose()?,
    })
}

pub(crate) fn outcomes_to(outcomes: Vec<Result<(), GroupsError>>) -> v1::GroupOutcomes {
    let outcomes = outcomes.into_iter();
    let outcomes = outcomes.map(|outcome| v1::GroupOutcome {
        failure: outcome.err().map(|error| group_failure_to(&error)),
    });
    v1::GroupOutcomes {
        outcomes: outcomes.collect(),
    }
}

/// The outcomes of so many items; nothing is known of one that has none.
pub(crate) fn outcomes_from(
    outcomes: v1::GroupOutcomes,
    count: usize,
) -> Vec<Result<(), GroupsError>> {
    let told = outcomes.outcomes.into_iter().map(|outcome| {
        let failure = outcome.failure;
        failure.map_or(Ok(()), |failure| Err(group_failure_from(failure)))
    });
    let rest = std::iter::repeat_with(|| Err(GroupsError::Unknown));
    told.chain(rest).take(count).collect()
}
