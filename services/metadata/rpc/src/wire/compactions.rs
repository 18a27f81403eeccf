//! Compactions: tasks, what extents have become, and how far a partition is.

use tidelog_api::internal::v1;
use tidelog_metadata_api::{
    Compacted, CompactionTask, Extent, MergeId, REPLACED_EXTENTS_MAX, SwapOutcome,
};
use tidelog_types::{BucketId, Offset, SegmentName, Timestamp, TopicId, TopicName};

use super::commit::segment_to;
use super::log::{extent_from, extent_to};
use super::merges::{merge_id_from, merge_id_to};
use super::{WireError, id, id_bytes, partition_from, partition_to};

pub(crate) fn compaction_to(task: &CompactionTask) -> v1::TakeCompactionResponse {
    v1::TakeCompactionResponse {
        id: Some(merge_id_to(task.id)),
        topic_id: id_bytes(task.topic_id.to_bytes()),
        topic_name: task.topic_name.as_str().to_owned(),
        partition_count: task.partition_count,
        partition: Some(partition_to(task.partition)),
        bucket: u32::from(task.bucket.get()),
        start_offset: task.start.get(),
        cleaned_offset: task.cleaned.get(),
        end_offset: task.end.get(),
        tombstones_millis: task.tombstones_millis,
        committed_at: task.committed_at.as_millis(),
        span_millis: task.span_millis,
        now: task.now.as_millis(),
    }
}

pub(crate) fn compaction_from(
    task: &v1::TakeCompactionResponse,
) -> Result<CompactionTask, WireError> {
    let topic_name = TopicName::new(&task.topic_name);
    let bucket = u16::try_from(task.bucket).map_err(|_| WireError::Range {
        field: "bucket",
        value: u64::from(task.bucket),
    })?;
    Ok(CompactionTask {
        id: merge_id_from(task.id)?,
        topic_id: TopicId::from_bytes(id("topic_id", &task.topic_id)?),
        topic_name: topic_name.map_err(|error| WireError::damaged("topic_name", &error))?,
        partition_count: task.partition_count,
        partition: partition_from(task.partition)?,
        bucket: BucketId::new(bucket),
        start: Offset::new(task.start_offset),
        cleaned: Offset::new(task.cleaned_offset),
        end: Offset::new(task.end_offset),
        tombstones_millis: task.tombstones_millis,
        committed_at: Timestamp::from_millis(task.committed_at),
        span_millis: task.span_millis,
        now: Timestamp::from_millis(task.now),
    })
}

pub(crate) fn replaced_to(
    id: MergeId,
    segment: SegmentName,
    old: &[Extent],
    new: &[Extent],
) -> v1::ReplaceExtentsRequest {
    v1::ReplaceExtentsRequest {
        id: Some(merge_id_to(id)),
        segment: Some(segment_to(segment)),
        old: old.iter().map(extent_to).collect(),
        new: new.iter().map(extent_to).collect(),
    }
}

/// Old and new extents.
pub(crate) fn replaced_from(
    old: &[v1::Extent],
    new: &[v1::Extent],
) -> Result<(Vec<Extent>, Vec<Extent>), WireError> {
    if old.len().saturating_add(new.len()) > REPLACED_EXTENTS_MAX {
        return Err(WireError::TooLong {
            field: "extents",
            max: REPLACED_EXTENTS_MAX,
        });
    }
    let all = |extents: &[v1::Extent]| -> Result<Vec<Extent>, WireError> {
        extents.iter().map(extent_from).collect()
    };
    Ok((all(old)?, all(new)?))
}

pub(crate) const fn swap_outcome_to(outcome: SwapOutcome) -> v1::SwapOutcome {
    match outcome {
        SwapOutcome::Swapped => v1::SwapOutcome::Swapped,
        SwapOutcome::Changed => v1::SwapOutcome::Changed,
    }
}

pub(crate) const fn swap_outcome_from(outcome: v1::SwapOutcome) -> Result<SwapOutcome, WireError> {
    match outcome {
        v1::SwapOutcome::Swapped => Ok(SwapOutcome::Swapped),
        v1::SwapOutcome::Changed => Ok(SwapOutcome::Changed),
        v1::SwapOutcome::Unspecified => Err(WireError::Missing("outcome")),
    }
}

pub(crate) fn compacted_to(
    id: MergeId,
    compacted: &Compacted,
    is_last: bool,
) -> v1::NoteCompactedRequest {
    v1::NoteCompactedRequest {
        id: Some(merge_id_to(id)),
        cleaned_offset: compacted.cleaned.get(),
        bytes: compacted.bytes,
        tombstones_until: compacted.tombstones_until.map(Timestamp::as_millis),
        is_last,
        unread_offset: compacted.unread.map(Offset::get),
    }
}

pub(crate) fn compacted_from(request: &v1::NoteCompactedRequest) -> Compacted {
    Compacted {
        cleaned: Offset::new(request.cleaned_offset),
        bytes: request.bytes,
        tombstones_until: request.tombstones_until.map(Timestamp::from_millis),
        unread: request.unread_offset.map(Offset::new),
    }
}
