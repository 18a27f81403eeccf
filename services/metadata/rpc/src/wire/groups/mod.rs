//! Requests to coordinators of groups, and their answers.

mod answer;
mod ask;
mod failure;
mod offsets;
mod show;

use std::time::Duration;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{GroupClient, GroupName, LeavingMember};
use tidelog_types::TopicPartition;

use super::{WireError, partition_from, partition_to};

pub(crate) use answer::{
    beaten_from, beaten_to, joined_from, joined_to, outcomes_from, outcomes_to, synced_from,
    synced_to,
};
pub(crate) use ask::{
    beat_from, beat_to, heartbeat_from, heartbeat_to, join_from, join_to, leave_from, leave_to,
    sync_from, sync_to,
};
pub(crate) use failure::{group_failure_from, group_failure_to};
pub(crate) use offsets::{
    commit_offsets_from, commit_offsets_to, delete_offsets_from, delete_offsets_to,
    end_transaction_from, end_transaction_to, fetch_from, fetch_to, fetched_from, fetched_to,
};
pub(crate) use show::{
    description_from, description_to, filter_from, group_page_from, group_page_to, list_to,
};

pub(crate) fn name_from(text: &str) -> Result<GroupName, WireError> {
    GroupName::new(text).map_err(|error| WireError::damaged("group", &error))
}

pub(crate) fn name_to(name: &GroupName) -> String {
    name.as_str().to_owned()
}

fn client_from(client: Option<v1::GroupClient>) -> GroupClient {
    let client = client.unwrap_or_default();
    GroupClient {
        id: client.id,
        host: client.host,
    }
}

fn client_to(client: GroupClient) -> v1::GroupClient {
    v1::GroupClient {
        id: client.id,
        host: client.host,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn partitions_from(partitions: Vec<v1::Partition>) -> Result<Vec<TopicPartition>, WireError> {
    let partitions = partitions.into_iter();
    partitions.map(|one| partition_from(Some(one))).collect()
}

fn partitions_to(partitions: &[TopicPartition]) -> Vec<v1::Partition> {
    partitions.iter().map(|one| partition_to(*one)).collect()
}

fn leaving_from(member: v1::LeavingMember) -> LeavingMember {
    LeavingMember {
        member_id: member.member_id,
        instance: member.instance,
        reason: member.reason,
    }
}

fn leaving_to(member: LeavingMember) -> v1::LeavingMember {
    v1::LeavingMember {
        member_id: member.member_id,
        instance: member.instance,
        reason: member.reason,
    }
}
