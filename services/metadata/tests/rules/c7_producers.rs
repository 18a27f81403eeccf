//! C7: producer state is checked and written in the transaction that gives out the offsets, and
//! outlives restarts, checkpoints and memory.

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::Log as _;
use tidelog_types::{ErrorCode, ProducerEpoch};

use crate::manifests::{
    accepted, at_epoch, duplicate, one, only, out_of_order, plain, refused, segment, sent,
};
use crate::world::{Process, World, partition, settings};

fn fenced(current: i16) -> Outcome {
    let detail = RefusalDetail::ProducerEpoch(ProducerEpoch::new(current));
    refused(ErrorCode::ProducerFenced, detail)
}

const UNKNOWN: Outcome = refused(ErrorCode::UnknownProducer, RefusalDetail::None);

/// Batches in order, and what becomes of each. Producer 1 sends six batches of two records.
fn table() -> Vec<(BatchEntry, Outcome)> {
    let mut table: Vec<_> = (0..6_i32)
        .map(|n| {
            let offset = u64::from(n.unsigned_abs()) * 2;
            (sent(1, n * 2, 2), accepted(offset))
        })
        .collect();
    // Each of the last five is a duplicate, the one before is out of order.
    table.extend((1..6_i32).map(|n| {
        let offset = u64::from(n.unsigned_abs()) * 2;
        (sent(1, n * 2, 2), duplicate(offset))
    }));
    table.extend([
        (sent(1, 0, 2), out_of_order(12)),
        // A gap, and batches that only overlap a known one.
        (sent(1, 13, 1), out_of_order(12)),
        (sent(1, 10, 1), out_of_order(12)),
        (sent(1, 11, 2), out_of_order(12)),
        // Another producer, unknown unless it begins at 0.
        (sent(2, 5, 1), UNKNOWN),
        (sent(2, 0, 1), accepted(12)),
        (sent(2, 0, 1), duplicate(12)),
        // A new epoch begins at 0 and fences the old one.
        (at_epoch(1, 1, 12, 1), out_of_order(0)),
        (at_epoch(1, 1, 0, 1), accepted(13)),
        (sent(1, 12, 1), fenced(1)),
        (sent(1, 10, 2), fenced(1)),
        (at_epoch(1, 1, 0, 1), duplicate(13)),
        (at_epoch(1, 1, 1, 1), accepted(14)),
    ]);
    table
}

#[tokio::test(start_paused = true)]
async fn the_table_of_verdicts_holds_across_groups_within_one_and_within_one_slice() {
    let expected: Vec<Outcome> = table().into_iter().map(|(_, outcome)| outcome).collect();

    let (_, process) = World::opened().await;
    for (sequence, (batch, outcome)) in (1..).zip(table()) {
        let answer = process.send(one(sequence, partition(0), batch)).await;
        assert_eq!(only(&answer.expect("the owner")), outcome, "{batch:?}");
    }

    let (_, process) = World::opened().await;
    let commits = (1..)
        .zip(table())
        .map(|(sequence, (batch, _))| one(sequence, partition(0), batch))
        .collect();
    let answers = process.commit(commits).await.into_iter();
    let got: Vec<_> = answers
        .map(|answer| only(&answer.expect("the owner")))
        .collect();
    assert_eq!(got, expected);

    let (_, process) = World::opened().await;
    let batches: Vec<_> = table().into_iter().map(|(batch, _)| batch).collect();
    let whole = segment(1).slice(partition(0), &batches).done();
    let answer = process.send(whole).await.expect("the owner");
    assert_eq!(answer.outcomes, expected);
}

/// Restarts after every batch, with and without checkpoints, and with memory for no producer.
#[tokio::test(start_paused = true)]
async fn the_table_of_verdicts_holds_over_a_restart_after_every_batch() {
    let forgetful = SequencerSettings {
        producers_in_memory: 0,
        ..settings(1)
    };
    for settings in [settings(u32::MAX), settings(1), settings(4), forgetful] {
        let world = World::with(settings);
        for (sequence, (batch, outcome)) in (1..).zip(table()) {
            let process = world.open().await;
            let answer = process.send(one(sequence, partition(0), batch)).await;
            let context = format!("{batch:?} with {settings:?}");
            assert_eq!(only(&answer.expect("the owner")), outcome, "{context}");
            process.latest(partition(0)).await.expect("the owner");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn producers_that_left_memory_after_a_checkpoint_are_known_when_they_come_back() {
    let world = World::with(SequencerSettings {
        producers_in_memory: 3,
        ..settings(2)
    });
    let process = world.open().await;
    let mut sequence = 0;
    for round in 0..6_i32 {
        for producer in 1..=10 {
            sequence += 1;
            let answer = process
                .send(one(sequence, partition(0), sent(producer, round, 1)))
                .await;
            assert_eq!(only(&answer.expect("the owner")), accepted(sequence - 1));
        }
    }
    for producer in 1..=10_u64 {
        sequence += 1;
        let batch = sent(i64::try_from(producer).expect("small"), 5, 1);
        let answer = process.send(one(sequence, partition(0), batch)).await;
        let first = duplicate(50 + producer - 1);
        assert_eq!(only(&answer.expect("the owner")), first);
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_its_own_in_each_partition() {
    let (_, process) = World::opened().await;
    let commit = segment(1)
        .slice(partition(0), &[sent(1, 0, 1), sent(1, 1, 1)])
        .slice(partition(1), &[sent(1, 1, 1), sent(1, 0, 1)])
        .done();
    let answer = process.send(commit).await.expect("the owner");
    let expected = [accepted(0), accepted(1), UNKNOWN, accepted(0)];
    assert_eq!(answer.outcomes, expected);
}

#[tokio::test(start_paused = true)]
async fn sequences_wrap_to_zero_after_the_largest() {
    let (world, process) = World::opened().await;
    // A batch may span the wrap; it begins at the largest sequence, so the next begins at 1.
    let to_largest = sent(1, 0, i32::MAX.unsigned_abs());
    let across = sent(1, i32::MAX, 2);
    for (sequence, batch) in [(1, to_largest), (2, across)] {
        let answer = process.send(one(sequence, partition(0), batch)).await;
        assert!(matches!(
            only(&answer.expect("the owner")),
            Outcome::Accepted { .. }
        ));
    }
    let process_after = world.open_on(&world.store.sibling()).await;
    let expected = i32::MAX.unsigned_abs().into();
    let verdicts = [
        (sent(1, 0, 1), out_of_order(1)),
        (sent(1, i32::MAX, 2), duplicate(expected)),
        (sent(1, 1, 1), accepted(expected + 2)),
    ];
    for (sequence, (batch, outcome)) in (3..).zip(verdicts) {
        let answer = process_after.send(one(sequence, partition(0), batch)).await;
        assert_eq!(only(&answer.expect("the owner")), outcome, "{batch:?}");
    }
}

/// The scar: a sequence that is committed before its records makes a retry look like a success.
#[tokio::test(start_paused = true)]
async fn a_batch_whose_group_never_landed_is_no_duplicate() {
    use tidelog_store::memory::{CommitFault, Landing};
    let (world, process) = World::opened().await;
    world
        .store
        .fail(KeyKind::Tail, CommitFault::Unknown(Landing::Never));
    let hold = world.store.hold(KeyKind::Lease);
    let lost = process.commit(vec![one(1, partition(0), sent(1, 0, 1))]);
    hold.reached().await;
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert!(lost.await[0].is_err());
    // The client sends it again, in another segment.
    let answer = new.send(one(2, partition(0), sent(1, 0, 1))).await;
    assert_eq!(only(&answer.expect("the owner")), accepted(0));
    let ids = [process_id(&new).await, process_id(&new).await];
    assert_ne!(ids[0], ids[1]);
}

async fn process_id(process: &Process) -> i64 {
    let identity = process.init_producer().await.expect("the store answers");
    assert_eq!(identity.epoch, ProducerEpoch::new(0));
    identity.id.get()
}

#[tokio::test(start_paused = true)]
async fn producer_ids_and_incarnations_are_never_given_out_twice() {
    let world = World::new();
    let (mut ids, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let process = world.open().await;
        for _ in 0..1_001 {
            ids.push(process_id(&process).await);
        }
        writers.push(process.register_writer().await.expect("the store answers"));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(writers.is_sorted_by(|a, b| a < b));
    assert!(ids[0] >= 0, "idempotent producers have ids from 0");
}

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// As Kafka forgets a producer after `producer.id.expiration.ms`: its retry is no duplicate any more,
/// and it goes on with the sequence that it is at.
#[tokio::test(start_paused = true)]
async fn a_producer_is_forgotten_a_day_after_its_last_batch() {
    for (settings, restarts) in [
        (settings(u32::MAX), false),
        (settings(u32::MAX), true),
        (settings(1), true),
    ] {
        let world = World::with(settings);
        let mut process = world.open().await;
        let mut send = 0;
        let table = [
            (0, sent(1, 0, 1), accepted(0)),
            (0, sent(2, 0, 1), accepted(1)),
            (DAY_MILLIS - 1, sent(1, 0, 1), duplicate(0)),
            (0, sent(1, 1, 1), accepted(2)),
            (0, sent(2, 7, 1), out_of_order(1)),
            // The first has sent a moment ago, the second is as old as is needed.
            (1, sent(2, 0, 1), accepted(3)),
            (0, sent(1, 2, 1), accepted(4)),
            (DAY_MILLIS, sent(2, 57, 2), accepted(5)),
            (0, sent(2, 57, 2), duplicate(5)),
            (0, sent(2, 0, 1), out_of_order(59)),
            (0, sent(2, 59, 1), accepted(7)),
            (0, sent(1, 3, 1), accepted(8)),
        ];
        for (later, batch, outcome) in table {
            world.clock.jump_wall(later);
            send += 1;
            let answer = process.send(one(send, partition(0), batch)).await;
            let context = format!("{send}: {batch:?}, restarts {restarts}");
            assert_eq!(only(&answer.expect("the owner")), outcome, "{context}");
            if restarts {
                process.latest(partition(0)).await.expect("the owner");
                process = world.open().await;
            }
        }
    }
}

/// What the partition cannot have forgotten it never knew: the batches in front are still on their way.
#[tokio::test(start_paused = true)]
async fn a_producer_that_is_new_to_a_young_partition_starts_at_zero() {
    let (world, process) = World::opened().await;
    let unknown = refused(ErrorCode::UnknownProducer, RefusalDetail::None);
    let answer = process.send(one(1, partition(0), sent(1, 5, 1))).await;
    assert_eq!(only(&answer.expect("the owner")), unknown);
    let answer = process.send(one(2, partition(0), plain(1))).await;
    assert_eq!(only(&answer.expect("the owner")), accepted(0));
    for (later, outcome) in [(DAY_MILLIS - 1, unknown), (1, accepted(1))] {
        world.clock.jump_wall(later);
        let sequence = 3 + u64::try_from(later).expect("positive");
        let answer = process.send(one(sequence, partition(0), sent(1, 5, 1)));
        assert_eq!(only(&answer.await.expect("the owner")), outcome, "{later}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_of_expired_producers_are_deleted_and_those_of_others_stay() {
    let world = World::with(settings(2));
    let process = world.open().await;
    for producer in 1..=10_u64 {
        let batch = sent(producer.cast_signed(), 0, 1);
        process
            .send_until_answered(&one(producer, partition(0), batch))
            .await;
    }
    process.latest(partition(0)).await.expect("the owner");
    assert_eq!(world.store.rows(KeyKind::Producer).len(), 10);
    world.clock.jump_wall(DAY_MILLIS);
    for sequence in 11..30 {
        let batch = match sequence {
            11 => sent(3, 0, 1),
            _ => plain(1),
        };
        process
            .send_until_answered(&one(sequence, partition(0), batch))
            .await;
    }
    assert_eq!(world.store.rows(KeyKind::Producer).len(), 1);
    let again = process.send(one(40, partition(0), sent(3, 0, 1))).await;
    assert_eq!(only(&again.expect("the owner")), duplicate(10));
}
