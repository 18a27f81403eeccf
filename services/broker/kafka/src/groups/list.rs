//! `ListGroups` and `DeleteGroups`.

use std::collections::BTreeSet;

use tidelog_kafka_codec::messages::delete_groups_response::DeletableGroupResult;
use tidelog_kafka_codec::messages::list_groups_response::ListedGroup;
use tidelog_kafka_codec::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, ListGroupsRequest, ListGroupsResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{
    GroupFilter, GroupKind, GroupListing, GroupName, GroupState, GroupsError,
};
use tidelog_runtime::access::{Operation, Resource};

use crate::call::Call;
use crate::errors::Refusal;

/// Groups that are asked for at a time.
const GROUPS_PAGE: usize = 1_000;

/// Groups that are deleted at a time.
const GROUPS_AT_ONCE: usize = 100;

/// Every state and what Kafka calls it.
const STATES: &[(GroupState, &str)] = &[
    (GroupState::Empty, "Empty"),
    (GroupState::PreparingRebalance, "PreparingRebalance"),
    (GroupState::CompletingRebalance, "CompletingRebalance"),
    (GroupState::Assigning, "Assigning"),
    (GroupState::Reconciling, "Reconciling"),
    (GroupState::Stable, "Stable"),
];
/// Every kind and what Kafka calls it.
const KINDS: &[(GroupKind, &str)] = &[
    (GroupKind::Classic, "classic"),
    (GroupKind::Consumer, "consumer"),
];

/// What Kafka calls a state.
pub(super) fn state_name(state: GroupState) -> &'static str {
    name_of(STATES, &state)
}

fn name_of<T: PartialEq>(names: &[(T, &'static str)], wanted: &T) -> &'static str {
    let found = names.iter().find(|(it, _)| it == wanted);
    found.map_or("Unknown", |(_, name)| name)
}

/// Those that are named, in any case of letters. None if something is named, but nothing that there is.
fn named<T: Copy>(names: &[(T, &str)], wanted: &[ByteString]) -> Option<Vec<T>> {
    let is_wanted = |name: &str| {
        wanted
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let found = names.iter().filter(|(_, name)| is_wanted(name));
    let found: Vec<T> = found.map(|(it, _)| *it).collect();
    (wanted.is_empty() || !found.is_empty()).then_some(found)
}

impl Call {
    pub(crate) async fn list_groups(&self, request: ListGroupsRequest) -> ListGroupsResponse {
        let states = named(STATES, &request.states_filter);
        let kinds = named(KINDS, &request.types_filter);
        let listed = match (states, kinds) {
            (Some(states), Some(kinds)) => self.listed(&GroupFilter { states, kinds }).await,
            _ => Ok(Vec::new()),
        };
        let code = listed.as_ref().err().map_or(ErrorCode::None, |it| it.code);
        let groups = listed.unwrap_or_default().into_iter();
        let groups = groups.map(|listing| ListedGroup {
            group_id: listing.group.as_str().into(),
            protocol_type: listing.protocol_type.into(),
            group_state: ByteString::from_static(state_name(listing.state)),
            group_type: ByteString::from_static(name_of(KINDS, &listing.kind)),
        });
        ListGroupsResponse {
            error_code: self.code(code),
            groups: groups.collect(),
            ..ListGroupsResponse::default()
        }
    }

    /// This broker's part of the groups that the caller may see: all for one who may see the cluster.
    async fn listed(&self, filter: &GroupFilter) -> Result<Vec<GroupListing>, Refusal> {
        let sees_all = self.may(Operation::Describe, Resource::Cluster).is_ok();
        let brokers = self.brokers();
        let lists = |listing: &GroupListing| {
            let name = listing.group.as_str();
            let sees = || self.may(Operation::Describe, Resource::Group(name)).is_ok();
            brokers.lists(name.as_bytes()) && (sees_all || sees())
        };
        let groups = self.front.engine().groups();
        let (mut listed, mut after) = (Vec::new(), Vec::new());
        loop {
            let page = groups.list_groups(filter, &after, GROUPS_PAGE).await;
            let page = page.map_err(|error| Refusal::from(&error))?;
            listed.extend(page.groups.into_iter().filter(lists));
            after = page.next;
            if after.is_empty() {
                return Ok(listed);
            }
        }
    }

    pub(crate) async fn delete_groups(&self, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut seen = BTreeSet::new();
        let mut names = request.groups_names;
        names.retain(|name| seen.insert(name.clone()));
        let checked = names.iter().map(|name| self.deletable(name));
        let checked: Vec<Result<GroupName, Refusal>> = checked.collect();
        let groups: Vec<GroupName> = checked.iter().flatten().cloned().collect();
        let coordinators = self.front.engine().groups();
        let mut deleted = Vec::with_capacity(groups.len());
        for some in groups.chunks(GROUPS_AT_ONCE) {
            deleted.extend(coordinators.delete_groups(some).await);
        }
        let mut deleted = deleted.into_iter();
        let results = names.into_iter().zip(checked).map(|(group_id, checked)| {
            let result = checked.and_then(|_| {
                let result = deleted.next().unwrap_or(Err(GroupsError::Unknown));
                result.map_err(|error| Refusal::from(&error))
            });
            let refusal = result.err();
            let code = refusal.as_ref().map_or(ErrorCode::None, |it| it.code);
            DeletableGroupResult {
                group_id,
                error_code: self.code(code),
                error_message: refusal.map(|refusal| refusal.text()),
            }
        });
        DeleteGroupsResponse {
            results: results.collect(),
            ..DeleteGroupsResponse::default()
        }
    }

    /// A group that may be deleted. One that cannot be is not there.
    fn deletable(&self, name: &str) -> Result<GroupName, Refusal> {
        self.may(Operation::Delete, Resource::Group(name))?;
        GroupName::new(name).map_err(|_| Refusal::from(&GroupsError::GroupNotFound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_states_in_any_case_and_unknown_ones_match_nothing() {
        let states = |wanted: &[&'static str]| {
            let wanted: Vec<ByteString> = wanted.iter().map(|it| (*it).into()).collect();
            named(STATES, &wanted)
        };
        assert_eq!(states(&[]), Some(Vec::new()));
        assert_eq!(states(&["stable"]), Some(vec![GroupState::Stable]));
        let two = Some(vec![GroupState::Empty, GroupState::Stable]);
        assert_eq!(states(&["Stable", "Dead", "EMPTY"]), two);
        assert_eq!(states(&["Dead"]), None);
        assert_eq!(
            named(KINDS, &["Consumer".into()]),
            Some(vec![GroupKind::Consumer])
        );
        assert_eq!(named(KINDS, &["share".into()]), None);
        assert_eq!(state_name(GroupState::Reconciling), "Reconciling");
    }
}
