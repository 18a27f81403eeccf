//! Nothing is answered or told that is not durable, and nobody who was replaced decides anything (rules C1, C3, C10).

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{
    Decision, TransactionError, TransactionState, TransactionVersion, TransactionsError,
};
use tidelog_store::memory::{CommitFault, Landing};

use super::{Client, at, open, opened, producer, soon};

const NOT_HERE: TransactionsError = TransactionsError::NotCoordinator;

#[tokio::test(start_paused = true)]
async fn a_producer_hears_who_it_is_when_it_is_durable() {
    let (world, process, _) = opened().await;
    let client = Client::new(&process.service, "t");
    let hold = world.store.hold(KeyKind::Transaction);
    let mut begun = Box::pin(client.init(None));
    tokio::select! {
        biased;
        begun = &mut begun => panic!("told too early: {begun:?}"),
        () = hold.reached() => {}
    }
    // What follows from it is not told either.
    let mut missing = Box::pin(client.missing(producer(1, 0), &[]));
    let mut state = Box::pin(client.state());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut missing).is_pending());
    assert!(futures::poll!(&mut state).is_pending());
    drop(hold);
    assert_eq!(begun.await, Ok(producer(1, 0)));
    assert_eq!(missing.await, Ok(Vec::new()));
    assert_eq!(state.await, Ok(TransactionState::Empty));
}

#[tokio::test(start_paused = true)]
async fn nothing_may_be_sent_to_who_does_not_take_part_durably() {
    let (world, process, _) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    let hold = world.store.hold(KeyKind::Transaction);
    let (more, both) = ([at(1)], [at(0), at(1)]);
    let mut added = Box::pin(client.add(one, &more));
    tokio::select! {
        biased;
        added = &mut added => panic!("told too early: {added:?}"),
        () = hold.reached() => {}
    }
    let mut missing = Box::pin(client.missing(one, &both));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(futures::poll!(&mut missing).is_pending());
    drop(hold);
    assert_eq!(added.await, Ok(1));
    assert_eq!(missing.await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_told_when_it_is_durable_and_not_before() {
    let (world, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    let hold = world.store.hold(KeyKind::Transaction);
    let mut ended = Box::pin(client.commit(one));
    tokio::select! {
        biased;
        ended = &mut ended => panic!("answered too early: {ended:?}"),
        () = hold.reached() => {}
    }
    soon().await;
    assert_eq!(told.markers(), []);
    drop(hold);
    assert_eq!(ended.await, Ok(producer(1, 1)));
    soon().await;
    let markers = told.markers();
    let [marker] = &markers[..] else {
        panic!("one partition, not {markers:?}");
    };
    assert_eq!(marker.producer, producer(1, 1));
    assert_eq!(marker.number.map(|number| number.0), Some(1));
    assert_eq!(marker.decision, Decision::Commit);
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_the_next_owner_did_not_find_is_told_to_nobody() {
    let (world, old, told) = opened().await;
    let one = open(&old.service, "t").await;
    let client = Client::new(&old.service, "t");
    let hold = world.store.hold(KeyKind::Transaction);
    let mut ended = Box::pin(client.commit(one));
    tokio::select! {
        biased;
        ended = &mut ended => panic!("answered too early: {ended:?}"),
        () = hold.reached() => {}
    }
    let new = world.open_on(&world.store.sibling()).await;
    drop(hold);
    assert_eq!(ended.await, Err(NOT_HERE));
    soon().await;
    assert_eq!(told.markers(), []);
    let aborted = Client::new(&new.service, "t");
    let aborted = aborted
        .end(one, Decision::Abort, TransactionVersion::Two)
        .await;
    assert_eq!(aborted, Ok(producer(1, 1)));
    soon().await;
    let decisions = told.markers();
    let decisions: Vec<Decision> = decisions.iter().map(|marker| marker.decision).collect();
    assert_eq!(decisions, [Decision::Abort]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_stores_nothing_and_its_answers_are_not_believed() {
    let (world, old, told) = opened().await;
    let service = &old.service;
    let here = Client::new(service, "t");
    let one = open(service, "t").await;
    let kept = here
        .end(one, Decision::Commit, TransactionVersion::One)
        .await;
    assert_eq!(kept, Ok(one));
    soon().await;
    let new = world.open_on(&world.store.sibling()).await;
    let there = Client::new(&new.service, "t");
    assert_eq!(there.add(one, &[at(1)]).await, Ok(2));
    let rows = world.store.rows(KeyKind::Transaction);
    told.hold(true);
    // It has committed the one before, and would say so of the next one.
    let ended = here.end(one, Decision::Commit, TransactionVersion::One);
    assert_eq!(ended.await, Err(NOT_HERE));
    let other = producer(7, 7);
    assert_eq!(here.add(other, &[at(0)]).await, Err(NOT_HERE));
    assert_eq!(here.init(None).await, Err(NOT_HERE));
    assert_eq!(here.missing(one, &[at(1)]).await, Err(NOT_HERE));
    assert_eq!(here.state().await, Err(NOT_HERE));
    assert_eq!(Client::new(service, "new").init(None).await, Err(NOT_HERE));
    assert_eq!(world.store.rows(KeyKind::Transaction), rows);
    assert_eq!(there.state().await, Ok(TransactionState::Ongoing));
}

/// A producer would take it for the last word.
#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_and_does_not_know_it_refuses_nobody() {
    for question in 0..3 {
        let (world, old, _) = opened().await;
        let one = open(&old.service, "t").await;
        let here = Client::new(&old.service, "t");
        assert_eq!(here.commit(one).await, Ok(producer(1, 1)));
        soon().await;
        let new = world.open_on(&world.store.sibling()).await;
        let there = Client::new(&new.service, "t");
        assert_eq!(there.init(None).await, Ok(producer(1, 2)));
        assert_eq!(there.add(producer(1, 2), &[at(0)]).await, Ok(2));
        let told = match question {
            0 => here.add(producer(1, 2), &[at(0)]).await.map(drop),
            1 => here.missing(producer(1, 1), &[at(0)]).await.map(drop),
            _ => here.state().await.map(drop),
        };
        assert_eq!(told, Err(NOT_HERE), "question {question}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_which_nobody_knows_is_settled_before_anything_is_said() {
    for landing in [
        Landing::Now,
        Landing::Never,
        Landing::Later { after_commits: 0 },
    ] {
        let (world, process, told) = opened().await;
        let client = Client::new(&process.service, "t");
        let one = open(&process.service, "t").await;
        let fault = CommitFault::Unknown(landing);
        world.store.fail(KeyKind::Transaction, fault);
        assert_eq!(client.commit(one).await, Ok(producer(1, 1)), "{landing:?}");
        world.store.memory.land_delayed();
        soon().await;
        assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
        assert_eq!(told.markers().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_shard_is_lost_is_told_to_ask_the_next_owner() {
    let (world, process, _) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    world.store.fail(KeyKind::Transaction, CommitFault::Fenced);
    assert_eq!(client.commit(one).await, Err(NOT_HERE));
    assert_eq!(client.state().await, Err(NOT_HERE));
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_was_lost_is_answered_again_and_told_once() {
    let (_, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    let next = client.commit(one).await;
    assert_eq!(next, Ok(producer(1, 1)));
    assert_eq!(client.commit(one).await, next);
    soon().await;
    assert_eq!(client.commit(one).await, next);
    let other = client.end(one, Decision::Abort, TransactionVersion::Two);
    let refused = TransactionsError::Refused(TransactionError::InvalidState);
    assert_eq!(other.await, Err(refused));
    assert_eq!(told.markers().len(), 1);
}
