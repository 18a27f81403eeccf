//! Rows that nobody needs any more are deleted by and by, and no others.

use std::time::Duration;

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{EndedWriterRow, KeyKind, Keyspace};
use tidelog_metadata_api::{CommitError, Log as _};
use tidelog_types::{Incarnation, SegmentSequence};

use crate::manifests::{accepted, one, only, plain, segment, sent};
use crate::world::{Process, World, partition, settings};

/// Groups enough for a checkpoint and all steps after it.
async fn some_traffic(process: &Process, first: u64, writer: Incarnation) {
    for sequence in first..first + 20 {
        let commit = segment(sequence).writer(writer);
        let commit = commit.slice(partition(3), &[plain(1)]).done();
        process.send_until_answered(&commit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn receipts_and_floors_of_ended_writers_go_and_their_last_sequence_stays() {
    let world = World::with(settings(4));
    let first = world.open().await;
    let old = first.register_writer().await.expect("the store answers");
    some_traffic(&first, 1, old).await;
    let floor = SegmentSequence::new(3);
    first.raise_floor(old, floor).await.expect("durable");
    some_traffic(&first, 30, old).await;
    let receipts = world.store.rows(KeyKind::Receipt).len();
    assert_eq!(receipts, 38, "those below the floor of a live writer go");
    let live_bytes = world.store.rows(KeyKind::LiveBytes).len();

    let process = world.open().await;
    let new = process.register_writer().await.expect("the store answers");
    // Only traffic makes it work.
    tokio::time::advance(Duration::from_hours(1)).await;
    process.latest(partition(0)).await.expect("the owner");
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), receipts);
    some_traffic(&process, 1, new).await;
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 20);
    assert!(world.store.rows(KeyKind::Floor).is_empty());
    assert_eq!(process.metric("rows_deleted_total"), 38 + 1);
    let rows = world.store.rows(KeyKind::EndedWriter);
    assert_eq!(rows.len(), 1);
    let row = EndedWriterRow::decode(rows[0].1.clone()).expect("good");
    assert_eq!(row.highest, SegmentSequence::new(49));
    assert_eq!(rows[0].0, Keyspace::default().ended_writer(old));
    assert_eq!(
        world.store.rows(KeyKind::LiveBytes).len(),
        live_bytes + 20,
        "the janitor needs them to find the segments"
    );
    // Neither what was committed nor what never was can be committed under an old name (rule C5).
    for sequence in [5, 49, 1_000] {
        let late = segment(sequence).writer(old);
        let late = late.slice(partition(3), &[plain(1)]).done();
        let error = process.send(late).await.expect_err("its writer has ended");
        assert_eq!(error, CommitError::WriterEnded);
        assert!(!error.may_ask_again());
    }
    assert_eq!(process.high_watermark(partition(3)).await, 60);
}

#[tokio::test(start_paused = true)]
async fn writers_of_other_processes_live_on_where_there_are_several() {
    let world = World::with(SequencerSettings {
        is_only_process: false,
        ..settings(4)
    });
    let first = world.open().await;
    let old = first.register_writer().await.expect("the store answers");
    some_traffic(&first, 1, old).await;
    let process = world.open().await;
    some_traffic(&process, 21, old).await;
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 40);
    let again = segment(3).writer(old);
    let again = again.slice(partition(3), &[plain(1)]).done();
    let answer = process.send(again).await.expect("it has a receipt");
    assert_eq!(only(&answer), accepted(2));
}

/// More receipts than one transaction deletes: the rest goes after the next groups, and a process that
/// ends in the middle leaves work that the next one finds.
#[tokio::test(start_paused = true)]
async fn deletion_is_bounded_and_goes_on_where_it_was() {
    let world = World::with(settings(100));
    let first = world.open().await;
    let old = first.register_writer().await.expect("the store answers");
    for sequence in 1..=2_500 {
        let commit = segment(sequence).writer(old);
        let commit = commit.slice(partition(0), &[plain(1)]).done();
        first.send_until_answered(&commit).await;
    }
    let mut process = world.open().await;
    let (mut seen, mut has_ended) = (Vec::new(), false);
    for sequence in 1..=220 {
        process
            .send_until_answered(&one(sequence, partition(0), plain(1)))
            .await;
        let keys = world.store.rows(KeyKind::Receipt).into_iter();
        let of_old = keys.filter(|(key, _)| {
            let segment = Keyspace::receipt_segment(key).expect("a receipt's key");
            segment.incarnation == old
        });
        seen.push(of_old.count());
        if seen.last() == Some(&1_484) && !has_ended {
            has_ended = true;
            process = world.open().await;
        }
    }
    seen.dedup();
    assert_eq!(seen, [2_500, 2_484, 1_484, 1_468, 468, 0]);
    let row = world.store.rows(KeyKind::EndedWriter).remove(0).1;
    let row = EndedWriterRow::decode(row).expect("a good row");
    assert_eq!(row.highest, SegmentSequence::new(2_500));
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_deletes_nothing_and_writes_nothing() {
    let world = World::with(settings(4));
    let first = world.open().await;
    let old = first.register_writer().await.expect("the store answers");
    some_traffic(&first, 1, old).await;
    let store = world.store.sibling();
    let process = world.open_on(&store).await;
    let commits = store.commits();
    tokio::time::advance(Duration::from_hours(100)).await;
    process.bounds_of(partition(3)).await;
    assert_eq!(store.commits(), commits);
    let answer = process.send(one(1, partition(0), sent(1, 0, 1))).await;
    assert!(answer.is_ok());
    assert_eq!(store.commits(), commits + 1);
    // The checkpoint comes by time, and nothing after it.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.rows(KeyKind::Receipt).len(), 21);
    assert_eq!(store.commits(), commits + 2);
}
