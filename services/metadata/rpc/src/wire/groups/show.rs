//! Groups as operators see them.

use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    ClassicDescription, ClassicMember, ConsumerDescription, ConsumerMember, GroupDescription,
    GroupFilter, GroupKind, GroupListing, GroupPage, GroupState,
};

use super::{
    WireError, client_from, client_to, millis, name_from, name_to, partitions_from, partitions_to,
};

const fn kind_to(kind: GroupKind) -> v1::GroupKind {
    match kind {
        GroupKind::Classic => v1::GroupKind::Classic,
        GroupKind::Consumer => v1::GroupKind::Consumer,
    }
}

fn kind_from(raw: i32) -> Result<GroupKind, WireError> {
    match v1::GroupKind::try_from(raw) {
        Ok(v1::GroupKind::Classic) => Ok(GroupKind::Classic),
        Ok(v1::GroupKind::Consumer) => Ok(GroupKind::Consumer),
        Ok(v1::GroupKind::Unspecified) | Err(_) => Err(range("kind", raw)),
    }
}

const fn state_to(state: GroupState) -> v1::GroupState {
    match state {
        GroupState::Empty => v1::GroupState::Empty,
        GroupState::PreparingRebalance => v1::GroupState::PreparingRebalance,
        GroupState::CompletingRebalance => v1::GroupState::CompletingRebalance,
        GroupState::Assigning => v1::GroupState::Assigning,
        GroupState::Reconciling => v1::GroupState::Reconciling,
        GroupState::Stable => v1::GroupState::Stable,
    }
}

fn state_from(raw: i32) -> Result<GroupState, WireError> {
    match v1::GroupState::try_from(raw) {
        Ok(v1::GroupState::Empty) => Ok(GroupState::Empty),
        Ok(v1::GroupState::PreparingRebalance) => Ok(GroupState::PreparingRebalance),
        Ok(v1::GroupState::CompletingRebalance) => Ok(GroupState::CompletingRebalance),
        Ok(v1::GroupState::Assigning) => Ok(GroupState::Assigning),
        Ok(v1::GroupState::Reconciling) => Ok(GroupState::Reconciling),
        Ok(v1::GroupState::Stable) => Ok(GroupState::Stable),
        Ok(v1::GroupState::Unspecified) | Err(_) => Err(range("state", raw)),
    }
}

fn range(field: &'static str, raw: i32) -> WireError {
    WireError::Range {
        field,
        value: u64::from(raw.cast_unsigned()),
    }
}

pub(crate) fn list_to(filter: &GroupFilter, after: &[u8], count: usize) -> v1::ListGroups {
    v1::ListGroups {
        states: filter
            .states
            .iter()
            .map(|one| state_to(*one).into())
            .collect(),
        kinds: filter
            .kinds
            .iter()
            .map(|one| kind_to(*one).into())
            .collect(),
        after: after.to_vec().into(),
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

pub(crate) fn filter_from(request: &v1::ListGroups) -> Result<GroupFilter, WireError> {
    let states = request.states.iter().map(|raw| state_from(*raw));
    let kinds = request.kinds.iter().map(|raw| kind_from(*raw));
    Ok(GroupFilter {
        states: states.collect::<Result<_, _>>()?,
        kinds: kinds.collect::<Result<_, _>>()?,
    })
}

pub(crate) fn group_page_to(page: GroupPage) -> v1::ListedGroups {
    let groups = page.groups.into_iter().map(|listing| v1::GroupListing {
        group: name_to(&listing.group),
        kind: kind_to(listing.kind).into(),
        protocol_type: listing.protocol_type,
        state: state_to(listing.state).into(),
    });
    v1::ListedGroups {
        groups: groups.collect(),
        next: page.next.into(),
    }
}

pub(crate) fn group_page_from(page: v1::ListedGroups) -> Result<GroupPage, WireError> {
    let groups = page.groups.into_iter().map(|listing| {
        Ok(GroupListing {
            group: name_from(&listing.group)?,
            kind: kind_from(listing.kind)?,
            protocol_type: listing.protocol_type,
            state: state_from(listing.state)?,
        })
    });
    Ok(GroupPage {
        groups: groups.collect::<Result<_, _>>()?,
        next: page.next.to_vec(),
    })
}

pub(crate) fn description_to(description: GroupDescription) -> v1::GroupDescription {
    use v1::group_description::Kind;
    let kind = match description {
        GroupDescription::Classic(group) => Kind::Classic(classic_to(group)),
        GroupDescription::Consumer(group) => Kind::Consumer(consumer_to(group)),
    };
    v1::GroupDescription { kind: Some(kind) }
}

pub(crate) fn description_from(
    description: v1::GroupDescription,
) -> Result<GroupDescription, WireError> {
    use v1::group_description::Kind;
    match description.kind {
        Some(Kind::Classic(group)) => Ok(GroupDescription::Classic(classic_from(group)?)),
        Some(Kind::Consumer(group)) => Ok(GroupDescription::Consumer(consumer_from(group)?)),
        None => Err(WireError::Missing("kind")),
    }
}

fn classic_to(group: ClassicDescription) -> v1::ClassicGroup {
    let members = group.members.into_iter().map(|member| v1::ClassicMember {
        member_id: member.member_id,
        instance: member.instance,
        client: Some(client_to(member.client)),
        metadata: member.metadata,
        assignment: member.assignment,
    });
    v1::ClassicGroup {
        state: state_to(group.state).into(),
        generation: group.generation,
        protocol_type: group.protocol_type,
        protocol: group.protocol,
        members: members.collect(),
    }
}

fn classic_from(group: v1::ClassicGroup) -> Result<ClassicDescription, WireError> {
    let members = group.members.into_iter().map(|member| ClassicMember {
        member_id: member.member_id,
        instance: member.instance,
        client: client_from(member.client),
        metadata: member.metadata,
        assignment: member.assignment,
    });
    Ok(ClassicDescription {
        state: state_from(group.state)?,
        generation: group.generation,
        protocol_type: group.protocol_type,
        protocol: group.protocol,
        members: members.collect(),
    })
}

fn consumer_to(group: ConsumerDescription) -> v1::ConsumerGroup {
    let members = group.members.into_iter().map(|member| v1::ConsumerMember {
        member_id: member.member_id,
        instance: member.instance,
        rack: member.rack,
        client: Some(client_to(member.client)),
        epoch: member.epoch,
        rebalance_ms: millis(member.rebalance),
        topics: member.topics,
        pattern: member.pattern,
        assigned: partitions_to(&member.assigned),
        target: partitions_to(&member.target),
        is_classic: member.is_classic,
    });
    v1::ConsumerGroup {
        state: state_to(group.state).into(),
        epoch: group.epoch,
        target_epoch: group.target_epoch,
        assignor: group.assignor,
        members: members.collect(),
    }
}

fn consumer_from(group: v1::ConsumerGroup) -> Result<ConsumerDescription, WireError> {
    let members = group.members.into_iter().map(|member| {
        Ok(ConsumerMember {
            member_id: member.member_id,
            instance: member.instance,
            rack: member.rack,
            client: client_from(member.client),
            epoch: member.epoch,
            rebalance: Duration::from_millis(member.rebalance_ms),
            topics: member.topics,
            pattern: member.pattern,
            assigned: partitions_from(member.assigned)?,
            target: partitions_from(member.target)?,
            is_classic: member.is_classic,
        })
    });
    Ok(ConsumerDescription {
        state: state_from(group.state)?,
        epoch: group.epoch,
        target_epoch: group.target_epoch,
        assignor: group.assignor,
        members: members.collect::<Result<_, _>>()?,
    })
}
