//! Merges: tasks in parts, what runs have become, and errors.

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    DESCRIBED_SLICES_MAX, IndexedSlice, MergeError, MergeId, MergeRun, MergeTask, MergedRun,
    SWAP_RUNS_MAX, SwapOutcome,
};
use tidelog_types::limits::MERGED_SLICES_MAX;
use tidelog_types::{BucketId, Offset, OffsetRange, ShardId, Timestamp, TopicId, TopicName};

use super::commit::{segment_from, segment_to};
use super::compactions::{swap_outcome_from, swap_outcome_to};
use super::failure::shortened;
use super::log::{extent_from, extent_to};
use super::{WireError, id, id_bytes, partition_from, partition_to};
use crate::settings::{MERGE_EXTENTS_MAX, MERGE_PART_EXTENTS, MERGE_SPARSE_MAX};

pub(crate) const fn merge_id_to(id: MergeId) -> v1::MergeId {
    v1::MergeId {
        shard: id.shard.get(),
        epoch: id.epoch,
        number: id.number,
    }
}

pub(crate) fn merge_id_from(id: Option<v1::MergeId>) -> Result<MergeId, WireError> {
    let id = id.ok_or(WireError::Missing("id"))?;
    Ok(MergeId {
        shard: ShardId::new(id.shard),
        epoch: id.epoch,
        number: id.number,
    })
}

/// A task in parts, each of which fits into a message.
pub(crate) fn merge_task_to(task: &MergeTask) -> Vec<v1::TakeMergeResponse> {
    let mut parts = vec![v1::TakeMergeResponse {
        head: Some(v1::MergeHead {
            id: Some(merge_id_to(task.id)),
            bucket: u32::from(task.bucket.get()),
            bytes: task.bytes,
            committed_at: task.committed_at.as_millis(),
            sparse: task.sparse.iter().copied().map(segment_to).collect(),
        }),
        ..v1::TakeMergeResponse::default()
    }];
    let mut room = MERGE_PART_EXTENTS;
    for run in &task.runs {
        let mut rest = run.extents.as_slice();
        loop {
            if room == 0 {
                parts.push(v1::TakeMergeResponse::default());
                room = MERGE_PART_EXTENTS;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            // A run takes room even if it has no extents.
            room = room.saturating_sub(now.len().max(1));
            if let Some(part) = parts.last_mut() {
                part.runs.push(v1::MergeRun {
                    topic_id: id_bytes(run.topic_id.to_bytes()),
                    topic_name: run.topic_name.as_str().to_owned(),
                    partition_count: run.partition_count,
                    partition: Some(partition_to(run.partition)),
                    extents: now.iter().map(extent_to).collect(),
                });
            }
            if later.is_empty() {
                break;
            }
            rest = later;
        }
    }
    if let Some(last) = parts.last_mut() {
        last.is_last = true;
    }
    parts
}

/// A task that comes in parts.
#[derive(Debug, Default)]
pub(crate) struct MergeParts {
    task: Option<MergeTask>,
    extents: usize,
}

impl MergeParts {
    /// Takes a part; answers the task with the last one.
    pub(crate) fn push(
        &mut self,
        part: v1::TakeMergeResponse,
    ) -> Result<Option<MergeTask>, WireError> {
        if self.task.is_none() {
            let head = part.head.ok_or(WireError::Missing("head"))?;
            within("sparse", head.sparse.len(), MERGE_SPARSE_MAX)?;
            let bucket = u16::try_from(head.bucket).map_err(|_| WireError::Range {
                field: "bucket",
                value: u64::from(head.bucket),
            })?;
            self.task = Some(MergeTask {
                id: merge_id_from(head.id)?,
                bucket: BucketId::new(bucket),
                bytes: head.bytes,
                committed_at: Timestamp::from_millis(head.committed_at),
                runs: Vec::new(),
                sparse: head.sparse.into_iter().map(segment_from).collect(),
            });
        }
        let Some(task) = &mut self.task else {
            return Ok(None);
        };
        for run in part.runs {
            self.extents += run.extents.len();
            within("extents", self.extents, MERGE_EXTENTS_MAX)?;
            let run = run_from(&run)?;
            match task.runs.last_mut() {
                Some(last) if last.partition == run.partition => last.extents.extend(run.extents),
                _ => task.runs.push(run),
            }
            within("runs", task.runs.len(), MERGED_SLICES_MAX as usize)?;
        }
        Ok(if part.is_last { self.task.take() } else { None })
    }
}

const fn within(field: &'static str, count: usize, max: usize) -> Result<(), WireError> {
    if count > max {
        return Err(WireError::TooLong { field, max });
    }
    Ok(())
}

fn run_from(run: &v1::MergeRun) -> Result<MergeRun, WireError> {
    let topic_name = TopicName::new(&run.topic_name);
    let extents = run.extents.iter().map(extent_from);
    Ok(MergeRun {
        topic_id: TopicId::from_bytes(id("topic_id", &run.topic_id)?),
        topic_name: topic_name.map_err(|error| WireError::damaged("topic_name", &error))?,
        partition_count: run.partition_count,
        partition: partition_from(run.partition)?,
        extents: extents.collect::<Result<_, _>>()?,
    })
}

pub(crate) fn merged_to(run: &MergedRun) -> v1::MergedRun {
    v1::MergedRun {
        partition: Some(partition_to(run.partition)),
        extents: run.extents.iter().map(extent_to).collect(),
    }
}

pub(crate) fn merged_from(runs: Vec<v1::MergedRun>) -> Result<Vec<MergedRun>, WireError> {
    within("runs", runs.len(), SWAP_RUNS_MAX)?;
    let runs = runs.into_iter().map(|run| {
        let extents = run.extents.iter().map(extent_from);
        Ok(MergedRun {
            partition: partition_from(run.partition)?,
            extents: extents.collect::<Result<_, _>>()?,
        })
    });
    runs.collect()
}

pub(crate) fn slice_to(slice: &IndexedSlice) -> v1::IndexedSlice {
    v1::IndexedSlice {
        partition: Some(partition_to(slice.partition)),
        base_offset: slice.offsets.base.get(),
        next_offset: slice.offsets.next.get(),
    }
}

pub(crate) fn slices_from(slices: Vec<v1::IndexedSlice>) -> Result<Vec<IndexedSlice>, WireError> {
    within("slices", slices.len(), DESCRIBED_SLICES_MAX)?;
    let slices = slices.into_iter().map(|slice| {
        Ok(IndexedSlice {
            partition: partition_from(slice.partition)?,
            offsets: OffsetRange {
                base: Offset::new(slice.base_offset),
                next: Offset::new(slice.next_offset),
            },
        })
    });
    slices.collect()
}

pub(crate) fn swapped_to(outcomes: &[SwapOutcome]) -> v1::SwapMergeResponse {
    let outcomes = outcomes.iter();
    let outcomes = outcomes.map(|outcome| swap_outcome_to(*outcome).into());
    v1::SwapMergeResponse {
        outcomes: outcomes.collect(),
    }
}

pub(crate) fn swapped_from(
    response: &v1::SwapMergeResponse,
    asked: usize,
) -> Result<Vec<SwapOutcome>, WireError> {
    if response.outcomes.len() != asked {
        return Err(WireError::Range {
            field: "outcomes",
            value: response.outcomes.len() as u64,
        });
    }
    response.outcomes().map(swap_outcome_from).collect()
}

pub(crate) fn merge_failure_to(error: &MergeError) -> v1::MergeFailure {
    use v1::MergeFailureReason as Reason;
    let told = |reason: Reason, detail: &str| v1::MergeFailure {
        reason: reason.into(),
        detail: shortened(detail.to_owned()),
        ..v1::MergeFailure::default()
    };
    match error {
        MergeError::Gone => told(Reason::Gone, ""),
        MergeError::BelowFloor(segment) => v1::MergeFailure {
            segment: Some(segment_to(*segment)),
            ..told(Reason::BelowFloor, "")
        },
        MergeError::Malformed { reason } => told(Reason::Malformed, reason),
        MergeError::Unavailable { reason } => told(Reason::Unavailable, reason),
    }
}

pub(crate) fn merge_failure_from(failure: v1::MergeFailure) -> MergeError {
    use v1::MergeFailureReason as Reason;
    match failure.reason() {
        Reason::Gone => MergeError::Gone,
        Reason::BelowFloor => {
            MergeError::BelowFloor(segment_from(failure.segment.unwrap_or_default()))
        }
        Reason::Malformed => MergeError::Malformed {
            reason: failure.detail,
        },
        Reason::Unspecified | Reason::Unavailable => MergeError::Unavailable {
            reason: failure.detail,
        },
    }
}
