//! Ids that nobody uses leave memory, and the store after a time.

use std::time::Duration;

use tidelog_metadata::keyspace::KeyKind;
use tidelog_metadata_api::{TransactionError, TransactionState, TransactionsError};

use super::{Client, at, open, opened, producer, soon};
use crate::world::World;

const WEEK: Duration = Duration::from_hours(7 * 24);

fn pass(world: &World, time: Duration) {
    let millis = i64::try_from(time.as_millis()).expect("small");
    world.clock.jump_wall(millis);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_uses_leaves_memory_and_is_read_again() {
    let (_, process, _) = opened().await;
    let client = Client::new(&process.service, "t");
    let one = client.init(None).await.expect("nobody has it");
    assert_eq!(process.transactions("ids_held"), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(process.transactions("ids_held"), 0);
    assert_eq!(client.add(one, &[at(0)]).await, Ok(1));
    // One with a transaction stays: it has a timer.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(process.transactions("ids_held"), 1);
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(process.transactions("ids_held"), 0);
    assert_eq!(process.transactions("memory_bytes"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_forgotten_a_week_after_its_last_use() {
    let (world, process, _) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    tokio::time::sleep(WEEK / 2).await;
    pass(&world, WEEK / 2);
    assert_eq!(client.add(producer(1, 1), &[at(0)]).await, Ok(2));
    assert_eq!(client.commit(producer(1, 1)).await, Ok(producer(1, 2)));
    let almost = Duration::from_mins(7 * 24 * 60 - 1);
    tokio::time::sleep(almost).await;
    pass(&world, almost);
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
    tokio::time::sleep(Duration::from_mins(20)).await;
    pass(&world, Duration::from_mins(20));
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(world.store.rows(KeyKind::Transaction), []);
    assert_eq!(client.state().await, Err(TransactionsError::NotFound));
    let unknown = TransactionsError::Refused(TransactionError::UnknownProducer);
    assert_eq!(client.add(producer(1, 2), &[at(0)]).await, Err(unknown));
    // Whoever comes gets another producer id, so that its numbers are others.
    assert_eq!(client.init(None).await, Ok(producer(2, 0)));
    assert_eq!(process.transactions("ids_expired_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_has_expired_while_there_was_no_owner_is_forgotten_by_the_next_one() {
    let (world, old, _) = opened().await;
    let client = Client::new(&old.service, "t");
    client.init(None).await.expect("nobody has it");
    open(&old.service, "open").await;
    old.stop().await;
    pass(&world, WEEK);
    let new = world.open_on(&world.store.sibling()).await;
    soon().await;
    let client = Client::new(&new.service, "t");
    assert_eq!(client.state().await, Err(TransactionsError::NotFound));
    // One with an open transaction is aborted first, and used by that.
    let client = Client::new(&new.service, "open");
    assert_eq!(client.state().await, Ok(TransactionState::CompleteAbort));
    assert_eq!(world.store.rows(KeyKind::Transaction).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_an_id_that_is_going_is_to_ask_again() {
    let (world, process, _) = opened().await;
    let client = Client::new(&process.service, "t");
    client.init(None).await.expect("nobody has it");
    let hold = world.store.hold(KeyKind::Transaction);
    pass(&world, WEEK);
    tokio::time::sleep(WEEK + Duration::from_hours(1)).await;
    let mut asked = Box::pin(client.init(None));
    assert!(futures::poll!(&mut asked).is_pending());
    drop(hold);
    let concurrent = TransactionsError::Refused(TransactionError::Concurrent);
    assert_eq!(asked.await, Err(concurrent));
    assert_eq!(client.init(None).await, Ok(producer(2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_process_with_ids_that_nobody_uses_asks_the_store_for_nothing() {
    let (world, process, _) = opened().await;
    let client = Client::new(&process.service, "t");
    client.init(None).await.expect("nobody has it");
    soon().await;
    let before = world.store.commits();
    tokio::time::sleep(WEEK / 2).await;
    assert_eq!(world.store.commits(), before);
}
