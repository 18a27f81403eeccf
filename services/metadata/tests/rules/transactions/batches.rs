//! Which batches are taken: the number of the transaction that a batch names is judged with its producer.

use tidelog_format::manifest::{BatchEntry, Outcome, RefusalDetail};
use tidelog_metadata::SequencerSettings;
use tidelog_metadata_api::{Log as _, TransactionMarker};
use tidelog_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::{INVALID, Sender, abort, commit, inside, of, part, with_epoch};
use crate::manifests::{
    accepted, at_epoch, duplicate, expect_next, out_of_order, plain, refused, segment, sent,
    wrong_offset,
};
use crate::world::{World, partition, settings};

/// What happens in a partition.
#[derive(Clone, Copy, Debug)]
enum Event {
    Batch(BatchEntry, Option<u64>, fn() -> Outcome),
    Marker(TransactionMarker),
}

fn fenced() -> Outcome {
    let detail = RefusalDetail::ProducerEpoch(ProducerEpoch::new(1));
    refused(ErrorCode::ProducerFenced, detail)
}

/// A batch and the transaction that it names, and what becomes of it.
fn batch(batch: BatchEntry, number: Option<u64>, outcome: fn() -> Outcome) -> Event {
    Event::Batch(batch, number, outcome)
}

fn history() -> Vec<Event> {
    let at = partition(0);
    vec![
        // Nobody has said which transaction it is, or it is none.
        batch(inside(1, 0, 0, 2), None, || INVALID),
        batch(sent(1, 0, 2), Some(1), || INVALID),
        batch(plain(1), Some(1), || INVALID),
        batch(inside(1, 0, 0, 2), Some(0), || INVALID),
        // A transaction begins and goes on.
        batch(inside(1, 0, 0, 2), Some(3), || accepted(0)),
        batch(inside(1, 0, 2, 1), Some(3), || accepted(2)),
        batch(inside(1, 0, 0, 2), Some(3), || duplicate(0)),
        batch(inside(1, 0, 7, 1), Some(3), || out_of_order(3)),
        // While it is open nothing else of its producer is taken.
        batch(inside(1, 0, 3, 1), Some(4), || INVALID),
        batch(inside(1, 0, 3, 1), Some(2), || INVALID),
        batch(sent(1, 3, 1), None, || INVALID),
        batch(at_epoch(1, 1, 0, 1), None, || INVALID),
        batch(inside(1, 1, 0, 1), Some(3), || INVALID),
        // Others are not touched.
        batch(sent(2, 0, 1), None, || accepted(3)),
        batch(inside(3, 0, 0, 1), Some(1), || accepted(4)),
        Event::Marker(commit(at, 1, 3)),
        // What comes too late hears so, unless it was taken before or comes of a fenced producer.
        batch(inside(1, 0, 3, 1), Some(3), || INVALID),
        batch(inside(1, 0, 9, 1), Some(3), || INVALID),
        batch(inside(1, 0, 2, 1), Some(3), || duplicate(2)),
        batch(inside(1, 0, 3, 1), Some(2), || INVALID),
        // The epoch is the same, so sequences go on.
        batch(inside(1, 0, 0, 1), Some(4), || out_of_order(3)),
        batch(inside(1, 0, 3, 1), Some(4), || accepted(6)),
        Event::Marker(with_epoch(abort(at, 1, 4), 1)),
        // A marker of a newer epoch fences, and sequences begin anew.
        batch(inside(1, 0, 4, 1), Some(5), fenced),
        batch(inside(1, 0, 3, 1), Some(4), fenced),
        batch(inside(1, 1, 4, 1), Some(5), || out_of_order(0)),
        batch(inside(1, 1, 0, 1), Some(5), || accepted(8)),
        Event::Marker(with_epoch(commit(at, 1, 5), 1)),
        // Outside of a transaction it goes on as any other.
        batch(at_epoch(1, 1, 1, 1), None, || accepted(10)),
        batch(inside(1, 1, 2, 1), Some(6), || accepted(11)),
        batch(inside(3, 0, 1, 1), Some(1), || accepted(12)),
    ]
}

/// In one process; with a restart after every event, with and without checkpoints, and with memory for nothing.
#[tokio::test(start_paused = true)]
async fn the_table_of_verdicts_holds_whatever_is_in_memory() {
    let forgetful = SequencerSettings {
        producers_in_memory: 0,
        partitions_in_memory: 0,
        extent_bytes: 0,
        ..settings(1)
    };
    for (settings, restarts) in [
        (settings(u32::MAX), false),
        (settings(u32::MAX), true),
        (settings(1), true),
        (settings(3), true),
        (forgetful, false),
        (forgetful, true),
    ] {
        let world = World::with(settings);
        let mut process = world.open().await;
        let mut sender = Sender::default();
        for (at, event) in history().into_iter().enumerate() {
            let context = format!("{at}: {event:?} with {settings:?}, restarts {restarts}");
            match event {
                Event::Batch(batch, number, outcome) => {
                    let got = sender.send(&process, 0, batch, number).await;
                    assert_eq!(got, outcome(), "{context}");
                }
                Event::Marker(marker) => {
                    assert_eq!(process.end(marker).await, Ok(()), "{context}");
                }
            }
            if restarts {
                process.latest(partition(0)).await.expect("the owner");
                process = world.open().await;
            }
        }
        assert_eq!(process.all_bounds(0).await, (0, 4, 13, 8));
    }
}

/// Within one manifest each batch sees what those before it have begun.
#[tokio::test(start_paused = true)]
async fn batches_of_one_manifest_begin_transactions_and_go_on_with_them() {
    let (world, process) = World::opened().await;
    let whole = segment(1)
        .slice(
            partition(0),
            &[
                inside(1, 0, 0, 1),
                inside(1, 0, 1, 1),
                inside(1, 0, 2, 1),
                plain(1),
                inside(2, 0, 0, 1),
            ],
        )
        .slice(partition(1), &[inside(1, 0, 0, 3)])
        .condition(0, 0, of(1))
        .condition(0, 1, of(1))
        .condition(0, 2, of(2))
        .condition(0, 4, of(1))
        .condition(1, 0, of(1))
        .done();
    let answer = process.send_until_answered(&whole).await;
    let taken = [
        accepted(0),
        accepted(1),
        INVALID,
        accepted(2),
        accepted(3),
        accepted(0),
    ];
    assert_eq!(answer.outcomes, taken);
    for _ in 0..2 {
        assert_eq!(process.all_bounds(0).await, (0, 0, 4, 0));
        assert_eq!(process.all_bounds(1).await, (0, 0, 3, 0));
        world.open().await;
    }
    let process = world.open().await;
    assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
    assert_eq!(process.all_bounds(0).await, (0, 3, 5, 0));
}

/// C8 comes after the check of the transaction, and its failure begins none.
#[tokio::test(start_paused = true)]
async fn a_batch_whose_condition_fails_begins_no_transaction() {
    let (_, process) = World::opened().await;
    let mut asked = expect_next(9);
    asked.transaction = of(1).transaction;
    let refused = segment(1).slice(partition(0), &[inside(1, 0, 0, 1)]);
    let refused = refused.condition(0, 0, asked).done();
    let answer = process.send_until_answered(&refused).await;
    assert_eq!(answer.outcomes, [wrong_offset(0)]);
    let mut sender = Sender::new(1);
    let other = sender.send(&process, 0, inside(1, 0, 0, 1), Some(2)).await;
    assert_eq!(other, accepted(0));
}

/// What was pipelined behind a batch that came too late fails too.
#[tokio::test(start_paused = true)]
async fn what_is_sent_behind_a_batch_that_is_too_late_fails_with_it() {
    let (_, process) = World::opened().await;
    assert_eq!(process.end(abort(partition(0), 1, 1)).await, Ok(()));
    let late = segment(1)
        .slice(partition(0), &[inside(1, 0, 0, 1), plain(1)])
        .condition(0, 0, of(1))
        .order(0, 0, 7)
        .order(0, 1, 7)
        .done();
    let answer = process.send_until_answered(&late).await;
    assert_eq!(answer.outcomes, [INVALID, INVALID]);
}

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test(start_paused = true)]
async fn a_producer_with_an_open_transaction_is_never_forgotten() {
    for restarts in [false, true] {
        let world = World::with(settings(2));
        let mut process = world.open().await;
        let mut sender = Sender::default();
        let first = sender.send(&process, 0, inside(1, 0, 0, 1), Some(1)).await;
        assert_eq!(first, accepted(0));
        for day in 1..=5 {
            world.clock.jump_wall(DAY_MILLIS);
            // Traffic lets checkpoints and the search for expired producers go on.
            for _ in 0..20 {
                sender.send(&process, 0, plain(1), None).await;
            }
            if restarts {
                process = world.open().await;
            }
            let again = sender.send(&process, 0, inside(1, 0, 0, 1), Some(1)).await;
            assert_eq!(again, duplicate(0), "day {day}");
            assert_eq!(process.all_bounds(0).await.1, 0);
        }
        assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
        assert_eq!(process.all_bounds(0).await.1, 102);
        world.clock.jump_wall(DAY_MILLIS - 1);
        let late = sender.send(&process, 0, inside(1, 0, 1, 1), Some(1)).await;
        assert_eq!(late, INVALID, "the marker was a moment ago");
        world.clock.jump_wall(1);
        let shown = process.producers(partition(0)).await.expect("the owner");
        assert_eq!(shown.len(), 0, "it has expired");
    }
}

/// Also of rows that nobody has deleted yet.
#[tokio::test(start_paused = true)]
async fn a_producer_that_has_expired_is_not_shown_unless_it_has_a_transaction_open() {
    let world = World::with(settings(1));
    let process = world.open().await;
    let mut sender = Sender::default();
    sender.send(&process, 0, sent(1, 0, 1), None).await;
    sender.send(&process, 0, inside(2, 0, 0, 1), Some(1)).await;
    sender.send(&process, 1, plain(1), None).await;
    process.latest(partition(0)).await.expect("the owner");
    let process = world.open().await;
    let ids = async || {
        let shown = process.producers(partition(0)).await.expect("the owner");
        let ids = shown.iter().map(|it| it.producer.id.get());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [1, 2]);
    world.clock.jump_wall(DAY_MILLIS);
    assert_eq!(ids().await, [2]);
}

/// A partition has so many open transactions at most; what comes on top of them may be tried again.
#[tokio::test(start_paused = true)]
async fn a_partition_takes_so_many_open_transactions_and_more_when_some_have_ended() {
    let world = World::with(settings(2));
    let process = world.open().await;
    let mut segments = 0;
    for chunk in (0..4_000_i64).collect::<Vec<_>>().chunks(500) {
        segments += 1;
        let batches: Vec<_> = chunk.iter().map(|id| inside(*id, 0, 0, 1)).collect();
        let mut draft = segment(segments).slice(partition(0), &batches);
        for batch in 0..500 {
            draft = draft.condition(0, batch, of(1));
        }
        let answer = process.send_until_answered(&draft.done()).await;
        let is_accepted = |it: &Outcome| matches!(it, Outcome::Accepted { .. });
        assert!(answer.outcomes.iter().all(is_accepted));
    }
    let full = refused(ErrorCode::Unavailable, RefusalDetail::None);
    let mut sender = Sender::new(segments);
    let next = sender
        .send(&process, 0, inside(4_000, 0, 0, 1), Some(1))
        .await;
    assert_eq!(next, full);
    let other = sender
        .send(&process, 1, inside(4_000, 0, 0, 1), Some(1))
        .await;
    assert_eq!(other, accepted(0), "another partition has room");
    assert_eq!(process.end(abort(partition(0), 7, 1)).await, Ok(()));
    let next = sender
        .send(&process, 0, inside(4_000, 0, 0, 1), Some(1))
        .await;
    assert_eq!(next, accepted(4_001));
    assert_eq!(
        sender.send(&process, 0, plain(1), None).await,
        accepted(4_002)
    );
    // Its row has them all.
    let process = world.open().await;
    let more = sender
        .send(&process, 0, inside(4_001, 0, 0, 1), Some(1))
        .await;
    assert_eq!(more, full);
    let shown = process.producers(partition(0)).await.expect("the owner");
    let open = shown.iter().filter(|it| it.open_from.is_some());
    assert_eq!((shown.len(), open.count()), (4_001, 4_000));
    assert_eq!(shown[7].producer.id, ProducerId::new(7));
    assert_eq!(shown[7].open_from, None);
}

/// One that was answered before is answered the same, whatever has ended meanwhile.
#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_sent_again_after_the_marker_has_its_first_answer() {
    let (world, mut process) = World::opened().await;
    let first = part(1, partition(0), inside(1, 0, 0, 2), 1);
    let answer = process.send_until_answered(&first).await;
    assert_eq!(answer.outcomes, [accepted(0)]);
    assert_eq!(process.end(commit(partition(0), 1, 1)).await, Ok(()));
    for _ in 0..3 {
        let again = process.send_until_answered(&first).await;
        assert_eq!(again.outcomes, [accepted(0)]);
        process = world.open().await;
    }
}
