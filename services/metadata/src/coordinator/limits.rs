//! What of a request is checked before a group sees it.

use std::time::Duration;

use tidelog_metadata_api::{
    CommitOffsets, ConsumerHeartbeat, DeleteOffsets, GroupClient, GroupName, GroupsError,
    JoinGroup, MEMBER_ID_BYTES_MAX, MEMBER_TEXT_BYTES_MAX, SyncGroup,
};
use tidelog_types::limits::TOPIC_NAME_BYTES_MAX;

use super::errors::{invalid, too_large};

/// Bytes that a member brings along at most, and the assignment of one: what is stored of a member is read as a
/// whole.
const MEMBER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all assignments of a group at most.
const ASSIGNMENTS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Ways to assign that a member knows at most.
const PROTOCOLS_MAX: usize = 64;
/// Names of topics in a subscription at most.
const TOPICS_MAX: usize = 10_000;
/// Bytes of a pattern at most.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Partitions that offsets are committed or deleted of in a request at most.
const OFFSETS_MAX: usize = 100_000;
/// Bytes of memory of an offset on its way to the store, beside the name of its group and its text: as it was asked
/// for, as a row, and its answer.
const OFFSET_BYTES: usize = 256;
/// The longest time for joining again that is of use.
const REBALANCE_MAX: Duration = Duration::from_hours(24);

fn text(what: &str, text: &str, max: usize) -> Result<(), GroupsError> {
    if text.len() > max {
        return Err(invalid(format!("{what} has more than `{max}` bytes")));
    }
    Ok(())
}

pub(super) fn member_id(id: &str) -> Result<(), GroupsError> {
    text("the member id", id, MEMBER_ID_BYTES_MAX)?;
    if id.chars().any(char::is_control) {
        return Err(invalid("the member id has control characters"));
    }
    Ok(())
}

fn instance(instance: Option<&str>) -> Result<(), GroupsError> {
    match instance {
        Some("") => Err(invalid("the instance id is empty")),
        Some(id) => text("the instance id", id, MEMBER_TEXT_BYTES_MAX),
        None => Ok(()),
    }
}

fn client(client: &GroupClient) -> Result<(), GroupsError> {
    text("the client id", &client.id, MEMBER_TEXT_BYTES_MAX)?;
    text("the client's host", &client.host, MEMBER_TEXT_BYTES_MAX)
}

/// Checks a join; gives how many bytes it brings along.
pub(super) fn join(request: &JoinGroup) -> Result<usize, GroupsError> {
    member_id(&request.member_id)?;
    instance(request.instance.as_deref())?;
    client(&request.client)?;
    text(
        "the protocol type",
        &request.protocol_type,
        MEMBER_TEXT_BYTES_MAX,
    )?;
    if request.rebalance > REBALANCE_MAX {
        return Err(invalid("the rebalance timeout is longer than a day"));
    }
    if request.protocols.len() > PROTOCOLS_MAX {
        return Err(too_large(format!("more than `{PROTOCOLS_MAX}` protocols")));
    }
    let mut bytes = 0;
    for protocol in &request.protocols {
        text("a protocol's name", &protocol.name, MEMBER_TEXT_BYTES_MAX)?;
        bytes += protocol.name.len() + protocol.metadata.len();
    }
    if bytes > MEMBER_BYTES_MAX {
        return Err(too_large(format!(
            "what the member says of itself has more than `{MEMBER_BYTES_MAX}` bytes"
        )));
    }
    Ok(bytes)
}

/// Checks a sync; gives how many bytes it brings along.
pub(super) fn sync(request: &SyncGroup) -> Result<usize, GroupsError> {
    let mut all = 0;
    for (_, assignment) in &request.assignments {
        all += assignment.len();
        if assignment.len() > MEMBER_BYTES_MAX || all > ASSIGNMENTS_BYTES_MAX {
            return Err(too_large("the assignments have too many bytes"));
        }
    }
    Ok(all)
}

/// Checks a heartbeat of the consumer protocol.
pub(super) fn beat(request: &ConsumerHeartbeat) -> Result<usize, GroupsError> {
    member_id(&request.member_id)?;
    instance(request.instance.as_deref())?;
    client(&request.client)?;
    text(
        "the rack",
        request.rack.as_deref().unwrap_or_default(),
        MEMBER_TEXT_BYTES_MAX,
    )?;
    if request.epoch < -2 {
        return Err(invalid("the member's epoch is not one"));
    }
    if request.epoch == -2 && request.instance.is_none() {
        return Err(invalid("only a static member leaves for a while"));
    }
    if request.rebalance.is_some_and(|time| time > REBALANCE_MAX) {
        return Err(invalid("the rebalance timeout is longer than a day"));
    }
    if request.epoch == 0 {
        if request.rebalance.is_none_or(|time| time.is_zero()) {
            return Err(invalid("a member that joins says its rebalance timeout"));
        }
        if request.topics.is_none() && request.pattern.is_none() {
            return Err(invalid("a member that joins says what it wants"));
        }
        if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return Err(invalid("a member that joins has no partitions"));
        }
    }
    let topics = request.topics.as_deref().unwrap_or_default();
    if topics.len() > TOPICS_MAX {
        return Err(too_large(format!("more than `{TOPICS_MAX}` topics")));
    }
    let mut bytes = 0;
    for topic in topics {
        text("a topic's name", topic, TOPIC_NAME_BYTES_MAX)?;
        bytes += topic.len() + 48;
    }
    let pattern = request.pattern.as_deref().unwrap_or_default();
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(GroupsError::InvalidPattern {
            reason: format!("it has more than `{PATTERN_BYTES_MAX}` bytes"),
        });
    }
    let owned = request.owned.as_ref().map_or(0, Vec::len);
    Ok(bytes + pattern.len() + owned * 16)
}

/// Checks a commit of offsets; gives how many bytes it takes until it is stored.
pub(super) fn commit(request: &CommitOffsets) -> Result<usize, GroupsError> {
    let texts = request.offsets.iter();
    let texts: usize = texts.map(|(_, offset)| 2 * offset.metadata.len()).sum();
    Ok(offsets(&request.group, request.offsets.len())? + texts)
}

/// Checks a deletion of offsets; gives how many bytes it takes until it is stored.
pub(super) fn delete_offsets(request: &DeleteOffsets) -> Result<usize, GroupsError> {
    offsets(&request.group, request.partitions.len())
}

fn offsets(group: &GroupName, count: usize) -> Result<usize, GroupsError> {
    if count > OFFSETS_MAX {
        return Err(invalid(format!("more than `{OFFSETS_MAX}` partitions")));
    }
    Ok(count * (group.as_str().len() + OFFSET_BYTES))
}
