//! `LeaveGroup`.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::leave_group_request::MemberIdentity;
use tidelog_kafka_codec::messages::leave_group_response::MemberResponse;
use tidelog_kafka_codec::messages::{LeaveGroupRequest, LeaveGroupResponse};
use tidelog_metadata_api::{GroupsError, LeaveGroup, LeavingMember};
use tidelog_runtime::access::Operation;

use super::classic::owned;
use super::errors::member_code;
use crate::call::Call;

/// The first version in which several may leave.
const MANY_FROM: i16 = 3;

impl Call {
    pub(crate) async fn leave_group(&self, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let members = if self.version >= MANY_FROM {
            request.members
        } else {
            vec![MemberIdentity {
                member_id: request.member_id,
                ..MemberIdentity::default()
            }]
        };
        let codes = match self.leave(&request.group_id, &members).await {
            Ok(codes) => codes,
            Err(code) => {
                return LeaveGroupResponse {
                    error_code: self.code(code),
                    ..LeaveGroupResponse::default()
                };
            }
        };
        if self.version < MANY_FROM {
            let code = codes.into_iter().next().unwrap_or(ErrorCode::None);
            return LeaveGroupResponse {
                error_code: self.code(code),
                ..LeaveGroupResponse::default()
            };
        }
        let members = members.into_iter().zip(codes);
        let members = members.map(|(member, code)| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: self.code(code),
        });
        LeaveGroupResponse {
            members: members.collect(),
            ..LeaveGroupResponse::default()
        }
    }

    /// A code for each member.
    async fn leave(
        &self,
        group: &str,
        members: &[MemberIdentity],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let group = self.group(Operation::Read, group);
        let leaving = members.iter().map(|member| LeavingMember {
            member_id: member.member_id.to_string(),
            instance: owned(member.group_instance_id.clone()),
            reason: owned(member.reason.clone()),
        });
        let leave = LeaveGroup {
            group: group.map_err(|refusal| refusal.code)?,
            members: leaving.collect(),
        };
        match self.front.engine().groups().leave(leave).await {
            Ok(results) => {
                let codes = results.iter().map(|result| match result {
                    Ok(()) => ErrorCode::None,
                    Err(error) => member_code(error),
                });
                Ok(codes.collect())
            }
            Err(GroupsError::GroupNotFound | GroupsError::UnknownMember) => {
                Ok(vec![ErrorCode::UnknownMemberId; members.len()])
            }
            Err(error) => Err(member_code(&error)),
        }
    }
}
