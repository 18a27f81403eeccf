//! A new owner of a shard goes on where the one before was, whatever that was doing.

use tidelog_metadata_api::{
    Decision, TransactionError, TransactionState, TransactionVersion, TransactionsError,
};

use super::{Client, TIMEOUT, at, group, open, opened, producer, soon};

#[tokio::test(start_paused = true)]
async fn a_producer_goes_on_with_its_open_transaction_at_the_next_owner() {
    let (world, old, told) = opened().await;
    let one = open(&old.service, "t").await;
    let new = world.open_on(&world.store.sibling()).await;
    let client = Client::new(&new.service, "t");
    assert_eq!(client.missing(one, &[at(0), at(1)]).await, Ok(vec![at(1)]));
    assert_eq!(client.add(one, &[at(1)]).await, Ok(1));
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    soon().await;
    assert_eq!(super::partitions_of(&told).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_nobody_ends_is_aborted_by_the_next_owner_when_its_time_is_up() {
    let (world, old, told) = opened().await;
    open(&old.service, "t").await;
    tokio::time::sleep(TIMEOUT / 2).await;
    world.clock.jump_wall(30_000);
    let new = world.open_on(&world.store.sibling()).await;
    let client = Client::new(&new.service, "t");
    tokio::time::sleep(std::time::Duration::from_secs(29)).await;
    assert_eq!(told.markers(), []);
    // Nobody asks for the id.
    soon().await;
    let decided = told.markers();
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].decision, Decision::Abort);
    assert_eq!(decided[0].producer, producer(1, 1));
    assert_eq!(client.state().await, Ok(TransactionState::CompleteAbort));
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_was_not_told_is_told_by_the_next_owner() {
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        let (world, old, told) = opened().await;
        let one = open(&old.service, "t").await;
        let client = Client::new(&old.service, "t");
        client.add(one, &[group("g")]).await.expect("it takes part");
        told.hold(true);
        let next = client.end(one, Decision::Commit, version).await;
        let next = next.expect("it is decided");
        soon().await;
        assert_eq!(client.state().await, Ok(TransactionState::PrepareCommit));
        let new = world.open_on(&world.store.sibling()).await;
        let client = Client::new(&new.service, "t");
        // The one before stands still, and is no owner any more.
        soon().await;
        let concurrent = TransactionsError::Refused(TransactionError::Concurrent);
        assert_eq!(client.add(next, &[at(0)]).await, Err(concurrent));
        told.hold(false);
        let later = [at(1)];
        let added = client.when_told(|| client.add(next, &later)).await;
        assert_eq!(added, Ok(2));
        let (markers, ends) = (told.markers(), told.ends());
        assert!(markers.iter().all(|marker| marker.producer == next
            && marker.decision == Decision::Commit
            && marker.number.map(|number| number.0) == Some(1)));
        assert!(
            ends.iter()
                .all(|end| end.producer == next && end.number.0 == 1)
        );
        assert!(!ends.is_empty());
        // Owners differ in the epoch of their lease.
        let epochs: Vec<i32> = markers.iter().map(|one| one.coordinator_epoch).collect();
        assert!(epochs.contains(&2), "{epochs:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_everybody_has_heard_of_is_not_told_again() {
    let (world, old, told) = opened().await;
    let one = open(&old.service, "t").await;
    let client = Client::new(&old.service, "t");
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    soon().await;
    let new = world.open_on(&world.store.sibling()).await;
    soon().await;
    let client = Client::new(&new.service, "t");
    assert_eq!(client.state().await, Ok(TransactionState::CompleteCommit));
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
    assert_eq!(told.markers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_an_id_without_a_transaction_has_it_at_the_next_owner() {
    let (world, old, _) = opened().await;
    let client = Client::new(&old.service, "t");
    assert_eq!(client.init(None).await, Ok(producer(1, 0)));
    let new = world.open_on(&world.store.sibling()).await;
    let client = Client::new(&new.service, "t");
    assert_eq!(client.add(producer(1, 0), &[at(0)]).await, Ok(1));
    let fenced = TransactionsError::Refused(TransactionError::Fenced);
    let concurrent = TransactionsError::Refused(TransactionError::Concurrent);
    assert_eq!(client.init(None).await, Err(concurrent));
    let second = client.when_told(|| client.init(None)).await;
    assert_eq!(second, Ok(producer(1, 2)));
    assert_eq!(client.add(producer(1, 0), &[at(0)]).await, Err(fenced));
}

#[tokio::test(start_paused = true)]
async fn all_that_was_left_is_found_by_the_next_owner_however_much_it_is() {
    let (world, old, told) = opened().await;
    told.hold(true);
    let names: Vec<String> = (0..350).map(|number| format!("id-{number}")).collect();
    for name in &names {
        let client = Client::new(&old.service, name);
        let one = client.init(None).await.expect("nobody has it");
        client.add(one, &[at(0)]).await.expect("it takes part");
        if name.ends_with('7') {
            continue;
        }
        client.commit(one).await.expect("it is decided");
    }
    let new = world.open_on(&world.store.sibling()).await;
    told.hold(false);
    soon().await;
    let count = |decision| {
        let markers = told.markers();
        let mut producers: Vec<_> = markers
            .iter()
            .filter(|marker| marker.decision == decision && marker.coordinator_epoch == 2)
            .map(|marker| marker.producer)
            .collect();
        producers.sort_unstable();
        producers.dedup();
        producers.len()
    };
    assert_eq!((count(Decision::Commit), count(Decision::Abort)), (315, 0));
    tokio::time::sleep(TIMEOUT).await;
    assert_eq!((count(Decision::Commit), count(Decision::Abort)), (315, 35));
    drop(new);
}
