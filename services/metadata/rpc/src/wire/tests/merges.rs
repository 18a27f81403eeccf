//! Merges.

use proptest::collection::vec;
use proptest::prelude::*;
use tidelog_api::internal::v1;
use tidelog_metadata_api::*;
use tidelog_types::limits::MERGED_SLICES_MAX;
use tidelog_types::*;

use super::any::*;
use super::sent;
use crate::settings::{MERGE_EXTENTS_MAX, MERGE_PART_EXTENTS, MERGE_SPARSE_MAX};
use crate::wire::*;

fn an_id() -> impl Strategy<Value = MergeId> {
    (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(shard, epoch, number)| MergeId {
        shard: ShardId::new(shard),
        epoch,
        number,
    })
}

fn a_run() -> impl Strategy<Value = MergeRun> {
    let topic = (any::<[u8; 16]>(), a_name(), any::<u32>());
    (topic, a_partition(), vec(an_extent(), 0..5)).prop_map(
        |((topic_id, topic_name, partition_count), partition, extents)| MergeRun {
            topic_id: TopicId::from_bytes(topic_id),
            topic_name,
            partition_count,
            partition,
            extents,
        },
    )
}

fn a_task() -> impl Strategy<Value = MergeTask> {
    let head = (an_id(), any::<u16>(), any::<u64>(), a_time());
    let both = (vec(a_run(), 0..6), vec(a_segment(), 0..4));
    (head, both).prop_map(|((id, bucket, bytes, committed_at), (mut runs, sparse))| {
        runs.dedup_by_key(|run| run.partition);
        MergeTask {
            id,
            bucket: BucketId::new(bucket),
            bytes,
            committed_at,
            runs,
            sparse,
        }
    })
}

fn gathered(parts: Vec<v1::TakeMergeResponse>) -> Result<Option<MergeTask>, WireError> {
    let mut gathering = MergeParts::default();
    let mut task = None;
    for part in parts {
        assert_eq!(task, None, "the last part comes last");
        task = gathering.push(sent(&part))?;
    }
    Ok(task)
}

proptest! {
    #[test]
    fn tasks_come_back(task in a_task()) {
        prop_assert_eq!(gathered(merge_task_to(&task)), Ok(Some(task)));
    }

    #[test]
    fn merged_runs_and_outcomes_come_back(
        runs in vec((a_partition(), vec(an_extent(), 0..4)), 0..6),
        swapped in vec(any::<bool>(), 0..6),
    ) {
        let runs = runs.into_iter().map(|(partition, extents)| MergedRun { partition, extents });
        let runs: Vec<_> = runs.collect();
        let told = runs.iter().map(|run| sent(&merged_to(run))).collect();
        prop_assert_eq!(merged_from(told), Ok(runs));
        let outcomes = swapped.iter().map(|swapped| match swapped {
            true => SwapOutcome::Swapped,
            false => SwapOutcome::Changed,
        });
        let outcomes: Vec<_> = outcomes.collect();
        let told = sent(&swapped_to(&outcomes));
        prop_assert_eq!(swapped_from(&told, outcomes.len()), Ok(outcomes.clone()));
        prop_assert!(swapped_from(&told, outcomes.len() + 1).is_err());
    }

    #[test]
    fn slices_come_back(slices in vec((a_partition(), any::<u64>(), any::<u64>()), 0..6)) {
        let slices = slices.into_iter().map(|(partition, base, next)| IndexedSlice {
            partition,
            offsets: OffsetRange { base: Offset::new(base), next: Offset::new(next) },
        });
        let slices: Vec<_> = slices.collect();
        let told = slices.iter().map(|slice| sent(&slice_to(slice))).collect();
        prop_assert_eq!(slices_from(told), Ok(slices));
    }

    #[test]
    fn errors_of_merges_come_back(segment in a_segment(), reason in a_text()) {
        for error in [
            MergeError::Gone,
            MergeError::BelowFloor(segment),
            MergeError::Malformed { reason: reason.clone() },
            MergeError::Unavailable { reason: reason.clone() },
        ] {
            prop_assert_eq!(merge_failure_from(sent(&merge_failure_to(&error))), error);
        }
    }
}

#[test]
fn a_task_that_has_too_much_is_refused_before_it_is_all_there() {
    let head = v1::MergeHead {
        id: Some(v1::MergeId::default()),
        ..v1::MergeHead::default()
    };
    let run = |index: usize, extents: usize| v1::MergeRun {
        topic_id: vec![1; 16].into(),
        topic_name: "log".to_owned(),
        partition_count: 1,
        partition: Some(v1::Partition {
            topic: 1,
            index: u32::try_from(index).unwrap(),
        }),
        extents: vec![v1::Extent::default(); extents],
    };
    let mut first = v1::TakeMergeResponse {
        head: Some(head),
        runs: vec![run(0, MERGE_EXTENTS_MAX + 1)],
        is_last: false,
    };
    let field = "extents";
    let max = MERGE_EXTENTS_MAX;
    let pushed = MergeParts::default().push(first.clone());
    assert_eq!(pushed, Err(WireError::TooLong { field, max }));
    let max = MERGED_SLICES_MAX as usize;
    first.runs = (0..=max).map(|index| run(index, 0)).collect();
    let field = "runs";
    let pushed = MergeParts::default().push(first.clone());
    assert_eq!(pushed, Err(WireError::TooLong { field, max }));
    let mut head = first.head.clone().unwrap();
    head.sparse = vec![v1::SegmentName::default(); MERGE_SPARSE_MAX + 1];
    first.head = Some(head);
    let (field, max) = ("sparse", MERGE_SPARSE_MAX);
    let pushed = MergeParts::default().push(first.clone());
    assert_eq!(pushed, Err(WireError::TooLong { field, max }));
    first.head = None;
    let pushed = MergeParts::default().push(first);
    assert_eq!(pushed, Err(WireError::Missing("head")));
}

#[test]
fn no_part_of_a_task_is_larger_than_a_message() {
    let extent = Extent {
        offsets: OffsetRange {
            base: Offset::new(Offset::MAX.get() - 1),
            next: Offset::MAX,
        },
        location: tidelog_format::location::Location::Segment {
            bucket: BucketId::new(u16::MAX),
            segment: SegmentName::new(Incarnation::new(u64::MAX), SegmentSequence::new(u64::MAX)),
            position: u32::MAX / 2,
            length: u32::MAX / 2,
        },
        crc32c: Some(u32::MAX),
        max_timestamp: Timestamp::from_millis(i64::MIN),
    };
    let run = |index: u32, extents: usize| MergeRun {
        topic_id: TopicId::from_bytes([9; 16]),
        topic_name: TopicName::new(&"n".repeat(249)).unwrap(),
        partition_count: u32::MAX,
        partition: TopicPartition::new(TopicNumber::new(u64::MAX), PartitionIndex::new(index)),
        extents: vec![extent.clone(); extents],
    };
    let mut runs: Vec<_> = (0..30_000).map(|index| run(index, 1)).collect();
    runs.push(run(30_001, 2 * MERGE_PART_EXTENTS + 1));
    let task = MergeTask {
        id: MergeId {
            shard: ShardId::new(1),
            epoch: 1,
            number: 1,
        },
        bucket: BucketId::new(0),
        bytes: 1,
        committed_at: Timestamp::default(),
        runs,
        sparse: Vec::new(),
    };
    let parts = merge_task_to(&task);
    let sizes = parts.iter().map(prost::Message::encoded_len);
    assert!(sizes.max() < Some(crate::settings::MESSAGE_BYTES_MAX));
    assert!(parts.len() >= 4);
    assert_eq!(gathered(parts), Ok(Some(task)));
}
