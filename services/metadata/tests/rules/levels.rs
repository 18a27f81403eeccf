//! What is merged and small is merged again, and what is quiet keeps nothing that is not needed.

use std::time::Duration;

use tidelog_format::location::Location;
use tidelog_metadata::keyspace::{FloorRow, KeyKind};
use tidelog_metadata::{MergeSettings, SequencerSettings};
use tidelog_metadata_api::{Log as _, MergeError, MergeTask, Merges as _, SwapOutcome};
use tidelog_types::{Offset, SegmentSequence};

use crate::manifests::{one, plain, segment};
use crate::merge::{make, merged, merging, now, pass, whole};
use crate::world::{Process, World, partition, settings};

fn leveled() -> SequencerSettings {
    merging(MergeSettings {
        growth: 4,
        again_age: Duration::from_mins(30),
        ..MergeSettings::default()
    })
}

/// Two segments in each window, of two partitions, and what comes of them is merged.
async fn windows(world: &World, process: &Process, windows: std::ops::RangeInclusive<u64>) {
    for window in windows {
        for sequence in [2 * window, 2 * window + 1] {
            let draft = segment(sequence).slice(partition(0), &[plain(2)]);
            let draft = draft.slice(partition(1), &[plain(1)]);
            process.send_until_answered(&draft.done()).await;
        }
        pass(world, 60).await;
        let task = now(process).await.expect("the tail is merged");
        assert!(!is_again(&task));
        make(process, &task, window).await;
    }
}

fn is_again(task: &MergeTask) -> bool {
    let of_janitor = |location: &Location| matches!(location, Location::Segment { segment, .. } if segment.incarnation == merged(1).incarnation);
    let extents = task.runs.iter().flat_map(|run| &run.extents);
    extents
        .into_iter()
        .any(|extent| of_janitor(&extent.location))
}

fn sizes(task: &MergeTask) -> Vec<usize> {
    task.runs.iter().map(|run| run.extents.len()).collect()
}

#[tokio::test(start_paused = true)]
async fn merged_extents_become_larger_ones_when_they_are_enough_and_after_a_while() {
    let world = World::with(leveled());
    let process = world.open().await;
    windows(&world, &process, 1..=3).await;
    pass(&world, 3_600).await;
    assert_eq!(
        now(&process).await,
        None,
        "three are not four times as large"
    );
    windows(&world, &process, 4..=5).await;
    assert_eq!(now(&process).await, None, "it waits for others");
    let commits = world.store.commits();
    pass(&world, 1_700).await;
    assert_eq!(now(&process).await, None);
    pass(&world, 120).await;
    let task = now(&process).await.expect("a merge");
    assert!(is_again(&task));
    assert_eq!(sizes(&task), [5, 5]);
    assert_eq!(task.bytes, 10 * (72 + 71));
    assert_eq!(world.store.commits(), commits, "to ask changes nothing");
    assert_eq!(make(&process, &task, 10).await, [SwapOutcome::Swapped; 2]);
    for process in [process, world.open().await] {
        let log = process.log_of(partition(0)).await;
        assert_eq!((log.len(), log[0].next, log[0].sequence), (1, 20, 10));
        pass(&world, 7_200).await;
        assert_eq!(now(&process).await, None);
    }
    // All that was merged before is dead, and what it was made of.
    assert_eq!(world.store.rows(KeyKind::Dying).len(), 10 + 5);
}

#[tokio::test(start_paused = true)]
async fn as_much_as_a_segment_has_is_merged_again_at_once_and_the_tail_before_it() {
    let mut settings = leveled();
    settings.merge.bytes = 1_200;
    let world = World::with(settings);
    let process = world.open().await;
    windows(&world, &process, 1..=4).await;
    for sequence in [100, 101] {
        let sent = one(sequence, partition(2), plain(5));
        process.send_until_answered(&sent).await;
    }
    let task = now(&process).await;
    assert_eq!(task, None, "there is not enough of it");
    windows(&world, &process, 5..=5).await;
    // More of the tail comes while it is lent, and is lent before the rest.
    let first = now(&process).await.expect("there is enough");
    assert!(is_again(&first));
    for sequence in [102, 103] {
        let sent = one(sequence, partition(2), plain(5));
        process.send_until_answered(&sent).await;
    }
    for _ in 0..3 {
        pass(&world, 20).await;
        process.keep(first.id).await.expect("somebody is at it");
    }
    let second = now(&process).await.expect("of the tail");
    assert!(!is_again(&second));
    let third = now(&process).await.expect("the rest");
    assert!(is_again(&third));
    make(&process, &first, 20).await;
    make(&process, &second, 21).await;
    make(&process, &third, 22).await;
    let log = process.log_of(partition(0)).await;
    assert_eq!(log.len(), 1);
    assert_eq!(process.log_of(partition(2)).await.len(), 2);
    assert_eq!(now(&process).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_sees_it_with_the_next_swap_and_knows_nothing_of_what_was_lent() {
    let world = World::with(leveled());
    let first = world.open().await;
    windows(&world, &first, 1..=4).await;
    pass(&world, 1_800).await;
    let lent = now(&first).await.expect("a merge");
    let second = world.open().await;
    let run = whole(lent.bucket, merged(50), &lent.runs[0]);
    let gone = second.swap(lent.id, merged(50), vec![run]).await;
    assert_eq!(gone, Err(MergeError::Gone));
    pass(&world, 7_200).await;
    assert_eq!(now(&second).await, None, "nobody looks for it");
    windows(&world, &second, 5..=5).await;
    pass(&world, 1_800).await;
    let task = now(&second).await.expect("a merge");
    assert_eq!(sizes(&task), [5, 5]);
    // What goes meanwhile is not brought back, and the rest is merged.
    let deleted = second.delete_records(partition(1), Offset::new(10)).await;
    deleted.expect("the owner");
    pass(&world, 30).await;
    let outcomes = make(&second, &task, 51).await;
    assert_eq!(outcomes, [SwapOutcome::Swapped, SwapOutcome::Changed]);
    assert_eq!(second.log_of(partition(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_merged_again_where_it_is_off_or_nothing_at_all_is_merged() {
    let mut settings = leveled();
    settings.merge.growth = 0;
    let world = World::with(settings);
    let process = world.open().await;
    windows(&world, &process, 1..=12).await;
    pass(&world, 7_200).await;
    assert_eq!(now(&process).await, None);
    assert_eq!(process.log_of(partition(0)).await.len(), 12);
}

// ----- floors of quiet writers ----------------------------------------------------------------------

fn floor(world: &World) -> Option<u64> {
    let row = world.store.rows(KeyKind::Floor).pop();
    row.map(|(_, value)| FloorRow::decode(value).expect("a good row").floor.get())
}

#[tokio::test(start_paused = true)]
async fn the_floor_of_a_quiet_writer_goes_up_once_and_takes_its_receipts() {
    let world = World::with(settings(u32::MAX));
    let process = world.open().await;
    for sequence in 1..=20 {
        let draft = segment(sequence).slice(partition(0), &[plain(1)]);
        let sent = draft.done_below(sequence - 1).done();
        process.send_until_answered(&sent).await;
    }
    pass(&world, 590).await;
    assert_eq!(floor(&world), None, "each rise lets groups conflict");
    let commits = world.store.commits();
    pass(&world, 20).await;
    assert_eq!(floor(&world), Some(19));
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 2);
    assert_eq!(world.store.commits(), commits + 2);
    pass(&world, 7_200).await;
    assert_eq!(world.store.commits(), commits + 2, "nothing else is due");
    // What it says next takes as long again.
    let sent = segment(21).slice(partition(0), &[plain(1)]);
    process
        .send_until_answered(&sent.done_below(21).done())
        .await;
    pass(&world, 500).await;
    assert_eq!(floor(&world), Some(19));
    pass(&world, 110).await;
    assert_eq!(floor(&world), Some(21));
    let raised = process.raise_floor(crate::manifests::WRITER, SegmentSequence::new(20));
    raised.await.expect("it is no error");
    assert_eq!(floor(&world), Some(21), "it never goes down");
}
