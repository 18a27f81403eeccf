//! C5 and C6 for writers that live on: each says below which sequence it is done, its floor follows, and
//! its receipts go.

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{EndedWriterRow, FloorRow, KeyKind};
use tidelog_metadata_api::{CommitError, Log as _, ShardCommit};
use tidelog_types::{SegmentSequence, ShardId};

use crate::manifests::{accepted, only, plain, segment};
use crate::world::{Process, World, partition, settings};

/// Sequences that a floor rises by, and manifests between checkpoints.
const STEP: u64 = 100;
const CHECKPOINT: u32 = 50;
/// Commits that a writer has under way.
const IN_FLIGHT: u64 = 20;

fn world() -> World {
    World::with(SequencerSettings {
        floor_step: STEP,
        ..settings(CHECKPOINT)
    })
}

/// One record, from a writer that waits for the answers to its last commits only.
fn commit(sequence: u64) -> ShardCommit {
    segment(sequence)
        .slice(partition(0), &[plain(1)])
        .done_below(sequence.saturating_sub(IN_FLIGHT - 1))
        .done()
}

async fn live_through(process: &Process, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        process.send_until_answered(&commit(sequence)).await;
    }
}

fn receipts(world: &World) -> usize {
    world.store.rows(KeyKind::Receipt).len()
}

fn floor(world: &World) -> u64 {
    let mut rows = world.store.rows(KeyKind::Floor);
    assert!(rows.len() <= 1, "there is one writer");
    let floor = rows.pop().map(|(_, value)| FloorRow::decode(value));
    floor.map_or(0, |row| row.expect("a good row").floor.get())
}

#[tokio::test(start_paused = true)]
async fn receipts_of_a_writer_that_lives_stay_bounded_over_ten_thousand_commits() {
    let world = world();
    let process = world.open().await;
    // No multiple of the distance between checkpoints, so that each state between two of them comes up.
    for first in (1..=10_000).step_by(101) {
        let last = 10_000.min(first + 100);
        live_through(&process, first..=last).await;
        let held = receipts(&world);
        assert!(held <= 250, "{held} receipts after {last}");
    }
    assert_eq!(process.high_watermark(partition(0)).await, 10_000);
}

/// Nobody else has to be at work for it.
#[tokio::test(start_paused = true)]
async fn receipts_of_each_shard_go_with_its_own_traffic() {
    let mut world = world();
    world.shards = 4;
    let process = world.open().await;
    for sequence in 1..=2_000 {
        let mut commit = commit(sequence);
        commit.manifest.shard = ShardId::new(3);
        process.send_until_answered(&commit).await;
        let held = receipts(&world);
        assert!(held <= 250, "{held} receipts after {sequence}");
    }
    let deleted = process.metric("rows_deleted_total");
    assert_eq!(deleted, 2_000 - receipts(&world) as u64);
}

/// A checkpoint is under way or due after each group.
#[tokio::test(start_paused = true)]
async fn receipts_go_while_one_checkpoint_follows_the_other() {
    let world = World::with(SequencerSettings {
        floor_step: STEP,
        ..settings(1)
    });
    let process = world.open().await;
    for sequence in 1..=2_000 {
        process.send_until_answered(&commit(sequence)).await;
        let held = receipts(&world);
        assert!(held <= 250, "{held} receipts after {sequence}");
    }
}

/// Whoever looks for the orphans of a writer must know how far it came.
#[tokio::test(start_paused = true)]
async fn the_last_receipt_stays_until_the_writer_has_ended() {
    let world = world();
    let process = world.open().await;
    let old = process.register_writer().await.expect("the store answers");
    let alone = |sequence, writer| {
        let commit = segment(sequence).writer(writer);
        let commit = commit.slice(partition(0), &[plain(1)]);
        commit.done_below(sequence).done()
    };
    for sequence in 1..=1_000 {
        process.send_until_answered(&alone(sequence, old)).await;
    }
    assert!(receipts(&world) < 250);
    let process = world.open().await;
    let new = process.register_writer().await.expect("the store answers");
    for sequence in 1..=60 {
        process.send_until_answered(&alone(sequence, new)).await;
    }
    assert_eq!(receipts(&world), 60, "those of the new writer");
    let row = world.store.rows(KeyKind::EndedWriter).remove(0).1;
    let row = EndedWriterRow::decode(row).expect("a good row");
    assert_eq!(row.highest, SegmentSequence::new(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_floor_that_has_moved_leaves_the_receipts_of_what_is_not_done() {
    let world = world();
    let mut process = world.open().await;
    let last = 330;
    live_through(&process, 1..=last).await;
    assert!(floor(&world) > STEP, "it has moved");
    for takeover in 0..2 {
        let floor = floor(&world);
        assert!(floor <= last - (IN_FLIGHT - 1), "it is in flight");
        for sequence in 1..=last {
            let again = process.send(commit(sequence)).await;
            let context = format!("`{sequence}` over floor `{floor}`, takeover {takeover}");
            if sequence >= floor {
                assert_eq!(only(&again.expect(&context)), accepted(sequence - 1));
            } else {
                let floor = SegmentSequence::new(floor);
                let error = again.expect_err(&context);
                assert_eq!(error, CommitError::BelowFloor { floor }, "{context}");
            }
        }
        assert_eq!(process.high_watermark(partition(0)).await, last);
        process = world.open().await;
    }
}

/// A commit gets stuck with one owner, is answered by the next one, and comes once more when nothing is
/// left of it but the floor.
#[tokio::test(start_paused = true)]
async fn a_duplicate_that_was_paused_is_refused_below_the_floor_and_not_committed_twice() {
    let world = world();
    let old = world.open().await;
    live_through(&old, 1..=5).await;
    let hold = world.store.hold(KeyKind::Tail);
    let stuck = old.commit(vec![commit(6)]);
    hold.reached().await;
    let process = world.open_on(&world.store.sibling()).await;
    let answer = process.send(commit(6)).await.expect("the owner");
    assert_eq!(only(&answer), accepted(5));
    live_through(&process, 7..=300).await;
    assert!(floor(&world) > 6 && receipts(&world) < 250);
    drop(hold);
    assert_eq!(stuck.await[0].as_ref().err(), Some(&CommitError::NotOwner));
    let floor = SegmentSequence::new(floor(&world));
    let late = process.send(commit(6)).await.expect_err("it is done");
    assert_eq!(late, CommitError::BelowFloor { floor });
    assert_eq!(process.high_watermark(partition(0)).await, 300);
}

/// A writer that waits for one answer keeps its floor where it is, whatever it has committed since.
#[tokio::test(start_paused = true)]
async fn no_receipt_goes_while_its_commit_is_in_flight() {
    let world = world();
    let process = world.open().await;
    for sequence in (2..=600).chain([1]) {
        let commit = segment(sequence).slice(partition(0), &[plain(1)]);
        let commit = commit.done_below(1).done();
        process.send_until_answered(&commit).await;
    }
    assert_eq!((receipts(&world), floor(&world)), (600, 0));
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_what_its_writer_is_done_with_is_malformed_and_moves_no_floor() {
    let world = world();
    let process = world.open().await;
    live_through(&process, 1..=10).await;
    let own = segment(900).slice(partition(0), &[plain(1)]);
    let own = own.done_below(901).done();
    let earlier = segment(900).slice(partition(0), &[plain(1)]);
    let earlier = earlier.after(10).done_below(11).done();
    for wrong in [own, earlier] {
        let error = process
            .send(wrong)
            .await
            .expect_err("it contradicts itself");
        assert!(matches!(error, CommitError::Malformed { .. }), "{error:?}");
    }
    live_through(&process, 11..=90).await;
    assert_eq!((receipts(&world), floor(&world)), (90, 0));
}
