//! What is left of merged segments of which little is named is written anew, together, so that these can go.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_metadata::keyspace::{KeyKind, Keyspace, LiveBytesRow};
use tidelog_metadata::{MergeSettings, RewriteSettings, SequencerSettings};
use tidelog_metadata_api::{
    DESCRIBED_SLICES_MAX, IndexedSlice, Log as _, MergeError, MergeTask, Merges as _, SwapOutcome,
};
use tidelog_types::{Offset, SegmentName};

use crate::manifests::{plain, segment};
use crate::merge::{make, merged, merging, now, pass};
use crate::retention::configure;
use crate::world::{Process, World, partition};

/// In seconds.
const AGE: u64 = 100;

fn rewriting() -> SequencerSettings {
    merging(MergeSettings {
        growth: 0,
        rewrite: RewriteSettings {
            live_percent: 30,
            age: Duration::from_secs(AGE),
            freed_min: 400,
        },
        ..MergeSettings::default()
    })
}

/// What the indexes of merged segments say.
type Indexes = BTreeMap<SegmentName, Vec<IndexedSlice>>;

fn index(task: &MergeTask) -> Vec<IndexedSlice> {
    let runs = task.runs.iter();
    let slices = runs.map(|run| IndexedSlice {
        partition: run.partition,
        offsets: run.offsets().expect("it has extents"),
    });
    slices.collect()
}

/// Two segments in a window, with 72 bytes for each of these partitions, and what comes of them is merged.
async fn window(
    world: &World,
    process: &Process,
    indexes: &mut Indexes,
    number: u64,
    partitions: &[u32],
) {
    for sequence in [2 * number, 2 * number + 1] {
        let mut draft = segment(sequence);
        for index in partitions {
            draft = draft.slice(partition(*index), &[plain(2)]);
        }
        process.send_until_answered(&draft.done()).await;
    }
    pass(world, 60).await;
    let task = now(process).await.expect("the tail is merged");
    assert_eq!(task.sparse, []);
    make(process, &task, number).await;
    indexes.insert(merged(number), index(&task));
}

/// Three merged segments of four partitions.
async fn windows(world: &World, process: &Process) -> Indexes {
    let mut indexes = Indexes::new();
    for number in 1..=3 {
        window(world, process, &mut indexes, number, &[0, 1, 2, 3]).await;
    }
    indexes
}

/// All of some partitions goes, and is off the books.
async fn delete(world: &World, process: &Process, partitions: &[u32]) {
    for index in partitions {
        let end = process.high_watermark(partition(*index)).await;
        let deleted = process.delete_records(partition(*index), Offset::new(end));
        deleted.await.expect("the owner");
    }
    pass(world, 15).await;
}

async fn describe(process: &Process, task: &MergeTask, indexes: &Indexes) {
    for segment in &task.sparse {
        let slices = indexes.get(segment).cloned().unwrap_or_default();
        let described = process.describe(task.id, *segment, slices);
        described.await.expect("it asked for that");
    }
    process.finish(task.id).await.expect("nothing fails");
}

fn live(world: &World, segment: SegmentName) -> Option<(u64, u64)> {
    let rows = world.store.rows(KeyKind::LiveBytes).into_iter();
    let mut rows = rows.filter(|(key, _)| Keyspace::receipt_segment(key) == Some(segment));
    let row = LiveBytesRow::decode(rows.next()?.1).expect("a good row");
    Some((row.bytes, row.committed))
}

fn dying(world: &World) -> usize {
    world.store.rows(KeyKind::Dying).len()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_segments_becomes_one_and_they_can_go() {
    let world = World::with(rewriting());
    let process = world.open().await;
    let mut indexes = windows(&world, &process).await;
    let before = process.log_of(partition(0)).await;
    assert_eq!(before.len(), 3);
    delete(&world, &process, &[1, 2, 3]).await;
    assert_eq!(live(&world, merged(1)), Some((144, 576)));
    assert_eq!(dying(&world), 6, "what was merged at first");
    pass(&world, 2 * AGE - 30).await;
    assert_eq!(now(&process).await, None, "it waits, and for others");
    let commits = world.store.commits();
    pass(&world, 40).await;
    let looking = now(&process).await.expect("segments to look into");
    assert_eq!(looking.sparse, [merged(1), merged(2), merged(3)]);
    assert_eq!(looking.runs, []);
    assert_eq!(now(&process).await, None, "somebody is at it");
    describe(&process, &looking, &indexes).await;
    let task = now(&process).await.expect("what is left");
    assert_eq!(world.store.commits(), commits, "to ask changes nothing");
    assert_eq!((task.runs.len(), task.bytes), (1, 3 * 144));
    assert_eq!(task.runs[0].extents.len(), 3);
    assert_eq!(process.metric("rewritten_bytes_total"), 3 * 144);
    assert_eq!(make(&process, &task, 10).await, [SwapOutcome::Swapped]);
    assert_eq!(dying(&world), 6 + 3);
    assert_eq!(live(&world, merged(10)), Some((432, 432)));
    indexes.insert(merged(10), index(&task));
    for process in [process, world.open().await] {
        let log = process.log_of(partition(0)).await;
        assert_eq!((log.len(), log[0].base, log[0].next), (1, 0, 12));
        assert_eq!(log[0].sequence, 10);
        pass(&world, 10 * AGE).await;
        assert_eq!(now(&process).await, None, "it is not written again");
    }
}

#[tokio::test(start_paused = true)]
async fn segments_of_which_more_is_named_or_little_would_go_stay_as_they_are() {
    let world = World::with(rewriting());
    let process = world.open().await;
    let mut indexes = windows(&world, &process).await;
    // Of 288 bytes that are named at first less than 400 can go.
    window(&world, &process, &mut indexes, 4, &[0, 1]).await;
    delete(&world, &process, &[2, 3]).await;
    assert_eq!(live(&world, merged(1)), Some((288, 576)));
    pass(&world, 3 * AGE).await;
    assert_eq!(now(&process).await, None);
    let deleted = process.delete_records(partition(1), Offset::new(16)).await;
    deleted.expect("the owner");
    let deleted = process.delete_records(partition(0), Offset::new(12)).await;
    deleted.expect("the owner");
    pass(&world, 3 * AGE).await;
    assert_eq!(live(&world, merged(1)), Some((0, 576)), "it is dead");
    assert_eq!(live(&world, merged(4)), Some((144, 288)));
    assert_eq!(now(&process).await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_anew_where_it_is_off() {
    let mut settings = rewriting();
    settings.merge.rewrite.live_percent = 0;
    let world = World::with(settings);
    let process = world.open().await;
    windows(&world, &process).await;
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 10 * AGE).await;
    assert_eq!(now(&process).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_finds_them_in_the_live_bytes() {
    let world = World::with(rewriting());
    let first = world.open().await;
    let indexes = windows(&world, &first).await;
    delete(&world, &first, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let lent = now(&first).await.expect("segments to look into");
    let second = world.open().await;
    let slices = indexes[&merged(1)].clone();
    let gone = second.describe(lent.id, merged(1), slices).await;
    assert_eq!(gone, Err(MergeError::Gone));
    assert_eq!(now(&second).await, None, "it waits anew");
    pass(&world, 2 * AGE).await;
    let looking = now(&second).await.expect("segments to look into");
    assert_eq!(looking.sparse, lent.sparse);
    describe(&second, &looking, &indexes).await;
    let task = now(&second).await.expect("what is left");
    make(&second, &task, 10).await;
    assert_eq!(second.log_of(partition(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_lies_between_is_not_copied_and_each_segment_has_one_run_of_a_partition() {
    let world = World::with(rewriting());
    let process = world.open().await;
    let mut indexes = Indexes::new();
    window(&world, &process, &mut indexes, 1, &[0, 1, 2, 3]).await;
    window(&world, &process, &mut indexes, 2, &[0]).await;
    window(&world, &process, &mut indexes, 3, &[0, 1, 2, 3]).await;
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let looking = now(&process).await.expect("segments to look into");
    assert_eq!(looking.sparse, [merged(1), merged(3)]);
    describe(&process, &looking, &indexes).await;
    for sequence in [10, 11] {
        let task = now(&process).await.expect("what is left");
        assert_eq!((task.runs.len(), task.bytes), (1, 144));
        make(&process, &task, sequence).await;
    }
    assert_eq!(now(&process).await, None);
    let log = process.log_of(partition(0)).await;
    let sequences: Vec<u64> = log.iter().map(|run| run.sequence).collect();
    assert_eq!(sequences, [10, 2, 11]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_by_itself_before_long_is_let_be() {
    let world = World::with(rewriting());
    let process = world.open().await;
    // Records are of 200 ms after 1970; when they are looked into it is 1,400 s.
    configure(&process, &[("retention.ms", "1450000")]).await;
    let indexes = windows(&world, &process).await;
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let looking = now(&process).await.expect("segments to look into");
    assert_eq!(looking.sparse.len(), 3);
    describe(&process, &looking, &indexes).await;
    assert_eq!(now(&process).await, None);
    assert_eq!(live(&world, merged(1)), Some((144, 576)));
    pass(&world, 4 * AGE).await;
    assert_eq!(live(&world, merged(1)), Some((0, 576)), "it went");
    assert_eq!(process.metric("rewritten_bytes_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_died_while_it_was_put_off_is_not_looked_into() {
    let world = World::with(rewriting());
    let process = world.open().await;
    configure(&process, &[("retention.ms", "1450000")]).await;
    let indexes = windows(&world, &process).await;
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let looking = now(&process).await.expect("segments to look into");
    for segment in &looking.sparse {
        let described = process.describe(looking.id, *segment, indexes[segment].clone());
        described.await.expect("it asked for that");
    }
    delete(&world, &process, &[0]).await;
    assert_eq!(live(&world, merged(1)), Some((0, 576)), "it is dead");
    process.finish(looking.id).await.expect("nothing fails");
    assert_eq!(now(&process).await, None, "it goes by itself");
    pass(&world, 3 * AGE).await;
    assert_eq!(now(&process).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_looks_may_die_and_tells_nothing_that_nobody_asked_for() {
    let world = World::with(rewriting());
    let process = world.open().await;
    let indexes = windows(&world, &process).await;
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let looking = now(&process).await.expect("segments to look into");
    let slices = indexes[&merged(1)].clone();
    let other = process.describe(looking.id, merged(9), slices.clone());
    let many = vec![slices[0]; DESCRIBED_SLICES_MAX + 1];
    let many = process.describe(looking.id, merged(1), many);
    for refused in [other.await, many.await] {
        assert!(
            matches!(refused, Err(MergeError::Malformed { .. })),
            "{refused:?}"
        );
    }
    let described = process.describe(looking.id, merged(1), slices.clone());
    described.await.expect("it asked for that");
    pass(&world, 31).await;
    assert_eq!(
        now(&process).await,
        Some(looking.clone()),
        "who had it is gone"
    );
    // What is told twice is written once.
    describe(&process, &looking, &indexes).await;
    let late = process.describe(looking.id, merged(1), slices).await;
    assert_eq!(late, Err(MergeError::Gone));
    let task = now(&process).await.expect("what is left");
    assert_eq!(task.bytes, 3 * 144);
    make(&process, &task, 10).await;
    assert_eq!(process.log_of(partition(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_cannot_be_looked_into_stays_and_is_not_looked_into_again() {
    let world = World::with(rewriting());
    let process = world.open().await;
    let mut indexes = windows(&world, &process).await;
    indexes.remove(&merged(2));
    delete(&world, &process, &[1, 2, 3]).await;
    pass(&world, 2 * AGE).await;
    let looking = now(&process).await.expect("segments to look into");
    describe(&process, &looking, &indexes).await;
    let mut sequence = 10;
    while let Some(task) = now(&process).await {
        make(&process, &task, sequence).await;
        sequence += 1;
    }
    let log = process.log_of(partition(0)).await;
    let sequences: Vec<u64> = log.iter().map(|run| run.sequence).collect();
    assert_eq!(sequences, [10, 2, 11]);
    pass(&world, 10 * AGE).await;
    assert_eq!(now(&process).await, None);
}
