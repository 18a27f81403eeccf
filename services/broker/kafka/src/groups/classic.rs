//! `JoinGroup`, `SyncGroup` and `Heartbeat`: members of the classic protocol.

use std::time::Duration;

use bytes::Bytes;
use tidelog_kafka_codec::messages::join_group_response::JoinGroupResponseMember;
use tidelog_kafka_codec::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use tidelog_kafka_codec::{ByteString, ErrorCode};
use tidelog_metadata_api::{
    GroupHeartbeat, GroupProtocol, GroupsError, JoinGroup, JoinedGroup, SyncGroup, SyncedGroup,
};
use tidelog_runtime::access::Operation;

use super::errors::member_code;
use crate::call::Call;
use crate::errors::Refusal;

/// The first version whose members learn their ids before they join.
const ID_FIRST_FROM: i16 = 4;
/// The first version whose answers may lack the protocol.
const NO_PROTOCOL_FROM: i16 = 7;
/// The first version whose leaders can be told not to assign.
const SKIP_FROM: i16 = 9;
/// The first version of `SyncGroup` that names the protocol.
const SYNC_PROTOCOL_FROM: i16 = 5;

/// The longest time for joining again that is of use.
const REBALANCE_TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// A text of its own, that does not keep the request in memory.
pub(super) fn owned(text: Option<ByteString>) -> Option<String> {
    text.map(|text| text.to_string())
}

/// A time of a request; none if it is negative, which stands for nothing.
fn millis(millis: i32) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// How long a member may take to join again. Some clients say the longest time that they can, which means no more
/// than any long one.
pub(super) fn rebalance_timeout(said: i32) -> Option<Duration> {
    millis(said).map(|said| said.min(REBALANCE_TIMEOUT_MAX))
}

/// A refusal of a member, and the id that it hears with it.
struct NotJoined {
    code: ErrorCode,
    member_id: String,
}

impl Call {
    pub(crate) async fn join_group(&self, request: JoinGroupRequest) -> JoinGroupResponse {
        match self.join(request).await {
            Ok(joined) => self.joined(joined),
            Err(NotJoined { code, member_id }) => JoinGroupResponse {
                error_code: self.code(code),
                protocol_name: self.joined_protocol(None),
                member_id: member_id.into(),
                ..JoinGroupResponse::default()
            },
        }
    }

    async fn join(&self, request: JoinGroupRequest) -> Result<JoinedGroup, NotJoined> {
        let member_id = request.member_id.to_string();
        let not_joined = |code| NotJoined {
            code,
            member_id: member_id.clone(),
        };
        let join = self.join_request(request).map_err(not_joined)?;
        let joined = self.until_stop(self.front.engine().groups().join(join));
        joined.await.map_err(|error| match error {
            GroupsError::MemberIdRequired(member_id) => NotJoined {
                code: ErrorCode::MemberIdRequired,
                member_id,
            },
            // Of the other protocol, and not empty.
            GroupsError::GroupNotFound => not_joined(ErrorCode::InconsistentGroupProtocol),
            other => not_joined(member_code(&other)),
        })
    }

    /// What is asked of the coordinator. It keeps nothing of the request in memory, since the answer may take
    /// long.
    fn join_request(&self, request: JoinGroupRequest) -> Result<JoinGroup, ErrorCode> {
        let group = self.group(Operation::Read, &request.group_id);
        let group = group.map_err(|refusal| refusal.code)?;
        let session = millis(request.session_timeout_ms);
        let session = session.ok_or(ErrorCode::InvalidSessionTimeout)?;
        let protocols = request.protocols.iter().map(|protocol| GroupProtocol {
            name: protocol.name.to_string(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        });
        Ok(JoinGroup {
            group,
            member_id: request.member_id.to_string(),
            instance: owned(request.group_instance_id),
            client: self.group_client(),
            session,
            rebalance: rebalance_timeout(request.rebalance_timeout_ms).unwrap_or(session),
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols.collect(),
            id_first: self.version >= ID_FIRST_FROM,
            may_skip_assignment: self.version >= SKIP_FROM,
            reason: owned(request.reason),
        })
    }

    fn joined(&self, joined: JoinedGroup) -> JoinGroupResponse {
        let members = joined.members.into_iter();
        let members = members.map(|member| JoinGroupResponseMember {
            member_id: member.member_id.into(),
            group_instance_id: member.instance.map(Into::into),
            metadata: member.metadata,
        });
        JoinGroupResponse {
            generation_id: joined.generation,
            protocol_type: joined.protocol_type.map(Into::into),
            protocol_name: self.joined_protocol(joined.protocol),
            leader: joined.leader.into(),
            skip_assignment: joined.skip_assignment,
            member_id: joined.member_id.into(),
            members: members.collect(),
            ..JoinGroupResponse::default()
        }
    }

    /// The protocol as the version can say it.
    fn joined_protocol(&self, protocol: Option<String>) -> Option<ByteString> {
        match protocol {
            Some(protocol) => Some(protocol.into()),
            None if self.version >= NO_PROTOCOL_FROM => None,
            None => Some(ByteString::new()),
        }
    }

    pub(crate) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        match self.sync(request).await {
            Ok(synced) => SyncGroupResponse {
                protocol_type: synced.protocol_type.map(Into::into),
                protocol_name: synced.protocol.map(Into::into),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            },
            Err(code) => SyncGroupResponse {
                error_code: self.code(code),
                ..SyncGroupResponse::default()
            },
        }
    }

    async fn sync(&self, request: SyncGroupRequest) -> Result<SyncedGroup, ErrorCode> {
        let is_named = request.protocol_type.is_some() && request.protocol_name.is_some();
        if self.version >= SYNC_PROTOCOL_FROM && !is_named {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let group = self.group(Operation::Read, &request.group_id);
        let assignments = request.assignments.iter().map(|assignment| {
            let bytes = Bytes::copy_from_slice(&assignment.assignment);
            (assignment.member_id.to_string(), bytes)
        });
        let sync = SyncGroup {
            group: group.map_err(|refusal| refusal.code)?,
            member_id: request.member_id.to_string(),
            instance: owned(request.group_instance_id),
            generation: request.generation_id,
            protocol_type: owned(request.protocol_type),
            protocol: owned(request.protocol_name),
            assignments: assignments.collect(),
        };
        let synced = self.until_stop(self.front.engine().groups().sync(sync));
        synced.await.map_err(|error| member_code(&error))
    }

    /// Waits for the answer, but not when this broker goes: the member asks another one then, with the id that
    /// it has.
    async fn until_stop<T>(
        &self,
        answer: impl Future<Output = Result<T, GroupsError>>,
    ) -> Result<T, GroupsError> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.front.stop.cancelled() => Err(GroupsError::NotCoordinator),
        }
    }

    pub(crate) async fn heartbeat(&self, request: HeartbeatRequest) -> HeartbeatResponse {
        let code = self.beat(request).await.err().unwrap_or(ErrorCode::None);
        HeartbeatResponse {
            error_code: self.code(code),
            ..HeartbeatResponse::default()
        }
    }

    async fn beat(&self, request: HeartbeatRequest) -> Result<(), ErrorCode> {
        let group = self.group(Operation::Read, &request.group_id);
        let beat = GroupHeartbeat {
            group: group.map_err(|Refusal { code, .. }| code)?,
            member_id: request.member_id.to_string(),
            instance: owned(request.group_instance_id),
            generation: request.generation_id,
        };
        match self.front.engine().groups().heartbeat(beat).await {
            // Who is still there when the coordinator has come back is seen then.
            Ok(()) | Err(GroupsError::Loading) => Ok(()),
            Err(error) => Err(member_code(&error)),
        }
    }
}
