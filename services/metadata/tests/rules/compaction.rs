//! Key compaction as the owner of a shard does it: when a partition is due, what may be put in its place, and who may say
//! how far it has come.

use std::time::Duration;

use tidelog_env::Clock as _;
use tidelog_format::location::Location;
use tidelog_metadata::keyspace::{CompactedRow, KeyKind, Keyspace};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{
    Catalogue as _, Compacted, CompactionTask, Compactions as _, Extent, Log as _, LookupRequest,
    MergeError, Merges as _, SwapOutcome, TopicSelector,
};
use tidelog_store::{Store as _, Transaction};
use tidelog_types::{BucketId, Offset, OffsetRange, SegmentName, Timestamp};

use crate::manifests::{plain, segment};
use crate::merge::{merged, now as merge_now, whole};
use crate::retention::configure;
use crate::world::{Process, World, partition, settings};

fn compacting() -> SequencerSettings {
    SequencerSettings {
        merge: MergeSettings {
            age: Duration::from_secs(1),
            compaction_interval: Duration::from_secs(1),
            ..MergeSettings::default()
        },
        ..settings(u32::MAX)
    }
}

async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.jump_wall(1_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A partition that is due now, if one is.
async fn now(process: &Process) -> Option<CompactionTask> {
    let next = tokio::time::timeout(Duration::from_millis(1), process.next_compaction());
    Some(next.await.ok()?.expect("nothing fails"))
}

/// Merges what there is.
async fn merge(process: &Process, sequence: u64) {
    let task = merge_now(process).await.expect("a merge");
    let runs = task
        .runs
        .iter()
        .map(|run| whole(task.bucket, merged(sequence), run));
    let swapped = process.swap(task.id, merged(sequence), runs.collect());
    swapped.await.expect("nothing fails");
    process.finish(task.id).await.expect("nothing fails");
}

async fn extents(process: &Process) -> Vec<Extent> {
    let request = LookupRequest {
        partition: partition(0),
        offset: Offset::ZERO,
        bytes_max: u64::MAX,
        extents_max: 100,
    };
    process.lookup(request).await.expect("an answer").extents
}

fn compact(segment: SegmentName, old: &[Extent]) -> Vec<Extent> {
    let (first, last) = (old.first().expect("one"), old.last().expect("one"));
    vec![Extent {
        offsets: OffsetRange {
            base: first.offsets.base,
            next: last.offsets.next,
        },
        location: Location::Segment {
            bucket: BucketId::new(0),
            segment,
            position: 40,
            length: 61,
        },
        crc32c: Some(7),
        max_timestamp: Timestamp::NONE,
    }]
}

async fn due(world: &World, process: &Process) -> CompactionTask {
    for sequence in 1..=3 {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        process.send_until_answered(&draft.done()).await;
    }
    assert_eq!(now(process).await, None, "nothing is merged");
    pass(world, 30).await;
    pass(world, 30).await;
    merge(process, 1).await;
    pass(world, 2).await;
    now(process).await.expect("it is due")
}

/// For the rows that are kept as they are written.
pub(crate) fn put_some_row(transaction: &mut dyn Transaction) {
    let row = CompactedRow {
        cleaned: Offset::new(2),
        bytes: 71,
        tombstones_until: Some(Timestamp::from_millis(1_000_000)),
        unread: Some(Offset::new(1)),
    };
    let key = Keyspace::default().compacted(partition(0));
    transaction.put(key, row.encode());
}

fn row(world: &World) -> Option<CompactedRow> {
    let row = world.store.rows(KeyKind::Compacted).pop();
    row.map(|(_, value)| CompactedRow::decode(value).expect("a good row"))
}

#[tokio::test(start_paused = true)]
async fn what_is_merged_is_compacted_and_the_next_owner_knows_how_far() {
    let world = World::with(compacting());
    let process = world.open().await;
    configure(&process, &[("cleanup.policy", "compact")]).await;
    let task = due(&world, &process).await;
    assert_eq!(task.partition, partition(0));
    assert_eq!((task.cleaned.get(), task.end.get()), (0, 6));
    assert_eq!(task.tombstones_millis, 86_400_000);
    assert_eq!(now(&process).await, None, "it is lent");
    let old = extents(&process).await;
    let new = compact(merged(2), &old);
    let mut elsewhere = new.clone();
    if let Location::Segment { bucket, .. } = &mut elsewhere[0].location {
        *bucket = BucketId::new(1);
    }
    let refused = process.replace(task.id, merged(2), old.clone(), elsewhere);
    let refused = refused.await;
    assert!(
        matches!(refused, Err(MergeError::Malformed { .. })),
        "another bucket than was asked for: {refused:?}"
    );
    let replace = || process.replace(task.id, merged(2), old.clone(), new.clone());
    assert_eq!(replace().await, Ok(SwapOutcome::Swapped));
    assert_eq!(replace().await, Ok(SwapOutcome::Swapped), "once is enough");
    assert_eq!(extents(&process).await, new);
    let until = Timestamp::from_millis(world.clock.wall().as_millis() + 5_000);
    let compacted = Compacted {
        cleaned: task.end,
        bytes: 61,
        tombstones_until: Some(until),
        unread: None,
    };
    let noted = process.compacted(task.id, compacted, true).await;
    assert_eq!(noted, Ok(()));
    assert_eq!(row(&world).map(|row| row.cleaned.get()), Some(6));
    pass(&world, 2).await;
    assert_eq!(now(&process).await, None, "nothing is dirty");
    let other = world.open().await;
    pass(&world, 2).await;
    assert_eq!(now(&other).await, None, "the next owner knows");
    assert_eq!(
        process.compacted(task.id, compacted, true).await,
        Err(MergeError::Gone)
    );
    pass(&world, 5).await;
    let task = now(&other).await.expect("tombstones are over");
    assert_eq!((task.cleaned.get(), task.end.get()), (6, 6));
}

#[tokio::test(start_paused = true)]
async fn how_far_a_topic_was_is_not_noted_any_more_once_it_is_deleted_and_goes_with_it() {
    let world = World::with(compacting());
    let process = world.open().await;
    let config = [
        ("cleanup.policy", "compact"),
        ("deleted.retention.ms", "60000"),
    ];
    configure(&process, &config).await;
    let task = due(&world, &process).await;
    let compacted = Compacted {
        cleaned: task.end,
        bytes: 61,
        tombstones_until: None,
        unread: None,
    };
    let noted = process.compacted(task.id, compacted, false).await;
    assert_eq!(noted, Ok(()));
    let topic = TopicSelector::Number(partition(0).topic);
    process.delete_topic(&topic).await.expect("it is live");
    let more = Compacted {
        bytes: 62,
        ..compacted
    };
    let noted = process.compacted(task.id, more, false).await;
    assert_eq!(noted, Err(MergeError::Gone));
    assert_eq!(row(&world).map(|row| row.bytes), Some(61));
    for _ in 0..60 {
        pass(&world, 10).await;
    }
    assert_eq!(row(&world), None, "it is purged");
    assert_eq!(world.store.rows(KeyKind::Topic), []);
    let noted = process.compacted(task.id, compacted, true).await;
    assert_eq!(noted, Err(MergeError::Gone));
    assert_eq!(row(&world), None);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_meanwhile_is_not_replaced() {
    let world = World::with(compacting());
    let process = world.open().await;
    configure(&process, &[("cleanup.policy", "compact")]).await;
    let task = due(&world, &process).await;
    let old = extents(&process).await;
    let mut other = old.clone();
    other[0].crc32c = Some(99);
    let new = compact(merged(2), &old);
    let replaced = process.replace(task.id, merged(2), other, new.clone());
    assert_eq!(replaced.await, Ok(SwapOutcome::Changed));
    assert_eq!(extents(&process).await, old);
    let held = process.hold_compaction(task.id, Some("a reason".to_owned()));
    assert_eq!(held.await, Ok(()));
    let replaced = process.replace(task.id, merged(2), old.clone(), new);
    assert_eq!(replaced.await, Err(MergeError::Gone));
    pass(&world, 60).await;
    assert_eq!(now(&process).await, None, "it is left alone for a while");
    pass(&world, 600).await;
    let again = now(&process).await.expect("it is tried again");
    assert_eq!((again.cleaned.get(), again.end.get()), (0, 6));
    assert_eq!(row(&world), None);
    // What was deleted is not compacted.
    let deleted = process.delete_records(partition(0), Offset::new(6)).await;
    deleted.expect("nothing fails");
    let new = compact(merged(2), &old);
    let replaced = process.replace(again.id, merged(2), old, new).await;
    assert!(matches!(
        replaced,
        Ok(SwapOutcome::Changed | SwapOutcome::Swapped)
    ));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_compacted_any_more_that_its_topic_does_not_want() {
    for (key, value) in [
        ("cleanup.policy", "delete"),
        ("delete.retention.ms", "5"),
        ("min.compaction.lag.ms", "7"),
    ] {
        let world = World::with(compacting());
        let process = world.open().await;
        configure(&process, &[("cleanup.policy", "compact")]).await;
        let task = due(&world, &process).await;
        let old = extents(&process).await;
        configure(&process, &[(key, value)]).await;
        let new = compact(merged(2), &old);
        let replaced = process.replace(task.id, merged(2), old.clone(), new).await;
        assert_eq!(replaced, Err(MergeError::Gone), "{key}");
        assert_eq!(extents(&process).await, old, "{key}");
        pass(&world, 2).await;
        let again = now(&process).await.map(|task| task.tombstones_millis);
        let expected = match key {
            "cleanup.policy" => None,
            "delete.retention.ms" => Some(5),
            _ => Some(86_400_000),
        };
        assert_eq!(again, expected, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_what_could_not_be_read_keys_are_noted_once_more_and_nobody_claims_what_is_not_so() {
    let world = World::with(compacting());
    let process = world.open().await;
    configure(&process, &[("cleanup.policy", "compact")]).await;
    let task = due(&world, &process).await;
    let mut compacted = Compacted {
        cleaned: Offset::new(7),
        bytes: 61,
        tombstones_until: None,
        unread: Some(Offset::new(2)),
    };
    let noted = process.compacted(task.id, compacted, true).await;
    assert!(
        matches!(noted, Err(MergeError::Malformed { .. })),
        "{noted:?}"
    );
    assert_eq!(row(&world), None);
    compacted.cleaned = task.end;
    assert_eq!(process.compacted(task.id, compacted, true).await, Ok(()));
    pass(&world, 2).await;
    assert_eq!(now(&process).await, None, "it is no reason by itself");
    for sequence in [9, 10] {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        process.send_until_answered(&draft.done()).await;
    }
    pass(&world, 60).await;
    merge(&process, 5).await;
    configure(&process, &[("min.cleanable.dirty.ratio", "0.01")]).await;
    pass(&world, 2).await;
    let again = now(&process).await.expect("it is dirty");
    assert_eq!((again.cleaned.get(), again.end.get()), (2, 10));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_to_be_compacted_any_more_is_not_told_of() {
    let world = World::with(compacting());
    let process = world.open().await;
    configure(&process, &[("cleanup.policy", "compact")]).await;
    let task = due(&world, &process).await;
    let held = process.hold_compaction(task.id, Some("a reason".to_owned()));
    assert_eq!(held.await, Ok(()));
    pass(&world, 60).await;
    assert_eq!(now(&process).await, None);
    assert_eq!(process.metric("uncleanable_partitions"), 1);
    configure(&process, &[("cleanup.policy", "delete")]).await;
    pass(&world, 60).await;
    assert_eq!(now(&process).await, None);
    assert_eq!(process.metric("uncleanable_partitions"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_keeps_nobody_else_from_it() {
    let world = World::with(compacting());
    let process = world.open().await;
    let mut transaction = world.store.begin().await.expect("a store");
    let key = Keyspace::default().compacted(partition(1));
    transaction.put(key, vec![99].into());
    transaction.commit().await.expect("a store");
    let draft = segment(9).slice(partition(1), &[plain(2)]);
    process.send_until_answered(&draft.done()).await;
    configure(&process, &[("cleanup.policy", "compact")]).await;
    let task = due(&world, &process).await;
    assert_eq!(task.partition, partition(0));
    assert_eq!(process.metric("uncleanable_partitions"), 1);
}
