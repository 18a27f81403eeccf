//! Groups of consumers: what members hear, and what outlives the owner of their shard.

mod classic;
mod consumer;
mod durable;
mod expiry;
mod large;
mod moves;
mod offsets;
mod random;
mod show;
mod transaction_traces;
pub(super) mod transactions;

use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata_api::{
    CommitOffsets, CommittingMember, ConsumerHeartbeat, ConsumerHeartbeatAnswer, FetchOffsets,
    GroupClient, GroupHeartbeat, GroupName, GroupOffset, GroupProtocol, Groups, GroupsError,
    JoinGroup, JoinedGroup, LeaveGroup, LeavingMember, SyncGroup, SyncedGroup,
};
use tidelog_types::{Offset, TopicPartition};

pub(super) const SESSION: Duration = Duration::from_secs(10);
pub(super) const REBALANCE: Duration = Duration::from_mins(1);

pub(super) fn name(text: &str) -> GroupName {
    GroupName::new(text).expect("a good name")
}

pub(super) fn client() -> GroupClient {
    GroupClient {
        id: "client".to_owned(),
        host: "/127.0.0.1".to_owned(),
    }
}

/// A member that has no id yet and is given one when it has joined.
pub(super) fn newcomer(group: &str) -> JoinGroup {
    JoinGroup {
        group: name(group),
        member_id: String::new(),
        instance: None,
        client: client(),
        session: SESSION,
        rebalance: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![GroupProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"me"),
        }],
        id_first: false,
        may_skip_assignment: true,
        reason: Some("a test".to_owned()),
    }
}

pub(super) fn known(group: &str, member_id: &str) -> JoinGroup {
    JoinGroup {
        member_id: member_id.to_owned(),
        ..newcomer(group)
    }
}

/// What each member has to do, as the leader says.
pub(super) fn assignment(member_id: &str) -> Bytes {
    Bytes::from(format!("work of {member_id}"))
}

pub(super) fn sync_of(group: &str, joined: &JoinedGroup) -> SyncGroup {
    let members = joined.members.iter();
    SyncGroup {
        group: name(group),
        member_id: joined.member_id.clone(),
        instance: None,
        generation: joined.generation,
        protocol_type: joined.protocol_type.clone(),
        protocol: joined.protocol.clone(),
        assignments: members
            .map(|member| (member.member_id.clone(), assignment(&member.member_id)))
            .collect(),
    }
}

pub(super) async fn sync(
    groups: &impl Groups,
    group: &str,
    joined: &JoinedGroup,
) -> Result<SyncedGroup, GroupsError> {
    groups.sync(sync_of(group, joined)).await
}

/// A group of one member, which has its assignment.
pub(super) async fn alone(groups: &impl Groups, group: &str) -> JoinedGroup {
    let joined = groups.join(newcomer(group)).await.expect("it is alone");
    let synced = sync(groups, group, &joined).await.expect("it leads");
    assert_eq!(synced.assignment, assignment(&joined.member_id));
    joined
}

pub(super) async fn heartbeat(
    groups: &impl Groups,
    group: &str,
    joined: &JoinedGroup,
) -> Result<(), GroupsError> {
    let request = GroupHeartbeat {
        group: name(group),
        member_id: joined.member_id.clone(),
        instance: None,
        generation: joined.generation,
    };
    groups.heartbeat(request).await
}

pub(super) async fn leave(
    groups: &impl Groups,
    group: &str,
    member_id: &str,
) -> Result<(), GroupsError> {
    let request = LeaveGroup {
        group: name(group),
        members: vec![LeavingMember {
            member_id: member_id.to_owned(),
            instance: None,
            reason: None,
        }],
    };
    let outcomes = groups.leave(request).await?;
    outcomes.into_iter().next().expect("one for one")
}

pub(super) fn offset(offset: u64) -> GroupOffset {
    GroupOffset {
        offset: Offset::new(offset),
        leader_epoch: Some(0),
        metadata: format!("at {offset}"),
    }
}

pub(super) fn member(joined: &JoinedGroup) -> CommittingMember {
    CommittingMember {
        member_id: joined.member_id.clone(),
        instance: None,
        epoch: joined.generation,
    }
}

/// Commits one offset.
pub(super) async fn commit(
    groups: &impl Groups,
    group: &str,
    member: CommittingMember,
    partition: TopicPartition,
    at: u64,
) -> Result<(), GroupsError> {
    let request = CommitOffsets {
        group: name(group),
        member,
        offsets: vec![(partition, offset(at))],
        transaction: None,
    };
    let outcomes = groups.commit_offsets(request).await?;
    outcomes.into_iter().next().expect("one for one")
}

/// The committed offset of one partition.
pub(super) async fn fetch(
    groups: &impl Groups,
    group: &str,
    partition: TopicPartition,
) -> Result<Option<u64>, GroupsError> {
    let request = FetchOffsets {
        group: name(group),
        member: None,
        partitions: Some(vec![partition]),
        only_stable: false,
    };
    let mut answers = groups.fetch_offsets(vec![request]).await;
    let answer = answers.pop().expect("one for one")?;
    let [(at, found)] = &answer[..] else {
        panic!("one partition, not {answer:?}");
    };
    assert_eq!(*at, partition);
    let found = found.clone()?;
    Ok(found.map(|found| found.offset.offset.get()))
}

/// A member of the consumer protocol that joins.
pub(super) fn joins(group: &str, member_id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: name(group),
        member_id: member_id.to_owned(),
        epoch: 0,
        instance: None,
        rack: None,
        client: client(),
        rebalance: Some(REBALANCE),
        topics: Some(vec!["log".to_owned()]),
        pattern: None,
        assignor: None,
        owned: Some(Vec::new()),
    }
}

/// The same member later, with what it has.
pub(super) fn lives(
    group: &str,
    heard: &ConsumerHeartbeatAnswer,
    owned: &[TopicPartition],
) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        epoch: heard.epoch,
        rebalance: None,
        topics: None,
        owned: Some(owned.to_vec()),
        ..joins(group, &heard.member_id)
    }
}
