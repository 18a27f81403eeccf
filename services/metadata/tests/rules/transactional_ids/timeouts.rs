//! Transactions that are open for too long.

use std::time::Duration;

use tidelog_metadata_api::{
    Decision, InitTransactions, TransactionError, TransactionState, TransactionVersion,
    Transactions as _, TransactionsError,
};

use super::{Client, TIMEOUT, at, id, open, opened, producer, soon};

const FENCED: TransactionsError = TransactionsError::Refused(TransactionError::Fenced);

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let (_, process, told) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    tokio::time::sleep(Duration::from_millis(59_990)).await;
    assert_eq!(client.state().await, Ok(TransactionState::Ongoing));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.state().await, Ok(TransactionState::CompleteAbort));
    let decisions: Vec<Decision> = told.markers().iter().map(|one| one.decision).collect();
    assert_eq!(decisions, [Decision::Abort]);
    assert_eq!(client.add(one, &[at(1)]).await, Err(FENCED));
    assert_eq!(client.commit(one).await, Err(FENCED));
    // It is alive and slow: it may go on once it has aborted what is aborted.
    let aborted = client.end(one, Decision::Abort, TransactionVersion::Two);
    assert_eq!(aborted.await, Ok(producer(1, 1)));
    assert_eq!(process.transactions("timed_out_total"), 1);
    assert_eq!(process.transactions("aborted_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_with_the_last_moment_is_not_overtaken_by_the_timer() {
    let (_, process, _) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    // The request is in the mailbox when the process comes to run again.
    tokio::time::advance(Duration::from_millis(59_999)).await;
    let mut ended = Box::pin(client.commit(one));
    assert!(futures::poll!(&mut ended).is_pending());
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(ended.await, Ok(producer(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_too_long_is_refused_as_the_settings_say() {
    let (mut world, _, _) = opened().await;
    world.transactions.timeout_max = Duration::from_mins(2);
    let process = world.open_on(&world.store.sibling()).await;
    let mut request = InitTransactions {
        id: id("t"),
        timeout: Duration::from_secs(121),
        expected: None,
    };
    let refused = TransactionsError::Refused(TransactionError::InvalidTimeout);
    assert_eq!(process.init(request.clone()).await, Err(refused));
    request.timeout = Duration::from_mins(2);
    assert!(process.init(request).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_delays_an_abort_and_does_not_lose_it() {
    let (world, process, told) = opened().await;
    open(&process.service, "t").await;
    world.store.freeze();
    tokio::time::sleep(TIMEOUT * 2).await;
    assert_eq!(told.markers(), []);
    world.store.thaw();
    soon().await;
    assert_eq!(told.markers().len(), 1);
}
