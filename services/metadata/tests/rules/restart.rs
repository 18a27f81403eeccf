//! What a process knows it knows again after a restart, whatever part of it a checkpoint had reached.

use std::time::Duration;

use bytes::Bytes;
use tidelog_format::manifest::RefusalDetail;
use tidelog_metadata::keyspace::{CheckpointRow, KeyKind, Keyspace, PartitionRow, ProducerRow};
use tidelog_metadata::{OpenError, SequencerSettings};
use tidelog_metadata_api::{
    Log as _, LookupRequest, OffsetAnswer, OffsetQuery, PartitionBounds, TransactionNumber,
};
use tidelog_store::memory::{MemoryOptions, MemoryStore};
use tidelog_types::{ErrorCode, GroupNumber, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::manifests::{
    accepted, at_epoch, duplicate, expect_token, one, only, out_of_order, plain, refused, segment,
    sent, token,
};
use crate::store::CUT_OFF;
use crate::world::{PARTITIONS, Process, Run, SHARD, World, partition, settings};

/// Everything that can be asked of the log.
async fn everything(process: &Process) -> Vec<(PartitionBounds, Vec<Run>, Vec<OffsetAnswer>)> {
    let mut all = Vec::new();
    for index in 0..PARTITIONS {
        let mut answers = Vec::new();
        for query in [
            OffsetQuery::Earliest,
            OffsetQuery::Latest,
            OffsetQuery::LastStable,
            OffsetQuery::MaxTimestamp,
            OffsetQuery::AtTime(Timestamp::from_millis(150)),
            OffsetQuery::AtTime(Timestamp::from_millis(900)),
        ] {
            answers.push(process.offset(partition(index), query).await.expect("ok"));
        }
        let bounds = process.bounds_of(partition(index)).await;
        all.push((bounds, process.log_of(partition(index)).await, answers));
    }
    all
}

async fn work(process: &Process) {
    for sequence in 1..=9_u64 {
        let first = i32::try_from(sequence).expect("small") * 2 - 2;
        let commit = segment(sequence)
            .slice(partition(0), &[plain(3)])
            .slice(
                partition(1),
                &[
                    sent(5, first, 1),
                    sent(6, first + 1, 1),
                    sent(5, first + 1, 1),
                ],
            )
            .done();
        process.send_until_answered(&commit).await;
        if sequence == 4 {
            let deleted = process.delete_records(partition(0), Offset::new(7)).await;
            deleted.expect("the owner");
            let set = process.set_fencing_token(partition(1), None, token("mine"));
            set.await.expect("the owner");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_the_same_answers_wherever_the_checkpoint_stands() {
    let forgetful = SequencerSettings {
        producers_in_memory: 0,
        ..settings(2)
    };
    for settings in [settings(u32::MAX), settings(1), settings(4), forgetful] {
        let world = World::with(settings);
        let process = world.open().await;
        work(&process).await;
        let before = everything(&process).await;
        for restart in 0..3 {
            let process = world.open().await;
            let context = format!("restart {restart} with {settings:?}");
            assert_eq!(everything(&process).await, before, "{context}");
        }
        let process = world.open().await;
        let commit = segment(50)
            .slice(
                partition(1),
                &[sent(5, 17, 1), sent(5, 19, 1), sent(5, 18, 1), plain(1)],
            )
            .condition(0, 2, expect_token("mine"))
            .done();
        let outcomes = process.send_until_answered(&commit).await.outcomes;
        let expected = [duplicate(17), out_of_order(18), accepted(18), accepted(19)];
        assert_eq!(outcomes, expected, "{settings:?}");
    }
}

/// More producers than one step of a checkpoint writes.
const MANY: i64 = 4_500;
const CHUNK: i64 = 1_500;

async fn send_many(process: &Process, segments: u64, sequence: i32) {
    for (number, first) in (segments..).zip((1..=MANY).step_by(1_500)) {
        let batches: Vec<_> = (first..first + CHUNK)
            .map(|producer| sent(producer, sequence, 1))
            .collect();
        let commit = segment(number).slice(partition(0), &batches).done();
        process.send_until_answered(&commit).await;
    }
}

/// A pass of several steps, with a group between two of them, that is cut off before its end.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_was_cut_off_is_completed_by_the_tail() {
    for fault in CUT_OFF {
        let world = World::new();
        let process = world.open().await;
        send_many(&process, 1, 0).await;
        // The time of the checkpoint comes; while its first step is on its way a group gathers.
        let hold = world.store.hold(KeyKind::Producer);
        tokio::time::advance(Duration::from_secs(11)).await;
        hold.reached().await;
        let between = process.commit(vec![one(70, partition(0), sent(1, 1, 1))]);
        drop(hold);
        let last = world.store.hold(KeyKind::Checkpoint);
        let answer = between.await.pop().expect("one").expect("the owner");
        let next = u64::try_from(MANY).expect("positive");
        assert_eq!(only(&answer), accepted(next), "{fault:?}");
        last.reached().await;
        assert!(
            world.store.rows(KeyKind::Producer).len() > 1_000,
            "{fault:?}"
        );
        world.store.fail(KeyKind::Checkpoint, fault);
        let new = world.open_on(&world.store.sibling()).await;
        drop(last);
        assert_eq!(
            new.high_watermark(partition(0)).await,
            next + 1,
            "{fault:?}"
        );
        // Some of each step.
        for producer in (1..=MANY).step_by(45) {
            let batch = sent(producer, i32::from(producer == 1), 1);
            let sequence = 100 + u64::try_from(producer).expect("positive");
            let answer = new
                .send_until_answered(&one(sequence, partition(0), batch))
                .await;
            let offset = if producer == 1 { next } else { sequence - 101 };
            assert_eq!(only(&answer), duplicate(offset), "{fault:?}");
        }
    }
}

/// A row that a checkpoint wrote is believed; only what is later is replayed over it. Shown by rows that
/// say something else than the tail.
#[tokio::test(start_paused = true)]
async fn the_tail_changes_only_rows_that_are_older() {
    let world = World::new();
    let process = world.open().await;
    process
        .send_until_answered(&one(1, partition(0), plain(5)))
        .await;
    process
        .send_until_answered(&one(2, partition(1), plain(5)))
        .await;
    tokio::time::advance(Duration::from_secs(11)).await;
    process.latest(partition(0)).await.expect("the owner");
    process
        .send_until_answered(&one(3, partition(1), plain(5)))
        .await;
    assert_eq!(world.store.rows(KeyKind::Checkpoint).len(), 1);
    let keys = Keyspace::default();
    let rows = world.store.memory.dump().into_iter().map(|(key, value)| {
        if key != keys.partition(partition(0)) && key != keys.partition(partition(1)) {
            return (key, value);
        }
        let row = PartitionRow::decode(value).expect("a good row");
        let next = Offset::new(1_000);
        (key, PartitionRow { next, ..row }.encode())
    });
    let other = World::on(MemoryStore::with_rows(MemoryOptions::default(), rows));
    let process = other.open().await;
    assert_eq!(process.high_watermark(partition(0)).await, 1_000);
    assert_eq!(process.high_watermark(partition(1)).await, 1_000);
    let answers = process
        .commit(vec![
            one(7, partition(0), plain(1)),
            one(8, partition(1), plain(1)),
            one(9, partition(2), plain(1)),
        ])
        .await;
    for (answer, offset) in answers.iter().zip([1_000, 1_000, 0]) {
        assert_eq!(only(answer.as_ref().expect("the owner")), accepted(offset));
    }
}

/// The same for what a replay could change: a row that is newer than the tail's groups, of a checkpoint
/// that was cut off, keeps its token and its producers.
#[tokio::test(start_paused = true)]
async fn rows_newer_than_the_tail_are_left_as_they_are() {
    let world = World::new();
    let process = world.open().await;
    process
        .send_until_answered(&one(1, partition(0), sent(5, 0, 1)))
        .await;
    let set = process.set_fencing_token(partition(0), None, token("tail"));
    set.await.expect("the owner");
    let keys = Keyspace::default();
    let producer = ProducerId::new(5);
    let partition_row = PartitionRow {
        as_of: GroupNumber::new(2),
        next: Offset::new(1),
        log_start: Offset::ZERO,
        fencing_token: token("row"),
        ..PartitionRow::default()
    };
    let producer_row = ProducerRow {
        as_of: GroupNumber::new(2),
        epoch: ProducerEpoch::new(3),
        last_used: Timestamp::from_millis(1),
        batches: Vec::new(),
        ended: TransactionNumber(0),
        coordinator_epoch: None,
        open: None,
    };
    let mut rows = world.store.memory.dump();
    rows.push((keys.partition(partition(0)), partition_row.encode()));
    rows.push((keys.producer(partition(0), producer), producer_row.encode()));
    let other = World::on(MemoryStore::with_rows(MemoryOptions::default(), rows));
    let process = other.open().await;
    let commit = segment(9)
        .slice(
            partition(0),
            &[plain(1), sent(5, 1, 1), at_epoch(5, 3, 0, 1)],
        )
        .condition(0, 0, expect_token("row"))
        .done();
    let outcomes = process.send_until_answered(&commit).await.outcomes;
    let current = RefusalDetail::ProducerEpoch(ProducerEpoch::new(3));
    let fenced = refused(ErrorCode::ProducerFenced, current);
    assert_eq!(outcomes, [accepted(1), fenced, accepted(2)]);
}

/// What has changed since a pass began is in no row yet, so it stays in memory when the pass ends.
#[tokio::test(start_paused = true)]
async fn a_producer_that_changed_during_a_checkpoint_stays_in_memory() {
    let world = World::with(SequencerSettings {
        producers_in_memory: 0,
        ..settings(u32::MAX)
    });
    let process = world.open().await;
    send_many(&process, 1, 0).await;
    let hold = world.store.hold(KeyKind::Producer);
    tokio::time::advance(Duration::from_secs(11)).await;
    hold.reached().await;
    let batches: Vec<_> = (1..=CHUNK).map(|producer| sent(producer, 1, 1)).collect();
    let between = segment(70).slice(partition(0), &batches).done();
    let answer = process.commit(vec![between]);
    drop(hold);
    assert!(answer.await[0].is_ok());
    // A step goes between two groups, so the pass has ended after some.
    for sequence in 71..80 {
        process
            .send_until_answered(&one(sequence, partition(1), plain(1)))
            .await;
    }
    assert_eq!(world.store.rows(KeyKind::Checkpoint).len(), 1);
    let again = segment(90).slice(partition(0), &batches).done();
    let outcomes = process.send_until_answered(&again).await.outcomes;
    for (offset, outcome) in (MANY.unsigned_abs()..).zip(outcomes) {
        assert_eq!(outcome, duplicate(offset));
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_row_is_an_error_and_never_a_panic() {
    let world = World::with(settings(2));
    let process = world.open().await;
    work(&process).await;
    process.latest(partition(0)).await.expect("the owner");
    let rows = world.store.memory.dump();
    let checkpoint = world.store.rows(KeyKind::Checkpoint).remove(0).1;
    let checkpoint = CheckpointRow::decode(checkpoint).expect("a good row");
    let later = Keyspace::default().tail_after(SHARD, checkpoint.group);
    assert!(rows.iter().any(|(key, _)| later.contains(key)));
    for at in 0..rows.len() {
        let mut damaged = rows.clone();
        let value = damaged[at].1.clone();
        let kind = damaged[at].0[4];
        for bad in [
            value.slice(..value.len().saturating_sub(1)),
            Bytes::from_static(&[0xff; 40]),
        ] {
            damaged[at].1 = bad;
            let store = MemoryStore::with_rows(MemoryOptions::default(), damaged.clone());
            let other = World::on(store);
            let opened = other.try_open_on(&other.store).await;
            let is_needed = [KeyKind::Cluster, KeyKind::Lease, KeyKind::Checkpoint]
                .iter()
                .any(|needed| *needed as u8 == kind)
                || later.contains(&damaged[at].0);
            match opened {
                Err(error) => assert!(matches!(error, OpenError::Row(_)), "{error:?}"),
                Ok(process) => {
                    assert!(!is_needed, "row {at} is needed to open");
                    let _ = process.send(one(90, partition(1), sent(5, 18, 1))).await;
                    let _ = process.latest(partition(1)).await;
                    for index in 0..PARTITIONS {
                        let request = LookupRequest {
                            partition: partition(index),
                            offset: Offset::new(8),
                            bytes_max: u64::MAX,
                            extents_max: 100,
                        };
                        let _ = process.lookup(request).await;
                    }
                    let failed = process.env.supervisor.failed();
                    let mut failed = Box::pin(failed);
                    assert!(futures::poll!(&mut failed).is_pending(), "row {at}");
                }
            }
        }
    }
}
