//! The rows of aborted transactions: they go with the log that they are about, and a backup has exactly those that
//! belong to it.

use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::{KeyKind, Keyspace};
use tidelog_metadata_api::Log as _;
use tidelog_types::Offset;

use super::{Sender, abort, inside};
use crate::manifests::plain;
use crate::world::{Process, World, partition, settings};

const HOUR_MILLIS: i64 = 60 * 60 * 1_000;

/// Aborts so many transactions of one record: each begins at an even offset, and its marker follows.
async fn abort_some(process: &Process, sender: &mut Sender, index: u32, count: u64) {
    for number in 1..=count {
        let sequence = i32::try_from(number - 1).expect("small");
        let batch = inside(1, 0, sequence, 1);
        sender.send(process, index, batch, Some(number)).await;
        assert_eq!(
            process.end(abort(partition(index), 1, number)).await,
            Ok(())
        );
    }
}

/// Groups enough for checkpoints and the steps after them.
async fn some_traffic(process: &Process, sender: &mut Sender) {
    for _ in 0..60 {
        sender.send(process, 3, plain(1), None).await;
    }
}

fn markers(world: &World, index: u32) -> Vec<u64> {
    let rows = world.store.rows(KeyKind::Aborted).into_iter();
    let of = rows.filter(|(key, _)| Keyspace::partition_of(key) == Some(partition(index)));
    of.map(|(key, _)| Keyspace::aborted_marker(&key).expect("a key").get())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn aborted_transactions_below_the_log_start_are_deleted_and_others_stay() {
    let world = World::with(SequencerSettings {
        partitions_in_memory: 0,
        ..settings(4)
    });
    let process = world.open().await;
    let mut sender = Sender::default();
    for (index, count) in [(0, 10), (1, 5), (2, 8)] {
        abort_some(&process, &mut sender, index, count).await;
    }
    for (index, before) in [(0, 8), (2, 16)] {
        let deleted = process
            .delete_records(partition(index), Offset::new(before))
            .await;
        deleted.expect("the owner");
    }
    world.clock.jump_wall(HOUR_MILLIS);
    some_traffic(&process, &mut sender).await;
    assert_eq!(markers(&world, 0), [9, 11, 13, 15, 17, 19]);
    assert_eq!(markers(&world, 1), [1, 3, 5, 7, 9]);
    assert!(markers(&world, 2).is_empty());
    // One that begins below the log start and ends above it is still needed.
    let deleted = process.delete_records(partition(0), Offset::new(11)).await;
    deleted.expect("the owner");
    world.clock.jump_wall(HOUR_MILLIS);
    some_traffic(&process, &mut sender).await;
    assert_eq!(
        process.aborted_in(0, 11, 13).await,
        [(1, 10, 11), (1, 12, 13)]
    );
    assert_eq!(markers(&world, 0), [11, 13, 15, 17, 19]);
}

/// More partitions and rows than one step looks at.
#[tokio::test(start_paused = true)]
async fn what_one_step_leaves_the_next_one_deletes() {
    let world = World::with(settings(40));
    let process = world.open().await;
    let mut sender = Sender::default();
    for round in 0..3_u64 {
        let ids = 0..900_i64;
        let batches: Vec<_> = ids
            .clone()
            .map(|id| inside(id, 0, i32::try_from(round).expect("small"), 1))
            .collect();
        let mut draft = crate::manifests::segment(1_000 + round).slice(partition(0), &batches);
        for batch in 0..900 {
            draft = draft.condition(0, batch, super::of(round + 1));
        }
        process.send_until_answered(&draft.done()).await;
        let ends = ids.map(|id| abort(partition(0), id, round + 1)).collect();
        let outcomes = process.end_transactions(ends).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(world.store.rows(KeyKind::Aborted).len(), 2_700);
    let deleted = process
        .delete_records(partition(0), Offset::new(5_399))
        .await;
    deleted.expect("the owner");
    world.clock.jump_wall(HOUR_MILLIS);
    for _ in 0..2 {
        some_traffic(&process, &mut sender).await;
    }
    assert_eq!(markers(&world, 0), [5_399]);
}
