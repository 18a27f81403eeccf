//! Writers end one by one (rule C6): with their members, or when no member has been them for long.

use std::time::Duration;

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{Counter, EndedWriterRow, KeyKind, Keyspace, NumberRow};
use tidelog_metadata_api::{Cluster as _, CommitError, Log as _, Member, ShardCommit};
use tidelog_store::{ReadMode, Store as _};
use tidelog_types::{Incarnation, Role, SegmentSequence};

use super::nodes::{Node, id, member, world};
use crate::manifests::{accepted, only, plain, segment};
use crate::world::{World, partition, settings};

const GRACE: Duration = Duration::from_mins(10);

fn broker(number: u8, writer: Incarnation) -> Member {
    Member {
        incarnation: Some(writer),
        ..member(number, Role::Broker)
    }
}

fn commit(writer: Incarnation, sequence: u64) -> ShardCommit {
    let commit = segment(sequence).writer(writer);
    commit.slice(partition(0), &[plain(1)]).done()
}

async fn oldest_live(world: &World) -> u64 {
    let mut transaction = world.store.begin().await.expect("the store answers");
    let key = Keyspace::default().counter(Counter::OldestLiveIncarnation);
    let value = transaction.get(&key, ReadMode::Snapshot).await;
    let row = value.expect("the store answers").map(NumberRow::decode);
    row.map_or(0, |row| row.expect("a good row").0)
}

async fn assert_ended(node: &Node, writer: Incarnation) {
    let late = node.try_send(&commit(writer, 1_000)).await;
    assert_eq!(late.expect_err("it has ended"), CommitError::WriterEnded);
}

#[tokio::test(start_paused = true)]
async fn a_writer_ends_when_its_member_leaves_and_what_it_committed_stays_known() {
    let world = world(1, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let writer = node.register_writer().await.expect("the store answers");
    let membership = node.join(broker(9, writer)).await.expect("it is new");
    let answer = node.send_until_answered(&commit(writer, 1)).await;
    assert_eq!(only(&answer), accepted(0));
    membership.leave();
    node.until("it has gone", |view| view.member(id(9)).is_none())
        .await;
    assert_ended(&node, writer).await;
    let again = node.send_until_answered(&commit(writer, 1)).await;
    assert_eq!(only(&again), accepted(0));
    assert_eq!(node.process.high_watermark(partition(0)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_lost_may_come_back_for_ten_minutes() {
    let world = world(2, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let writer = node.register_writer().await.expect("the store answers");
    let membership = node.join(broker(9, writer)).await.expect("it is new");
    drop(membership);
    tokio::time::sleep(GRACE * 4 / 5).await;
    let membership = node.join(broker(9, writer)).await.expect("it is back");
    tokio::time::sleep(GRACE * 2).await;
    let answer = node.send_until_answered(&commit(writer, 1)).await;
    assert_eq!(only(&answer), accepted(0));
    drop(membership);
    tokio::time::sleep(GRACE + Duration::from_mins(2)).await;
    assert_ended(&node, writer).await;
}

/// One that registered and died before it joined, one that lives on, one that left: the oldest live one
/// goes up as far as it can, and what the ended ones left goes.
#[tokio::test(start_paused = true)]
async fn the_oldest_live_writer_goes_up_and_rows_of_those_below_go() {
    let world = world(3, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let mut writers = Vec::new();
    for _ in 0..4 {
        writers.push(node.register_writer().await.expect("the store answers"));
    }
    let [unborn, left, living, _unborn_too] = writers[..] else {
        panic!("four writers");
    };
    let stays = node.join(broker(8, living)).await.expect("it is new");
    let leaves = node.join(broker(9, left)).await.expect("it is new");
    for sequence in [3, 5] {
        node.send_until_answered(&commit(left, sequence)).await;
    }
    leaves.leave();
    tokio::time::sleep(GRACE / 2).await;
    assert_eq!(oldest_live(&world).await, 0, "the first may still join");
    tokio::time::sleep(GRACE).await;
    assert_eq!(oldest_live(&world).await, living.get());
    assert_ended(&node, unborn).await;
    assert_ended(&node, left).await;
    for sequence in 1..=120 {
        node.send_until_answered(&commit(living, sequence)).await;
    }
    let keys = world.store.rows(KeyKind::Receipt).into_iter();
    let writers = keys.map(|(key, _)| Keyspace::receipt_segment(&key).map(|name| name.incarnation));
    assert!(writers.into_iter().all(|writer| writer == Some(living)));
    let ended = world.store.rows(KeyKind::EndedWriter);
    assert_eq!(ended.len(), 1);
    let row = EndedWriterRow::decode(ended[0].1.clone()).expect("a good row");
    assert_eq!(row.highest, SegmentSequence::new(5));
    let floors = world.store.rows(KeyKind::Floor);
    assert_eq!(
        floors.len(),
        1,
        "that of the one above, which has ended too"
    );
    drop(stays);
    tokio::time::sleep(GRACE + Duration::from_mins(2)).await;
    assert_eq!(oldest_live(&world).await, 5);
}

/// Receipts of an ended writer go also while an older one lives, and its last sequence is kept.
#[tokio::test(start_paused = true)]
async fn receipts_of_an_ended_writer_go_before_the_oldest_live_one_passes_it() {
    let world = world(4, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let old = node.register_writer().await.expect("the store answers");
    let short = node.register_writer().await.expect("the store answers");
    let stays = node.join(broker(8, old)).await.expect("it is new");
    let leaves = node.join(broker(9, short)).await.expect("it is new");
    node.send_until_answered(&commit(short, 7)).await;
    leaves.leave();
    node.until("it has gone", |view| view.member(id(9)).is_none())
        .await;
    for sequence in 1..=120 {
        node.send_until_answered(&commit(old, sequence)).await;
    }
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 120);
    let ended = world.store.rows(KeyKind::EndedWriter);
    let row = EndedWriterRow::decode(ended[0].1.clone()).expect("a good row");
    assert_eq!(row.highest, SegmentSequence::new(7));
    assert_ended(&node, short).await;
    let late = node.try_send(&commit(short, 7)).await;
    assert_eq!(
        late.expect_err("its receipt went"),
        CommitError::WriterEnded
    );
    drop(stays);
}

/// On a store that one process has to itself it is the same, with members in memory.
#[tokio::test(start_paused = true)]
async fn writers_end_where_members_are_in_memory_too() {
    let world = World::with(SequencerSettings {
        is_only_process: false,
        ..settings(4)
    });
    let process = world.open().await;
    let left = process.register_writer().await.expect("the store answers");
    let unborn = process.register_writer().await.expect("the store answers");
    let living = process.register_writer().await.expect("the store answers");
    let leaves = process.join(broker(8, left)).await.expect("it is new");
    let stays = process.join(broker(9, living)).await.expect("it is new");
    leaves.leave();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = process.send(commit(left, 1)).await;
    assert_eq!(error.expect_err("it has left"), CommitError::WriterEnded);
    process.send_until_answered(&commit(unborn, 1)).await;
    tokio::time::sleep(GRACE + Duration::from_mins(2)).await;
    let error = process.send(commit(unborn, 2)).await;
    assert_eq!(error.expect_err("it is nobody"), CommitError::WriterEnded);
    assert_eq!(oldest_live(&world).await, living.get());
    process.send_until_answered(&commit(living, 1)).await;
    drop(stays);
}

/// Whoever writes and merges is two writers, which live and end together.
#[tokio::test(start_paused = true)]
async fn a_member_that_merges_is_two_writers() {
    let world = world(5, 1);
    let node = world.join(1).await;
    node.until_shared_by(&[id(1)]).await;
    let one = node.register_writer().await.expect("the store answers");
    let other = node.register_writer().await.expect("the store answers");
    let member = Member {
        merger: Some(other),
        ..broker(9, one)
    };
    let membership = node.join(member).await.expect("it is new");
    tokio::time::sleep(GRACE * 2).await;
    for writer in [one, other] {
        node.send_until_answered(&commit(writer, 1)).await;
    }
    membership.leave();
    node.until("it has gone", |view| view.member(id(9)).is_none())
        .await;
    for writer in [one, other] {
        assert_ended(&node, writer).await;
    }
}

/// The same, with members in memory.
#[tokio::test(start_paused = true)]
async fn a_member_in_memory_that_merges_is_two_writers() {
    let world = World::with(SequencerSettings {
        is_only_process: false,
        ..settings(4)
    });
    let process = world.open().await;
    let one = process.register_writer().await.expect("the store answers");
    let other = process.register_writer().await.expect("the store answers");
    let member = Member {
        merger: Some(other),
        ..broker(9, one)
    };
    let membership = process.join(member).await.expect("it is new");
    tokio::time::sleep(GRACE * 2).await;
    for writer in [one, other] {
        process.send_until_answered(&commit(writer, 1)).await;
    }
    membership.leave();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for writer in [one, other] {
        let error = process.send(commit(writer, 2)).await;
        assert_eq!(error.expect_err("it has left"), CommitError::WriterEnded);
    }
}

/// Whoever sweeps has seen nobody under an incarnation for ten minutes and is about to end it, when a member
/// joins elsewhere that is it: what holds is what the store says when it is ended.
#[tokio::test(start_paused = true)]
async fn a_writer_that_joins_at_the_last_moment_is_not_ended() {
    let world = world(5, 1);
    let sweeper = world.join(1).await;
    sweeper.until_shared_by(&[id(1)]).await;
    let other = world.join(2).await;
    let writer = sweeper.register_writer().await.expect("it answers");
    let hold = sweeper.store.hold(KeyKind::Floor);
    hold.reached().await;
    let stays = other.join(broker(9, writer)).await.expect("it is new");
    drop(hold);
    tokio::time::sleep(GRACE * 2).await;
    sweeper.send_until_answered(&commit(writer, 1)).await;
    assert!(world.store.rows(KeyKind::Floor).is_empty());
    drop(stays);
    tokio::time::sleep(GRACE + Duration::from_mins(2)).await;
    assert_ended(&sweeper, writer).await;
}

/// A process that stood still, or whose store did, has not seen a writer missing meanwhile: the writer may have
/// tried to come back all the time.
#[tokio::test(start_paused = true)]
async fn time_that_was_slept_through_ends_no_writer() {
    let world = world(6, 1);
    let sleeper = world.join(1).await;
    sleeper.until_shared_by(&[id(1)]).await;
    let writer = sleeper.register_writer().await.expect("it answers");
    tokio::time::sleep(GRACE / 2).await;
    sleeper.store.freeze();
    tokio::time::sleep(GRACE * 3).await;
    sleeper.store.thaw();
    tokio::time::sleep(GRACE * 4 / 5).await;
    sleeper.send_until_answered(&commit(writer, 1)).await;
    tokio::time::sleep(GRACE / 5 + Duration::from_mins(2)).await;
    assert_ended(&sleeper, writer).await;
}

/// Also where members are in memory: they are lost while the process stands still, and have time to come back.
#[tokio::test(start_paused = true)]
async fn time_that_was_slept_through_ends_no_writer_in_memory_either() {
    let world = World::with(SequencerSettings {
        is_only_process: false,
        ..settings(4)
    });
    let process = world.open().await;
    let writer = process.register_writer().await.expect("it answers");
    tokio::time::sleep(GRACE / 2).await;
    world.store.freeze();
    tokio::time::sleep(GRACE * 3).await;
    world.store.thaw();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stays = process.join(broker(9, writer)).await.expect("it is back");
    tokio::time::sleep(GRACE * 2).await;
    process.send_until_answered(&commit(writer, 1)).await;
    drop(stays);
}
