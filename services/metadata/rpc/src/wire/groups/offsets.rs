//! Committed offsets.

use std::collections::HashMap;

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    CommitOffsets, CommittedOffset, CommittingMember, Decision, DeleteOffsets, EndGroupTransaction,
    FetchOffsets, FetchedOffset, GroupOffset, GroupsError, OpenTransaction, ProducerIdentity,
    TransactionNumber,
};
use tidelog_types::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use super::{WireError, name_from, name_to, partitions_from, partitions_to};
use crate::wire::{offset, partition_from, partition_to};

/// What an answer to a fetch says of each partition.
type Fetched = Vec<(TopicPartition, FetchedOffset)>;

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
        transaction: request.transaction.as_ref().map(transaction_to),
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
        transaction: request
            .transaction
            .as_ref()
            .map(transaction_from)
            .transpose()?,
    })
}

fn transaction_to(transaction: &OpenTransaction) -> v1::GroupTransaction {
    v1::GroupTransaction {
        producer_id: transaction.producer.id.get(),
        producer_epoch: transaction.producer.epoch.get().into(),
        number: transaction.number.0,
    }
}

fn transaction_from(raw: &v1::GroupTransaction) -> Result<OpenTransaction, WireError> {
    let epoch = i16::try_from(raw.producer_epoch).map_err(|_| WireError::Range {
        field: "producer epoch",
        value: u64::from(raw.producer_epoch.cast_unsigned()),
    })?;
    Ok(OpenTransaction {
        producer: ProducerIdentity {
            id: ProducerId::new(raw.producer_id),
            epoch: ProducerEpoch::new(epoch),
        },
        number: TransactionNumber(raw.number),
    })
}

pub(crate) fn end_transaction_to(end: &EndGroupTransaction) -> v1::EndGroupTransaction {
    let transaction = OpenTransaction {
        producer: end.producer,
        number: end.number,
    };
    v1::EndGroupTransaction {
        group: name_to(&end.group),
        transaction: Some(transaction_to(&transaction)),
        has_committed: end.decision == Decision::Commit,
    }
}

pub(crate) fn end_transaction_from(
    raw: &v1::EndGroupTransaction,
) -> Result<EndGroupTransaction, WireError> {
    let transaction = raw
        .transaction
        .as_ref()
        .ok_or(WireError::Missing("transaction"))?;
    let OpenTransaction { producer, number } = transaction_from(transaction)?;
    Ok(EndGroupTransaction {
        group: name_from(&raw.group)?,
        producer,
        number,
        decision: if raw.has_committed {
            Decision::Commit
        } else {
            Decision::Abort
        },
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
        only_stable: request.only_stable,
    }
}

pub(crate) fn fetch_from(request: v1::FetchOffsets) -> Result<FetchOffsets, WireError> {
    let partitions = request.partitions;
    let partitions = partitions.map(|partitions| partitions_from(partitions.partitions));
    Ok(FetchOffsets {
        group: name_from(&request.group)?,
        member: request.member_id.map(|id| (id, request.epoch)),
        partitions: partitions.transpose()?,
        only_stable: request.only_stable,
    })
}

pub(crate) fn fetched_to(fetched: Fetched) -> v1::FetchedOffsets {
    let mut told = v1::FetchedOffsets::default();
    for (at, found) in fetched {
        match found {
            Ok(Some(found)) => told
                .offsets
                .push(offset_to(at, found.offset, found.committed_at)),
            Ok(None) => {}
            // The only error that a partition has.
            Err(_) => told.unstable.push(partition_to(at)),
        }
    }
    told
}

/// What was fetched, for each of the partitions that were asked for if not all were.
pub(crate) fn fetched_from(
    fetched: v1::FetchedOffsets,
    asked: Option<&[TopicPartition]>,
) -> Result<Fetched, WireError> {
    let unstable = partitions_from(fetched.unstable)?.into_iter();
    let unstable = unstable.map(|at| (at, Err(GroupsError::UnstableOffset)));
    let offsets = fetched.offsets.into_iter().map(offset_from);
    let offsets = offsets.map(|found| found.map(|(at, found)| (at, Ok(Some(found)))));
    let mut found = offsets.collect::<Result<Fetched, _>>()?;
    found.extend(unstable);
    let Some(asked) = asked else {
        found.sort_by_key(|(at, _)| *at);
        return Ok(found);
    };
    let found: HashMap<TopicPartition, FetchedOffset> = found.into_iter().collect();
    let of = |at: &TopicPartition| found.get(at).cloned().unwrap_or(Ok(None));
    Ok(asked.iter().map(|at| (*at, of(at))).collect())
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
