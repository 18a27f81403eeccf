//! `DescribeGroups`: groups of the classic protocol.

use std::collections::HashSet;

use tidelog_kafka_codec::messages::describe_groups_response::{
    DescribedGroup, DescribedGroupMember,
};
use tidelog_kafka_codec::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{ClassicDescription, GroupDescription, GroupName, GroupsError};
use tidelog_runtime::access::{Operation, Resource};

use super::list::state_name;
use crate::call::Call;
use crate::errors::Refusal;

/// Groups that are asked for at a time.
const GROUPS_AT_ONCE: usize = 100;
/// The state of a group that is not there.
const DEAD: &str = "Dead";
/// The first version that has words for errors, and one for a group that is not there.
const WORDS_FROM: i16 = 6;

impl Call {
    pub(crate) async fn describe_groups(
        &self,
        request: DescribeGroupsRequest,
    ) -> DescribeGroupsResponse {
        let descriptions = self.descriptions(&request.groups).await;
        let groups = request.groups.into_iter().zip(descriptions);
        let groups = groups.map(|(group_id, description)| {
            let described = match description {
                Ok(GroupDescription::Classic(classic)) => described(classic),
                Ok(GroupDescription::Consumer(_)) => {
                    let message = "the group is not of the classic protocol";
                    self.not_described(&Refusal::new(ErrorCode::GroupIdNotFound, message))
                }
                Err(refusal) => self.not_described(&refusal),
            };
            let mut described = DescribedGroup {
                group_id,
                ..described
            };
            if request.include_authorized_operations && described.error_code == 0 {
                described.authorized_operations = self.group_operations(&described.group_id);
            }
            described
        });
        DescribeGroupsResponse {
            groups: groups.collect(),
            ..DescribeGroupsResponse::default()
        }
    }

    /// What the coordinators say of groups that the caller may see, one answer for each name.
    pub(super) async fn descriptions(
        &self,
        names: &[ByteString],
    ) -> Vec<Result<GroupDescription, Refusal>> {
        let mut seen = HashSet::new();
        let checked = names.iter().map(|name| {
            if !seen.insert(name) {
                let message = "the group stands there twice";
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            self.may(Operation::Describe, Resource::Group(name))?;
            // What cannot be the name of a group is that of none.
            GroupName::new(name).map_err(|_| Refusal::from(&GroupsError::GroupNotFound))
        });
        let checked: Vec<Result<GroupName, Refusal>> = checked.collect();
        let groups: Vec<GroupName> = checked.iter().flatten().cloned().collect();
        let coordinators = self.front.engine().groups();
        let mut described = Vec::with_capacity(groups.len());
        for some in groups.chunks(GROUPS_AT_ONCE) {
            described.extend(coordinators.describe_groups(some).await);
        }
        let mut described = described.into_iter();
        let descriptions = checked.into_iter().map(|checked| {
            checked.and_then(|_| {
                let description = described.next().unwrap_or(Err(GroupsError::Unknown));
                description.map_err(|error| Refusal::from(&error))
            })
        });
        descriptions.collect()
    }

    fn not_described(&self, refusal: &Refusal) -> DescribedGroup {
        let is_missing = refusal.code == ErrorCode::GroupIdNotFound;
        let state = if is_missing { DEAD } else { "" };
        let mut described = DescribedGroup {
            group_state: ByteString::from_static(state),
            ..DescribedGroup::default()
        };
        let has_words = self.version >= WORDS_FROM;
        if has_words || !is_missing {
            described.error_code = self.code(refusal.code);
        }
        described.error_message = has_words.then(|| refusal.text());
        described
    }
}

fn described(classic: ClassicDescription) -> DescribedGroup {
    let members = classic.members.into_iter();
    let members = members.map(|member| DescribedGroupMember {
        member_id: member.member_id.into(),
        group_instance_id: member.instance.map(Into::into),
        client_id: member.client.id.into(),
        client_host: member.client.host.into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_state: ByteString::from_static(state_name(classic.state)),
        protocol_type: classic.protocol_type.into(),
        protocol_data: classic.protocol.into(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}
