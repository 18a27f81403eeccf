//! Groups: from Kafka's requests to those of the coordinators, and back.
//!
//! Every broker takes every request and hands it to the group's coordinator, wherever that is. So the broker
//! that a client was sent to is as good as any other, and goes on being so when the coordinator moves.

mod classic;
mod commit;
mod consumer;
mod coordinator;
mod delete_offsets;
mod describe;
mod describe_consumer;
mod errors;
mod fetch;
mod leave;
mod list;
mod topics;
mod transactional;

use tidelog_kafka_codec::ErrorCode;
use tidelog_metadata_api::{GroupClient, GroupName, MEMBER_TEXT_BYTES_MAX};
use tidelog_runtime::access::{Operation, Resource};

pub(crate) use topics::Topics;

use crate::call::Call;
use crate::errors::Refusal;

impl Call {
    /// The name of a group, if the caller may.
    pub(crate) fn group(&self, operation: Operation, name: &str) -> Result<GroupName, Refusal> {
        self.may(operation, Resource::Group(name))?;
        GroupName::new(name)
            .map_err(|error| Refusal::new(ErrorCode::InvalidGroupId, error.to_string()))
    }

    /// Who asks, as members of groups are told of each other.
    fn group_client(&self) -> GroupClient {
        let id = &self.caller.client_id;
        GroupClient {
            id: id[..id.floor_char_boundary(MEMBER_TEXT_BYTES_MAX)].to_owned(),
            host: format!("/{}", self.peer.ip()),
        }
    }
}
