//! Segments that are committed together with their bytes: they are durable with their offsets, are read from the store,
//! go as objects go, and never become more than the store is meant to have.

use bytes::Bytes;
use tidelog_metadata::keyspace::{DyingRow, InlineRow, KeyKind, Keyspace, LiveBytesRow};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{
    CommitError, DeadSegment, JanitorWork as _, Log as _, Merges as _, ShardCommit, SwapOutcome,
};
use tidelog_store::memory::{CommitFault, Landing};
use tidelog_store::{Store as _, Transaction};
use tidelog_types::limits::INLINE_SEGMENT_BYTES_MAX;
use tidelog_types::{BucketId, Offset, SegmentSequence, Timestamp};

use crate::manifests::{
    WRITER, accepted, duplicate, expect_next, name, only, plain, segment, sent, wrong_offset,
};
use crate::merge::{make, merged, merging, now, pass, whole};
use crate::world::{Process, World, partition, settings};

/// One batch of a producer, which is committed with its bytes.
fn express(sequence: u64) -> ShardCommit {
    let number = i32::try_from(sequence).expect("a small number") - 1;
    let batch = sent(3, number, 1);
    let draft = segment(sequence).slice(partition(0), &[batch]);
    draft.in_store().done()
}

/// The same as it is committed when it lies in the bucket.
fn stored(sequence: u64) -> ShardCommit {
    let mut commit = express(sequence);
    commit.manifest.bucket = BucketId::new(0);
    commit.inline = None;
    commit
}

/// A row for those who want one of each kind.
pub(crate) fn put_some_row(transaction: &mut dyn Transaction) {
    let segment = Bytes::from_static(b"a segment");
    let row = InlineRow { segment };
    transaction.put(Keyspace::default().inline(name(298)), row.encode());
    let dying = DyingRow {
        dead_since: Some(Timestamp::from_millis(1_000_000)),
        in_store: true,
    };
    transaction.put(Keyspace::default().dying(name(298)), dying.encode());
}

async fn read(process: &Process, sequence: u64) -> Option<Bytes> {
    let read = tidelog_metadata_api::Log::inline_segment(&process.service, name(sequence)).await;
    read.expect("the store answers")
}

fn in_store(world: &World) -> Vec<u64> {
    let rows = world.store.rows(KeyKind::Inline).into_iter();
    let names = rows.map(|(key, _)| Keyspace::receipt_segment(&key).expect("a good key"));
    names.map(|name| name.sequence.get()).collect()
}

#[tokio::test(start_paused = true)]
async fn bytes_are_durable_with_their_offsets_and_the_next_owner_has_both() {
    let (world, process) = World::opened().await;
    for sequence in 1..=3 {
        let answer = process.send(express(sequence)).await.expect("durable");
        assert_eq!(only(&answer), accepted(sequence - 1));
    }
    let next = world.open().await;
    for process in [process, next] {
        assert_eq!(process.log_of(partition(0)).await.len(), 3);
        for sequence in 1..=3 {
            assert_eq!(read(&process, sequence).await, express(sequence).inline);
        }
        assert_eq!(read(&process, 4).await, None);
    }
}

/// Whoever takes a part of it proves that part, and what is whole of it can be read and merged.
#[tokio::test(start_paused = true)]
async fn what_is_damaged_is_given_out_for_whoever_proves_what_he_takes() {
    let (world, process) = World::opened().await;
    process.send_until_answered(&express(1)).await;
    let (key, value) = world.store.rows(KeyKind::Inline).remove(0);
    for (at, left) in [(20, true), (0, false)] {
        let mut damaged = value.to_vec();
        damaged[at] ^= 0x41;
        assert!(InlineRow::decode(damaged.clone().into()).is_err());
        let mut transaction = world.store.begin().await.expect("the store answers");
        transaction.put(key.clone(), damaged.into());
        transaction.commit().await.expect("no conflict");
        let found = read(&process, 1).await.expect("there is something");
        let whole = express(1).inline.expect("it is here");
        assert_ne!(found, whole);
        assert_eq!(found.len(), if left { whole.len() } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_first_answer_and_leaves_no_second_row() {
    for landing in [Landing::Now, Landing::Never] {
        let (world, process) = World::opened().await;
        world
            .store
            .fail(KeyKind::Inline, CommitFault::Unknown(landing));
        for _ in 0..3 {
            let answer = process.send_until_answered(&express(1)).await;
            assert_eq!(only(&answer), accepted(0), "{landing:?}");
        }
        // A new segment with the same batch adds nothing to the log, and nothing to the store.
        let again = segment(2).slice(partition(0), &[sent(3, 0, 1)]).in_store();
        let answer = process.send_until_answered(&again.done()).await;
        assert_eq!(only(&answer), duplicate(0), "{landing:?}");
        let refused = segment(3)
            .slice(partition(0), &[plain(1)])
            .condition(0, 0, expect_next(9));
        let answer = process
            .send_until_answered(&refused.in_store().done())
            .await;
        assert_eq!(only(&answer), wrong_offset(1), "{landing:?}");
        assert_eq!(in_store(&world), [1], "{landing:?}");
        let next = world.open().await;
        let answer = next.send_until_answered(&express(1)).await;
        assert_eq!(only(&answer), accepted(0), "{landing:?}");
        assert_eq!(next.high_watermark(partition(0)).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_those_of_the_manifest_are_refused() {
    let (world, process) = World::opened().await;
    let mut missing = express(1);
    missing.inline = None;
    let mut elsewhere = express(2);
    elsewhere.manifest.bucket = BucketId::new(0);
    let mut others = express(3);
    let mut bytes = others.inline.expect("it is here").to_vec();
    bytes[70] ^= 1;
    others.inline = Some(bytes.into());
    let mut cut = express(4);
    cut.inline = cut.inline.map(|bytes| bytes.slice(..100));
    let mut large = express(5);
    let mut bytes = large.inline.expect("it is here").to_vec();
    bytes.resize(INLINE_SEGMENT_BYTES_MAX as usize + 1, 0);
    large.inline = Some(bytes.into());
    for commit in [missing, elsewhere, others, cut, large] {
        let refused = process.send(commit).await.expect_err("it makes no sense");
        assert!(
            matches!(refused, CommitError::Malformed { .. }),
            "{refused}"
        );
    }
    assert!(in_store(&world).is_empty());
    assert_eq!(process.high_watermark(partition(0)).await, 0);
}

/// Past the bound the store takes nothing: the broker puts the segment into the bucket, under the same name, and whichever
/// of its commits comes first counts.
#[tokio::test(start_paused = true)]
async fn beyond_the_bound_segments_lie_in_the_bucket_and_none_is_there_twice() {
    let bytes = express(1).inline.expect("it is here").len() as u64;
    let world = World::with(SequencerSettings {
        inline_bytes_max: 2 * bytes,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    let commits = (1..=3).map(express).collect();
    let answers = process.commit(commits).await;
    let refused = answers.last().expect("three").as_ref().map(|_| ());
    assert_eq!(refused, Err(&CommitError::NotInline));
    assert!(answers[..2].iter().all(Result::is_ok));
    assert_eq!(process.high_watermark(partition(0)).await, 2);
    let answer = process.send(stored(3)).await.expect("durable");
    assert_eq!(only(&answer), accepted(2));
    // What was on its way comes late: it is known.
    for commit in [express(3), stored(3), stored(2), express(1)] {
        let sequence = commit.manifest.segment.sequence.get();
        let answer = process.send(commit).await.expect("it has a receipt");
        assert_eq!(only(&answer), accepted(sequence - 1));
    }
    assert_eq!(in_store(&world), [1, 2]);
    assert_eq!(process.high_watermark(partition(0)).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_merge_moves_them_which_makes_room_and_rows_go_after_the_grace() {
    let bytes = express(1).inline.expect("it is here").len() as u64;
    let world = World::with(SequencerSettings {
        inline_bytes_max: 3 * bytes,
        ..merging(MergeSettings::default())
    });
    let process = world.open().await;
    process.send_until_answered(&express(1)).await;
    process.send_until_answered(&stored(2)).await;
    for sequence in 3..=4 {
        process.send_until_answered(&express(sequence)).await;
    }
    let refused = process.send(express(5)).await.expect_err("it is full");
    assert_eq!(refused, CommitError::NotInline);
    assert_eq!(process.metric("inline_segments_total"), 3);
    assert_eq!(process.metric("inline_refused_total"), 1);
    assert_eq!(unmerged_bytes(&process), Some(3 * bytes));
    pass(&world, 70).await;
    let task = now(&process).await.expect("it is old enough");
    assert_eq!(
        task.bucket,
        BucketId::new(0),
        "nothing is merged in the store"
    );
    assert_eq!(make(&process, &task, 1).await, [SwapOutcome::Swapped]);
    let log = process.log_of(partition(0)).await;
    assert_eq!((log.len(), log[0].next), (1, 4));
    pass(&world, 1).await;
    assert_eq!(unmerged_bytes(&process), None);
    process.send_until_answered(&express(5)).await;
    // Readers that do not know of the merge yet find them.
    assert_eq!(read(&process, 1).await, express(1).inline);
    let raised = process.raise_floor(WRITER, SegmentSequence::new(5)).await;
    raised.expect("durable");
    let dead = delete_dead(&world, &process).await;
    let dead: Vec<_> = dead
        .iter()
        .map(|dead| (sequence_of(dead), dead.in_store))
        .collect();
    assert_eq!(dead, [(1, true), (2, false), (3, true), (4, true)]);
    assert_eq!(in_store(&world), [5]);
    assert_eq!(
        process.metric("inline_dead"),
        3,
        "as the last pass has seen it"
    );
    assert_eq!(read(&process, 1).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_retention_takes_goes_from_the_store() {
    let (world, process) = World::opened().await;
    for sequence in 1..=3 {
        process.send_until_answered(&express(sequence)).await;
    }
    let deleted = process.delete_records(partition(0), Offset::new(2)).await;
    deleted.expect("the owner");
    let raised = process.raise_floor(WRITER, SegmentSequence::new(4)).await;
    raised.expect("durable");
    let dead = delete_dead(&world, &process).await;
    assert_eq!(dead.iter().map(sequence_of).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(in_store(&world), [3]);
}

const fn sequence_of(dead: &DeadSegment) -> u64 {
    dead.segment.sequence.get()
}

/// Bytes that are not merged, as they are reported.
fn unmerged_bytes(process: &Process) -> Option<u64> {
    process.metric_of_shard("shard_inline_bytes")
}

/// What janitors have deleted once the grace is over.
async fn delete_dead(world: &World, process: &Process) -> Vec<DeadSegment> {
    pass(world, 70).await;
    process.deletions().await.expect("the store answers");
    for _ in 0..12 {
        pass(world, 70).await;
        let dead = process.deletions().await.expect("the store answers");
        if !dead.dead.is_empty() {
            process.deleted(dead.clone(), false).await.expect("durable");
            return dead.dead;
        }
    }
    Vec::new()
}

/// A lone segment, which would not be merged with others of its kind, leaves the store all the same.
#[tokio::test(start_paused = true)]
async fn what_lies_in_the_store_is_moved_however_little_it_is() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    process.send_until_answered(&express(1)).await;
    let command = process
        .send(
            segment(2)
                .slice(partition(1), &[plain(1)])
                .condition(0, 0, expect_next(9))
                .done(),
        )
        .await;
    command.expect("durable");
    pass(&world, 70).await;
    let task = now(&process).await.expect("it is old enough");
    assert_eq!(task.runs.len(), 1);
    assert_eq!(make(&process, &task, 1).await, [SwapOutcome::Swapped]);
}

/// Sequences of segments of which nothing is named any more.
fn unnamed(world: &World) -> Vec<u64> {
    let rows = world.store.rows(KeyKind::LiveBytes).into_iter();
    let rows = rows.filter(|(_, value)| {
        LiveBytesRow::decode(value.clone())
            .expect("a good row")
            .bytes
            == 0
    });
    let names = rows.map(|(key, _)| Keyspace::receipt_segment(&key).expect("a good key"));
    names.map(|name| name.sequence.get()).collect()
}

/// The owner ends after it has swapped a run and before its window is over: what came behind the run meanwhile is planned
/// with it again, and leaves the store all the same.
#[tokio::test(start_paused = true)]
async fn what_an_owner_has_left_of_a_window_leaves_the_store_with_the_next() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=3 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 70).await;
    let task = now(&process).await.expect("it is old enough");
    let runs = task
        .runs
        .iter()
        .map(|run| whole(task.bucket, merged(1), run));
    let swapped = process.swap(task.id, merged(1), runs.collect()).await;
    assert_eq!(swapped.expect("nothing fails"), [SwapOutcome::Swapped]);
    for sequence in 4..=5 {
        process.send_until_answered(&express(sequence)).await;
    }
    let next = world.open().await;
    pass(&world, 70).await;
    let task = now(&next).await.expect("it is old enough");
    assert_eq!(task.runs[0].extents.len(), 2);
    assert_eq!(make(&next, &task, 2).await, [SwapOutcome::Swapped]);
    assert_eq!(unnamed(&world), [1, 2, 3, 4, 5]);
    let log = next.log_of(partition(0)).await;
    assert_eq!(log.last().map(|run| run.next), Some(5));
    assert_eq!(now(&next).await, None);
}

/// Nothing else would ever move it.
#[tokio::test(start_paused = true)]
async fn a_merge_out_of_the_store_is_not_given_up_soon() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=2 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 60).await;
    let first = now(&process).await.expect("a merge");
    for _ in 0..30 {
        pass(&world, 180).await;
        assert_eq!(now(&process).await, Some(first.clone()));
    }
    assert_eq!(process.metric("merges_given_up_total"), 0);
    assert_eq!(make(&process, &first, 1).await, [SwapOutcome::Swapped]);
    assert_eq!(unnamed(&world), [1, 2]);
}

/// Long before nothing more is taken, and whatever bytes a merged segment has.
#[tokio::test(start_paused = true)]
async fn much_in_the_store_is_moved_at_once() {
    let bytes = express(1).inline.expect("it is here").len() as u64;
    let world = World::with(SequencerSettings {
        inline_bytes_max: 8 * bytes,
        ..merging(MergeSettings::default())
    });
    let process = world.open().await;
    for sequence in 1..=3 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 2).await;
    assert_eq!(now(&process).await, None, "there is time");
    for sequence in 4..=5 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 2).await;
    let task = now(&process).await.expect("there is much");
    assert!(
        task.runs[0].extents.len() >= 4,
        "{}",
        task.runs[0].extents.len()
    );
}

/// Each leaves rows that go one by one.
#[tokio::test(start_paused = true)]
async fn segments_come_no_faster_than_they_can_go() {
    let (world, process) = World::opened().await;
    let mut taken = 0;
    let refused = loop {
        match process.send(express(taken + 1)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused, taken), (CommitError::NotInline, 1_000));
    pass(&world, 1).await;
    process.send(express(1_001)).await.expect("some more");
}

/// As many as may be handed out at once are, since backups are asked for each time.
#[tokio::test(start_paused = true)]
async fn many_dead_segments_go_at_once() {
    let (world, process) = World::opened().await;
    for sequence in 1..=420 {
        process.send_until_answered(&express(sequence)).await;
    }
    let deleted = process.delete_records(partition(0), Offset::new(420)).await;
    deleted.expect("the owner");
    let raised = process.raise_floor(WRITER, SegmentSequence::new(421)).await;
    raised.expect("durable");
    assert_eq!(delete_dead(&world, &process).await.len(), 420);
    assert!(in_store(&world).is_empty());
}

/// What lies beside something damaged is moved all the same, and the rest goes on.
#[tokio::test(start_paused = true)]
async fn nothing_but_what_is_damaged_stays_in_the_store() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=8 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 70).await;
    let damaged = |offset: u64| offset == 5;
    let mut tasks = 0;
    while let Some(task) = now(&process).await {
        tasks += 1;
        let offsets = task.runs[0].offsets().expect("it has extents");
        if (offsets.base.get()..offsets.next.get()).any(damaged) {
            // As a janitor does that cannot read an extent.
            process.finish(task.id).await.expect("nothing fails");
        } else {
            make(&process, &task, tasks).await;
        }
    }
    assert_eq!(tasks, 7, "all, two halves, two quarters, two single ones");
    assert_eq!(unnamed(&world), [1, 2, 3, 4, 5, 7, 8]);
    for sequence in 9..=10 {
        process.send_until_answered(&express(sequence)).await;
    }
    pass(&world, 70).await;
    let task = now(&process).await.expect("the rest goes on");
    make(&process, &task, 99).await;
    assert_eq!(unnamed(&world), [1, 2, 3, 4, 5, 7, 8, 9, 10]);
}
