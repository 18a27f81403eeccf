//! C10: nothing is answered or shown from state that may not exist.

use std::time::Duration;

use tidelog_env::BackoffPolicy;
use tidelog_metadata::SequencerSettings;
use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{CommitError, Log as _, LogError};
use tidelog_store::memory::{CommitFault, Landing};

use crate::manifests::{accepted, one, only, plain};
use crate::world::{World, partition, settings};

#[tokio::test(start_paused = true)]
async fn a_group_of_unknown_outcome_is_neither_shown_nor_answered_until_it_is_settled() {
    for landing in [Landing::Now, Landing::Never] {
        let (world, process) = World::opened().await;
        process.bounds_of(partition(0)).await;
        world
            .store
            .fail(KeyKind::Tail, CommitFault::Unknown(landing));
        let hold = world.store.hold(KeyKind::Lease);
        let mut answer = process.commit(vec![one(1, partition(0), plain(2))]);
        hold.reached().await;
        assert!(futures::poll!(&mut answer).is_pending(), "{landing:?}");
        assert_eq!(process.high_watermark(partition(0)).await, 0, "{landing:?}");
        drop(hold);
        let answer = answer.await.pop().expect("one").expect("settled");
        assert_eq!(only(&answer), accepted(0), "{landing:?}");
        assert_eq!(process.high_watermark(partition(0)).await, 2, "{landing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_the_store_fences_answers_not_owner_and_stays_silent() {
    for kind in [KeyKind::Tail, KeyKind::Partition] {
        let world = World::with(settings(1));
        let process = world.open().await;
        world.store.fail(kind, CommitFault::Fenced);
        let answer = process.send(one(1, partition(0), plain(1))).await;
        if kind == KeyKind::Tail {
            assert_eq!(answer.expect_err("fenced"), CommitError::NotOwner);
        } else {
            assert_eq!(only(&answer.expect("the group was durable")), accepted(0));
        }
        let latest = process.latest(partition(0)).await;
        assert_eq!(latest, Err(LogError::NotOwner), "{kind:?}");
        let more = process.send(one(2, partition(0), plain(1))).await;
        assert_eq!(more.expect_err("it has ended"), CommitError::NotOwner);
    }
}

/// When patience ends the outcome stays open: the answer is "unknown", and the next owner knows.
#[tokio::test(start_paused = true)]
async fn a_sequencer_that_gives_up_says_unknown_and_the_next_one_knows() {
    for landing in [Landing::Now, Landing::Never] {
        let world = World::with(SequencerSettings {
            retry: BackoffPolicy::new(Duration::from_millis(1), Duration::from_millis(1), 2),
            ..settings(u32::MAX)
        });
        let process = world.open().await;
        world
            .store
            .fail(KeyKind::Tail, CommitFault::Unknown(landing));
        for _ in 0..9 {
            world.store.fail(KeyKind::Lease, CommitFault::Unavailable);
        }
        let commit = one(1, partition(0), plain(2));
        let error = process.send(commit.clone()).await.expect_err("no patience");
        assert_eq!(error, CommitError::Unknown, "{landing:?}");
        assert!(error.may_ask_again());
        let next = world.open_on(&world.store.sibling()).await;
        let answer = next.send(commit).await.expect("it owns the shard");
        assert_eq!(only(&answer), accepted(0), "{landing:?}");
        assert_eq!(next.high_watermark(partition(0)).await, 2, "{landing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn draining_answers_what_was_taken_and_takes_no_more() {
    let (world, process) = World::opened().await;
    let hold = world.store.hold(KeyKind::Tail);
    let in_flight = process.commit(vec![one(1, partition(0), plain(1))]);
    hold.reached().await;
    let queued = process.commit(vec![one(2, partition(0), plain(1))]);
    let service = process.service.clone();
    let stopping = process.stop();
    let release = async {
        tokio::task::yield_now().await;
        drop(hold);
    };
    tokio::join!(stopping, release);
    assert_eq!(
        only(in_flight.await[0].as_ref().expect("taken")),
        accepted(0)
    );
    assert_eq!(only(queued.await[0].as_ref().expect("taken")), accepted(1));
    let late = crate::world::send(&service, one(3, partition(0), plain(1))).await;
    assert_eq!(late.expect_err("drained"), CommitError::NotOwner);
    let next = world.open().await;
    assert_eq!(next.high_watermark(partition(0)).await, 2);
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_for_a_store_that_does_not_answer() {
    let (world, process) = World::opened().await;
    for _ in 0..1_000 {
        world.store.fail(KeyKind::Tail, CommitFault::Unavailable);
    }
    let stuck = process.commit(vec![one(1, partition(0), plain(1))]);
    tokio::time::advance(Duration::from_millis(5)).await;
    process.stop().await;
    assert!(matches!(stuck.await[..], [Err(CommitError::Unknown)]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_writes_nothing() {
    let (world, process) = World::opened().await;
    process
        .send_until_answered(&one(1, partition(0), plain(1)))
        .await;
    // Ten seconds later the checkpoint is written, and then nothing more.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let commits = world.store.commits();
    assert_eq!(world.store.rows(KeyKind::Checkpoint).len(), 1);
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    assert_eq!(world.store.commits(), commits);
}
