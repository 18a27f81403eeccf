//! Everything about transactions outlives its owner, wherever the checkpoint stands.

use std::time::Duration;

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{ActiveProducer, Log as _};
use tidelog_types::Offset;

use super::{Sender, abort, commit, inside, with_epoch};
use crate::manifests::{accepted, plain, sent};
use crate::store::CUT_OFF;
use crate::world::{Process, Run, World, partition, settings};

type Everything = (
    Vec<(u64, u64, u64, u64)>,
    Vec<Vec<Run>>,
    Vec<(i64, u64, u64)>,
    Vec<ActiveProducer>,
);

async fn everything(process: &Process) -> Everything {
    let (mut bounds, mut logs) = (Vec::new(), Vec::new());
    for index in 0..3 {
        bounds.push(process.all_bounds(index).await);
        logs.push(process.log_of(partition(index)).await);
    }
    let stable = bounds[0].1;
    let aborted = process.aborted_in(0, 0, stable).await;
    let producers = process.producers(partition(0)).await.expect("the owner");
    (bounds, logs, aborted, producers)
}

/// Begins, goes on with and ends transactions of several producers in three partitions.
async fn work(process: &Process, sender: &mut Sender) {
    for number in 1..=7_u64 {
        let sequence = i32::try_from(number - 1).expect("small") * 2;
        for index in 0..3 {
            for producer in [1, 2] {
                for more in 0..2 {
                    let batch = inside(producer, 0, sequence + more, 1);
                    let got = sender.send(process, index, batch, Some(number)).await;
                    assert!(matches!(
                        got,
                        tidelog_format::manifest::Outcome::Accepted { .. }
                    ));
                }
            }
        }
        if number == 7 {
            break;
        }
        let markers = (0..3).flat_map(|index| {
            let at = partition(index);
            [abort(at, 1, number), commit(at, 2, number)]
        });
        let outcomes = process.end_transactions(markers.collect()).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
    // One of the two goes on open, the other has ended in one partition only.
    assert_eq!(
        process.end(with_epoch(abort(partition(1), 1, 7), 1)).await,
        Ok(())
    );
    sender.send(process, 0, sent(3, 0, 1), None).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_the_same_answers_wherever_the_checkpoint_stands() {
    let forgetful = SequencerSettings {
        producers_in_memory: 0,
        partitions_in_memory: 0,
        extent_bytes: 0,
        ..settings(2)
    };
    for settings in [settings(u32::MAX), settings(1), settings(5), forgetful] {
        let world = World::with(settings);
        let process = world.open().await;
        let mut sender = Sender::default();
        work(&process, &mut sender).await;
        let before = everything(&process).await;
        assert_eq!(before.0[0], (0, 36, 41, 35));
        assert_eq!(before.2.len(), 6);
        for restart in 0..3 {
            let process = world.open().await;
            let context = format!("restart {restart} with {settings:?}");
            assert_eq!(everything(&process).await, before, "{context}");
        }
        let process = world.open().await;
        let goes_on = sender.send(&process, 0, inside(1, 0, 14, 1), Some(7)).await;
        assert_eq!(goes_on, accepted(41));
        for producer in [1, 2] {
            assert_eq!(process.end(commit(partition(0), producer, 7)).await, Ok(()));
        }
        assert_eq!(process.all_bounds(0).await, (0, 44, 44, 35));
    }
}

/// Rows of one step of a checkpoint are there and those of the next are not: each says how far it goes.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_was_cut_off_is_completed_by_the_tail() {
    for fault in CUT_OFF {
        for kind in [KeyKind::Partition, KeyKind::Checkpoint, KeyKind::Producer] {
            let world = World::new();
            let process = world.open().await;
            let mut sender = Sender::default();
            work(&process, &mut sender).await;
            tokio::time::advance(Duration::from_secs(11)).await;
            process.latest(partition(0)).await.expect("the owner");
            for producer in [1, 2] {
                assert_eq!(process.end(commit(partition(2), producer, 7)).await, Ok(()));
            }
            sender.send(&process, 0, inside(5, 0, 0, 1), Some(1)).await;
            world.store.fail(kind, fault);
            tokio::time::advance(Duration::from_secs(11)).await;
            process.latest(partition(0)).await.expect("the owner");
            let before = everything(&process).await;
            let new = world.open_on(&world.store.sibling()).await;
            assert_eq!(everything(&new).await, before, "{fault:?} of {kind:?}");
        }
    }
}

/// The row of a partition may be newer than that of a producer in it, and the other way round.
#[tokio::test(start_paused = true)]
async fn what_is_open_is_in_both_rows_whichever_is_newer() {
    let world = World::with(settings(1));
    let process = world.open().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, inside(1, 0, 0, 2), Some(1)).await;
    process.latest(partition(0)).await.expect("the owner");
    let old = world.store.memory.dump();
    assert_eq!(process.end(abort(partition(0), 1, 1)).await, Ok(()));
    sender.send(&process, 0, inside(1, 0, 2, 1), Some(2)).await;
    process.latest(partition(0)).await.expect("the owner");
    let before = everything(&process).await;
    let new = world.store.memory.dump();
    // The rows of the later checkpoint, but for one kind and the checkpoint itself.
    let keys = tidelog_metadata::keyspace::Keyspace::default();
    for kind in [KeyKind::Partition, KeyKind::Producer] {
        let is_old = |key: &bytes::Bytes| {
            keys.all(kind).contains(key) || keys.all(KeyKind::Checkpoint).contains(key)
        };
        let kept = new.iter().filter(|(key, _)| !is_old(key));
        let rows = kept.chain(old.iter().filter(|(key, _)| is_old(key)));
        let rows: Vec<_> = rows.cloned().collect();
        let store = tidelog_store::memory::MemoryStore::with_rows(
            tidelog_store::memory::MemoryOptions::default(),
            rows,
        );
        let process = World::on(store).open().await;
        assert_eq!(everything(&process).await, before, "old {kind:?}");
    }
}

/// Old extents are in pages, markers among them.
#[tokio::test(start_paused = true)]
async fn markers_are_in_pages() {
    let world = World::with(SequencerSettings {
        extent_bytes: 0,
        ..settings(4)
    });
    let process = world.open().await;
    let mut sender = Sender::default();
    let mut expected = 0;
    for number in 1..=300_u64 {
        let sequence = i32::try_from(number - 1).expect("small");
        sender
            .send(&process, 0, inside(1, 0, sequence, 1), Some(number))
            .await;
        let decision = if number % 3 == 0 { abort } else { commit };
        assert_eq!(process.end(decision(partition(0), 1, number)).await, Ok(()));
        expected += 2;
    }
    let log = process.log_of(partition(0)).await;
    assert_eq!(log.len(), expected);
    let markers = log.iter().filter(|run| run.position == u32::MAX);
    let aborts = markers.clone().filter(|run| run.length == 0);
    assert_eq!((markers.count(), aborts.count()), (300, 100));
    assert!(process.metric("history_reads_total") > 0);
    assert_eq!(world.open().await.log_of(partition(0)).await, log);
}

/// The log start goes up over a beginning and over a marker.
#[tokio::test(start_paused = true)]
async fn a_restart_knows_transactions_whose_beginning_is_deleted() {
    for settings in [settings(u32::MAX), settings(1)] {
        let world = World::with(settings);
        let process = world.open().await;
        let mut sender = Sender::default();
        sender.send(&process, 0, inside(1, 0, 0, 4), Some(1)).await;
        sender.send(&process, 0, plain(4), None).await;
        let deleted = process.delete_records(partition(0), Offset::new(2)).await;
        deleted.expect("the owner");
        assert_eq!(process.all_bounds(0).await, (2, 2, 8, 0));
        let process = world.open().await;
        assert_eq!(process.all_bounds(0).await, (2, 2, 8, 0));
        assert_eq!(process.end(abort(partition(0), 1, 1)).await, Ok(()));
        assert_eq!(process.aborted_in(0, 2, 9).await, [(1, 0, 8)]);
        let process = world.open().await;
        assert_eq!(process.all_bounds(0).await, (2, 9, 9, 9));
        assert_eq!(process.aborted_in(0, 2, 9).await, [(1, 0, 8)]);
    }
}
