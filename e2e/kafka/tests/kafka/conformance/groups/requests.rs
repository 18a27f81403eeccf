//! Requests of groups, filled in.

use tidelog_kafka_codec::Uuid;
use tidelog_kafka_codec::messages::join_group_request::JoinGroupRequestProtocol;
use tidelog_kafka_codec::messages::leave_group_request::MemberIdentity;
use tidelog_kafka_codec::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidelog_kafka_codec::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use tidelog_kafka_codec::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use tidelog_kafka_codec::messages::*;

/// What a member that reads `t` says of itself in the classic protocol.
const SUBSCRIPTION: &[u8] = b"\x00\x01\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff\x00\x00\x00\x00";

pub(super) fn join(group: &str, member: &str, version: i16) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version >= 1 { 10_000 } else { -1 },
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: SUBSCRIPTION.into(),
        }],
        ..Default::default()
    }
}

pub(super) fn sync(group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    }
}

pub(super) fn beat(group: &str, member: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        ..Default::default()
    }
}

/// Members by their ids and instance ids.
pub(super) fn leave(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    });
    LeaveGroupRequest {
        group_id: group.into(),
        members: members.collect(),
        ..Default::default()
    }
}

/// Who asks: the group, the member, and its generation or epoch.
pub(super) type By<'a> = (&'a str, &'a str, i32);
/// A topic by its name and its id: versions take what they know.
pub(super) type Topic<'a> = (&'a str, Uuid);

pub(super) fn commit(
    (group, member, epoch): By<'_>,
    (name, id): Topic<'_>,
    offsets: &[(i32, i64)],
    version: i16,
) -> OffsetCommitRequest {
    let partitions = offsets
        .iter()
        .map(|(index, offset)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_metadata: Some("note".into()),
            ..Default::default()
        });
    OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.into(),
        generation_id_or_member_epoch: epoch,
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 { name.into() } else { "".into() },
            topic_id: if version < 10 { Uuid::nil() } else { id },
            partitions: partitions.collect(),
        }],
        ..Default::default()
    }
}

/// Offsets of partitions of a topic, or all of the group. A member is named from version 9 on, if it has an id.
pub(super) fn fetch(
    (group, member, epoch): By<'_>,
    wanted: Option<(Topic<'_>, &[i32])>,
    version: i16,
) -> OffsetFetchRequest {
    if version < 8 {
        let topics = wanted.map(|((name, _), indexes)| {
            vec![OffsetFetchRequestTopic {
                name: name.into(),
                partition_indexes: indexes.to_vec(),
            }]
        });
        return OffsetFetchRequest {
            group_id: group.into(),
            topics,
            ..Default::default()
        };
    }
    let topics = wanted.map(|((name, id), indexes)| {
        vec![OffsetFetchRequestTopics {
            name: if version < 10 { name.into() } else { "".into() },
            topic_id: if version < 10 { Uuid::nil() } else { id },
            partition_indexes: indexes.to_vec(),
        }]
    });
    let is_named = version >= 9 && !member.is_empty();
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            member_id: is_named.then(|| member.into()),
            member_epoch: if is_named { epoch } else { -1 },
            topics,
        }],
        ..Default::default()
    }
}

pub(super) fn delete_offsets(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let topics = topics.iter().map(|(name, indexes)| {
        let partitions = indexes.iter().map(|index| OffsetDeleteRequestPartition {
            partition_index: *index,
        });
        OffsetDeleteRequestTopic {
            name: (*name).into(),
            partitions: partitions.collect(),
        }
    });
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: topics.collect(),
    }
}

pub(super) fn describe(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: vec![group.into()],
        ..Default::default()
    }
}

pub(super) fn describe_consumer(group: &str) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest {
        group_ids: vec![group.into()],
        ..Default::default()
    }
}

pub(super) fn delete(group: &str) -> DeleteGroupsRequest {
    DeleteGroupsRequest {
        groups_names: vec![group.into()],
    }
}

/// A heartbeat of the consumer protocol.
pub(super) fn consumer((group, member, epoch): By<'_>) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The heartbeat of one that joins.
pub(super) fn consumer_joins(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..consumer((group, member, 0))
    }
}
