//! Small extents become large ones: what a janitor is asked for and when, what becomes of what it says, and what it
//! must not.

use std::time::Duration;

use tidelog_format::location::Location;
use tidelog_metadata::keyspace::{KeyKind, Keyspace, MergedRow};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{
    Catalogue as _, Extent, Log as _, MergeError, MergeRun, MergeTask, MergedRun, Merges as _,
    NewTopic, SwapOutcome,
};
use tidelog_types::{
    BucketId, Incarnation, Offset, OffsetRange, PartitionIndex, SegmentName, SegmentSequence,
    TopicName, TopicNumber, TopicPartition,
};

use crate::manifests::{one, plain, segment};
use crate::transactions::{abort, inside, part};
use crate::world::{Process, World, partition, settings};

const JANITOR: Incarnation = Incarnation::new(77);

pub(crate) const fn merged(sequence: u64) -> SegmentName {
    SegmentName::new(JANITOR, SegmentSequence::new(sequence))
}

pub(crate) fn merging(merge: MergeSettings) -> SequencerSettings {
    SequencerSettings {
        merge,
        tail_kept: Duration::from_mins(10),
        ..settings(u32::MAX)
    }
}

/// Time passes on all clocks, a second at a time.
pub(crate) async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.jump_wall(1_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A merge, if there is one now.
pub(crate) async fn now(process: &Process) -> Option<MergeTask> {
    let next = tokio::time::timeout(Duration::from_millis(1), process.next());
    let task = next.await.ok()?;
    Some(task.expect("nothing fails"))
}

/// One extent for all of a run.
pub(crate) fn whole(bucket: BucketId, segment: SegmentName, run: &MergeRun) -> MergedRun {
    let length = |extent: &Extent| match extent.location {
        Location::Segment { length, .. } => length,
        _ => 78,
    };
    let times = run.extents.iter().map(|extent| extent.max_timestamp);
    MergedRun {
        partition: run.partition,
        extents: vec![Extent {
            offsets: run.offsets().expect("it has extents"),
            location: Location::Segment {
                bucket,
                segment,
                position: 40,
                length: run.extents.iter().map(length).sum(),
            },
            crc32c: None,
            max_timestamp: times.max().expect("it has extents"),
        }],
    }
}

pub(crate) async fn make(process: &Process, task: &MergeTask, sequence: u64) -> Vec<SwapOutcome> {
    let runs = task
        .runs
        .iter()
        .map(|run| whole(task.bucket, merged(sequence), run));
    let swapped = process
        .swap(task.id, merged(sequence), runs.collect())
        .await;
    let outcomes = swapped.expect("nothing fails");
    process.finish(task.id).await.expect("nothing fails");
    outcomes
}

fn merged_row(world: &World) -> Option<MergedRow> {
    let row = world.store.rows(KeyKind::Merged).pop();
    row.map(|(_, value)| MergedRow::decode(value).expect("a good row"))
}

#[tokio::test(start_paused = true)]
async fn it_is_time_to_merge_when_it_is_old_enough_and_in_pages_and_nobody_asks_in_between() {
    let world = World::with(merging(MergeSettings {
        age: Duration::from_mins(1),
        ..MergeSettings::default()
    }));
    let process = world.open().await;
    for sequence in 1..=3 {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        let draft = draft.slice(partition(1), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    assert_eq!(now(&process).await, None, "it is in no page");
    pass(&world, 30).await;
    assert_eq!(now(&process).await, None, "it is not old enough");
    let waits = tokio::spawn({
        let service = process.service.clone();
        async move { service.next().await }
    });
    pass(&world, 29).await;
    let commits = world.store.commits();
    assert!(!waits.is_finished());
    pass(&world, 3).await;
    let task = waits.await.expect("it ends").expect("nothing fails");
    assert_eq!(world.store.commits(), commits, "to ask changes nothing");
    assert_eq!(task.bytes, 3 * (72 + 71));
    let runs: Vec<_> = task
        .runs
        .iter()
        .map(|run| (run.partition, run.extents.len()))
        .collect();
    assert_eq!(runs, [(partition(0), 3), (partition(1), 3)]);
    assert_eq!(task.runs[0].topic_name.as_str(), "log");
    assert_eq!(task.runs[0].partition_count, 4);
    assert_eq!(make(&process, &task, 1).await, [SwapOutcome::Swapped; 2]);
    for process in [process, world.open().await] {
        let log = process.log_of(partition(0)).await;
        assert_eq!((log.len(), log[0].next, log[0].length), (1, 6, 216));
        assert_eq!(process.log_of(partition(1)).await.len(), 1);
        assert_eq!(now(&process).await, None);
    }
    assert_eq!(world.store.rows(KeyKind::Dying).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn as_much_as_a_segment_has_is_merged_at_once_and_cut_to_its_size() {
    let world = World::with(SequencerSettings {
        checkpoint_manifests: 14,
        ..merging(MergeSettings {
            bytes: 1_000,
            ..MergeSettings::default()
        })
    });
    let process = world.open().await;
    for sequence in 1..=14 {
        let draft = segment(sequence).slice(partition(0), &[plain(30)]);
        let draft = draft.slice(partition(1), &[plain(30)]);
        process.send_until_answered(&draft.done()).await;
    }
    pass(&world, 1).await;
    let mut runs = 0;
    for sequence in 1..=5 {
        let task = now(&process).await.expect("there is more");
        assert!(task.bytes <= 1_000, "{}", task.bytes);
        runs += task.runs.len();
        // The last one makes it known that all is merged.
        let row = merged_row(&world);
        assert_eq!(row, None);
        make(&process, &task, sequence).await;
    }
    assert_eq!(runs, 6, "runs are cut where segments are full");
    assert_eq!(merged_row(&world).map(|row| row.group.get()), Some(14));
    assert_eq!(now(&process).await, None);
    for index in 0..2 {
        let log = process.log_of(partition(index)).await;
        assert_eq!(log.last().map(|run| run.next), Some(420));
    }
}

#[tokio::test(start_paused = true)]
async fn one_segment_alone_is_left_as_it_is() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    process
        .send_until_answered(&one(1, partition(0), plain(1)))
        .await;
    pass(&world, 600).await;
    let commits = world.store.commits();
    assert_eq!(now(&process).await, None);
    pass(&world, 600).await;
    assert_eq!(world.store.commits(), commits);
    assert_eq!(merged_row(&world), None);
}

#[tokio::test(start_paused = true)]
async fn what_goes_at_other_times_is_not_in_one_segment() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    let configs: [&[(&str, &str)]; 3] = [
        &[("retention.ms", "3600000")],
        &[("retention.ms", "3700000")],
        &[("cleanup.policy", "compact")],
    ];
    for (index, config) in (0_u64..).zip(configs) {
        let pairs = config.iter();
        let pairs = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let topic = NewTopic {
            name: TopicName::new(&format!("other-{index}")).expect("a good name"),
            partitions: 1,
            config: pairs.collect(),
            validate_only: false,
        };
        process.create_topic(topic).await.expect("a new topic");
    }
    let of = |number| TopicPartition::new(TopicNumber::new(number), PartitionIndex::new(0));
    for sequence in 1..=2 {
        let drafts = (1..=4).fold(segment(sequence), |draft, number| {
            draft.slice(of(number), &[plain(1)])
        });
        process.send_until_answered(&drafts.done()).await;
    }
    pass(&world, 60).await;
    let mut together = Vec::new();
    for sequence in 1..=3 {
        let task = now(&process).await.expect("one for each class");
        let topics = task.runs.iter().map(|run| run.partition.topic.get());
        let mut topics: Vec<u64> = topics.collect();
        topics.sort_unstable();
        together.push(topics);
        make(&process, &task, sequence).await;
    }
    together.sort();
    assert_eq!(together, [vec![1], vec![2, 3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn markers_are_merged_with_what_they_end() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    let at = partition(0);
    process
        .send_until_answered(&part(1, at, inside(5, 0, 0, 3), 1))
        .await;
    let ended = process.end_transactions(vec![abort(at, 5, 1)]).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    process.send_until_answered(&one(2, at, plain(2))).await;
    pass(&world, 60).await;
    let task = now(&process).await.expect("a merge");
    assert_eq!(task.runs[0].extents.len(), 3);
    assert_eq!(task.bytes, 73 + 78 + 72);
    make(&process, &task, 1).await;
    let log = process.log_of(at).await;
    assert_eq!((log.len(), log[0].base, log[0].next), (1, 0, 6));
    assert_eq!(process.aborted_in(0, 0, 6).await, [(5, 0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_meanwhile_is_not_brought_back() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=4 {
        let draft = segment(sequence).slice(partition(0), &[plain(2)]);
        let draft = draft.slice(partition(1), &[plain(1)]);
        process.send_until_answered(&draft.done()).await;
    }
    pass(&world, 60).await;
    let task = now(&process).await.expect("a merge");
    for (index, before) in [(0, 5), (1, 4)] {
        let deleted = process.delete_records(partition(index), Offset::new(before));
        deleted.await.expect("the owner");
    }
    pass(&world, 30).await;
    let outcomes = make(&process, &task, 1).await;
    assert_eq!(outcomes, [SwapOutcome::Swapped, SwapOutcome::Changed]);
    let log = process.log_of(partition(0)).await;
    // It lies across the log start as a whole.
    assert_eq!((log.len(), log[0].base, log[0].next), (1, 0, 8));
    assert_eq!(process.log_of(partition(1)).await, []);
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_that_made_a_merge_up_knows_it_and_only_a_writer_that_lives_makes_it() {
    let world = World::with(merging(MergeSettings::default()));
    let first = world.open().await;
    for sequence in 1..=2 {
        first
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    pass(&world, 60).await;
    let task = now(&first).await.expect("a merge");
    let run = whole(task.bucket, merged(5), &task.runs[0]);
    first
        .raise_floor(JANITOR, SegmentSequence::new(6))
        .await
        .expect("no fault");
    let below = first.swap(task.id, merged(5), vec![run.clone()]).await;
    assert_eq!(below, Err(MergeError::BelowFloor(merged(5))));
    let second = world.open().await;
    let run = whole(task.bucket, merged(6), &task.runs[0]);
    for process in [&first, &second] {
        let gone = process.swap(task.id, merged(6), vec![run.clone()]).await;
        assert_eq!(gone, Err(MergeError::Gone));
        assert_eq!(process.finish(task.id).await, Err(MergeError::Gone));
    }
    assert_eq!(second.log_of(partition(0)).await.len(), 2);
    // Nothing was lost: the next owner gives it out again.
    let task = now(&second).await.expect("the same again");
    make(&second, &task, 7).await;
    assert_eq!(second.log_of(partition(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn extents_that_are_not_the_run_are_refused() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=3 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(2)))
            .await;
    }
    pass(&world, 60).await;
    let task = now(&process).await.expect("a merge");
    let good = whole(task.bucket, merged(1), &task.runs[0]);
    let with = |change: &dyn Fn(&mut Extent)| {
        let mut run = good.clone();
        change(&mut run.extents[0]);
        run
    };
    let offsets = |base, next| OffsetRange {
        base: Offset::new(base),
        next: Offset::new(next),
    };
    let elsewhere = MergedRun {
        partition: partition(3),
        ..good.clone()
    };
    let none = MergedRun {
        extents: Vec::new(),
        ..good.clone()
    };
    for wrong in [
        with(&|extent| extent.offsets = offsets(0, 5)),
        with(&|extent| extent.offsets = offsets(0, 7)),
        with(&|extent| extent.offsets = offsets(1, 6)),
        with(&|extent| extent.location = Location::Inline { row: 3 }),
        MergedRun {
            extents: whole(BucketId::new(1), merged(1), &task.runs[0]).extents,
            ..good.clone()
        },
        elsewhere,
        none,
    ] {
        let refused = process.swap(task.id, merged(1), vec![wrong.clone()]).await;
        assert!(
            matches!(refused, Err(MergeError::Malformed { .. })),
            "{wrong:?}: {refused:?}"
        );
    }
    let other = process.swap(task.id, merged(2), vec![good.clone()]).await;
    assert!(
        matches!(other, Err(MergeError::Malformed { .. })),
        "{other:?}"
    );
    let many = process.swap(task.id, merged(1), vec![good; 65]).await;
    assert!(
        matches!(many, Err(MergeError::Malformed { .. })),
        "{many:?}"
    );
    assert_eq!(process.log_of(partition(0)).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_nobody_makes_is_lent_again_some_times_and_then_left_be() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=2 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    pass(&world, 60).await;
    let first = now(&process).await.expect("a merge");
    // An hour, and the first time at which it would be lent after that.
    for _ in 0..19 {
        assert_eq!(now(&process).await, None, "somebody has it");
        pass(&world, 180).await;
        assert_eq!(now(&process).await, Some(first.clone()));
    }
    pass(&world, 180).await;
    assert_eq!(now(&process).await, None);
    assert_eq!(process.metric("merges_given_up_total"), 1);
    assert!(merged_row(&world).is_some(), "the rest goes on");
    assert_eq!(process.log_of(partition(0)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_merge_is_lent_to_nobody_else_as_long_as_it_is_kept() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=2 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    pass(&world, 60).await;
    let first = now(&process).await.expect("a merge");
    for _ in 0..20 {
        pass(&world, 25).await;
        process.keep(first.id).await.expect("it is kept");
        assert_eq!(now(&process).await, None, "somebody has it");
    }
    pass(&world, 31).await;
    assert_eq!(
        now(&process).await,
        Some(first.clone()),
        "who had it is gone"
    );
    make(&process, &first, 1).await;
    assert_eq!(process.keep(first.id).await, Err(MergeError::Gone));
}

#[tokio::test(start_paused = true)]
async fn merged_entries_of_the_tail_go_after_a_while_and_with_commits_only() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=3 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    pass(&world, 60).await;
    let task = now(&process).await.expect("a merge");
    make(&process, &task, 1).await;
    let tail = || world.store.rows(KeyKind::Tail);
    assert_eq!(tail().len(), 3);
    pass(&world, 700).await;
    assert_eq!(tail().len(), 3, "an idle shard does nothing");
    for sequence in 4..=5 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
        pass(&world, 1).await;
    }
    let groups = tail().into_iter();
    let groups: Vec<u64> = groups
        .map(|(key, _)| Keyspace::tail_group(&key).expect("a group").get())
        .collect();
    assert_eq!(groups, [4, 5]);
    pass(&world, 20).await;
    for process in [process, world.open().await] {
        assert_eq!(process.high_watermark(partition(0)).await, 5);
        assert_eq!(process.log_of(partition(0)).await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_tail_goes_in_steps() {
    let world = World::with(merging(MergeSettings::default()));
    let process = world.open().await;
    for sequence in 1..=1_200 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
    }
    pass(&world, 60).await;
    let task = now(&process).await.expect("a merge");
    make(&process, &task, 1).await;
    pass(&world, 700).await;
    let mut left = Vec::new();
    for sequence in 1_201..=1_210 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
        pass(&world, 1).await;
        left.push(world.store.rows(KeyKind::Tail).len());
    }
    left.dedup_by_key(|left| *left / 100);
    let left: Vec<usize> = left.iter().map(|left| left / 100).collect();
    assert_eq!(left, [7, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn all_that_an_owner_left_is_merged_by_the_next_one_without_commits() {
    let world = World::with(merging(MergeSettings {
        bytes: 1_000,
        ..MergeSettings::default()
    }));
    let first = world.open().await;
    for sequence in 1..=400 {
        first
            .send_until_answered(&one(sequence, partition(0), plain(30)))
            .await;
    }
    pass(&world, 20).await;
    let second = world.open().await;
    pass(&world, 60).await;
    let mut sequence = 0;
    while let Some(task) = now(&second).await {
        sequence += 1;
        make(&second, &task, sequence).await;
    }
    assert_eq!(merged_row(&world).map(|row| row.group.get()), Some(400));
    assert!(sequence > 32, "{sequence}: there was more than one window");
    assert_eq!(now(&first).await, None);
}
