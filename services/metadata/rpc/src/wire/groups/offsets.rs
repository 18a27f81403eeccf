//! Committed offsets.

use std::collections::HashMap;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    CommitOffsets, CommittedOffset, CommittingMember, DeleteOffsets, FetchOffsets, GroupOffset,
};
use tidelog_types::{Timestamp, TopicPartition};

use super::{WireError, name_from, name_to, partitions_from, partitions_to};
use crate::wire::{offset, partition_from, partition_to};

/// What an answer to a fetch says of each partition.
type Fetched = Vec<(TopicPartition, Option<CommittedOffset>)>;

fn offset_to(partition: TopicPartition, offset: GroupOffset, at: Timestamp) -> v1::GroupOffset {
    v1::GroupOffset {
        partition: Some(partition_to(partition)),
        offset: offset.offset.get(),
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
        committed_at: at.as_millis(),
    }
}

fn offset_from(raw: v1::GroupOffset) -> Result<(TopicPartition, CommittedOffset), WireError> {
    let committed = CommittedOffset {
        offset: GroupOffset {
            offset: offset("offset", raw.offset)?,
            leader_epoch: raw.leader_epoch,
            metadata: raw.metadata,
        },
        committed_at: Timestamp::from_millis(raw.committed_at),
    };
    Ok((partition_from(raw.partition)?, committed))
}

pub(crate) fn commit_offsets_to(request: CommitOffsets) -> v1::CommitOffsets {
    let offsets = request.offsets.into_iter();
    let offsets = offsets.map(|(at, offset)| offset_to(at, offset, Timestamp::default()));
    v1::CommitOffsets {
        group: name_to(&request.group),
        member_id: request.member.member_id,
        instance: request.member.instance,
        epoch: request.member.epoch,
        offsets: offsets.collect(),
    }
}

pub(crate) fn commit_offsets_from(request: v1::CommitOffsets) -> Result<CommitOffsets, WireError> {
    let offsets = request.offsets.into_iter().map(|raw| {
        let (at, committed) = offset_from(raw)?;
        Ok((at, committed.offset))
    });
    Ok(CommitOffsets {
        group: name_from(&request.group)?,
        member: CommittingMember {
            member_id: request.member_id,
            instance: request.instance,
            epoch: request.epoch,
        },
        offsets: offsets.collect::<Result<_, _>>()?,
        transaction: None,
    })
}

pub(crate) fn fetch_to(request: &FetchOffsets) -> v1::FetchOffsets {
    let (member_id, epoch) = match &request.member {
        Some((id, epoch)) => (Some(id.clone()), *epoch),
        None => (None, 0),
    };
    let partitions = request.partitions.as_ref();
    v1::FetchOffsets {
        group: name_to(&request.group),
        member_id,
        epoch,
        partitions: partitions.map(|partitions| v1::Partitions {
            partitions: partitions_to(partitions),
        }),
    }
}

pub(crate) fn fetch_from(request: v1::FetchOffsets) -> Result<FetchOffsets, WireError> {
    let partitions = request.partitions;
    let partitions = partitions.map(|partitions| partitions_from(partitions.partitions));
    Ok(FetchOffsets {
        group: name_from(&request.group)?,
        member: request.member_id.map(|id| (id, request.epoch)),
        partitions: partitions.transpose()?,
        only_stable: false,
    })
}

pub(crate) fn fetched_to(fetched: Fetched) -> v1::FetchedOffsets {
    let offsets = fetched.into_iter().filter_map(|(at, found)| {
        let found = found?;
        Some(offset_to(at, found.offset, found.committed_at))
    });
    v1::FetchedOffsets {
        offsets: offsets.collect(),
    }
}

/// What was fetched, for each of the partitions that were asked for if not all were.
pub(crate) fn fetched_from(
    fetched: v1::FetchedOffsets,
    asked: Option<&[TopicPartition]>,
) -> Result<Fetched, WireError> {
    let offsets = fetched.offsets.into_iter().map(offset_from);
    let Some(asked) = asked else {
        let offsets = offsets.map(|found| found.map(|(at, found)| (at, Some(found))));
        return offsets.collect();
    };
    let found: HashMap<TopicPartition, CommittedOffset> = offsets.collect::<Result<_, _>>()?;
    let each = asked.iter().map(|at| (*at, found.get(at).cloned()));
    Ok(each.collect())
}

pub(crate) fn delete_offsets_to(request: &DeleteOffsets) -> v1::DeleteOffsets {
    v1::DeleteOffsets {
        group: name_to(&request.group),
        partitions: partitions_to(&request.partitions),
    }
}

pub(crate) fn delete_offsets_from(request: v1::DeleteOffsets) -> Result<DeleteOffsets, WireError> {
    Ok(DeleteOffsets {
        group: name_from(&request.group)?,
        partitions: partitions_from(request.partitions)?,
    })
}
