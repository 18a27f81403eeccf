//! What of transactions is bounded.

use tidelog_metadata_api::{TransactionError, TransactionState, TransactionsError};

use super::{Client, at, group, open, opened, producer, soon};
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_transaction_has_as_many_groups_as_it_may_have() {
    let (_, process, _) = opened().await;
    let one = open(&process.service, "t").await;
    let client = Client::new(&process.service, "t");
    let groups: Vec<_> = (0..64).map(|number| group(&format!("g{number}"))).collect();
    assert_eq!(client.add(one, &groups).await, Ok(1));
    let too_large = TransactionsError::Refused(TransactionError::TooLarge);
    assert_eq!(client.add(one, &[group("g"), at(3)]).await, Err(too_large));
    // Nothing of it was added.
    assert_eq!(client.missing(one, &[at(3)]).await, Ok(vec![at(3)]));
    assert_eq!(client.commit(one).await, Ok(producer(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn what_memory_does_not_hold_is_refused_and_ends_go_on() {
    let mut world = World::new();
    world.transactions.memory_bytes = 5_000;
    let told = super::ToldLog::default();
    told.is_reached_by(&world.reach);
    let process = world.open().await;
    let mut begun = Vec::new();
    let refused = loop {
        let name = format!("t{}", begun.len());
        let client = Client::new(&process.service, &name);
        let one = match client.init(None).await {
            Ok(one) => one,
            Err(error) => break error,
        };
        match client.add(one, &[at(0)]).await {
            Ok(_) => begun.push((name, one)),
            Err(error) => break error,
        }
        assert!(begun.len() < 20, "memory has no end");
    };
    assert!(
        matches!(refused, TransactionsError::Unavailable { .. }),
        "{refused:?}"
    );
    assert!(!begun.is_empty());
    for (name, one) in &begun {
        let client = Client::new(&process.service, name);
        client.commit(*one).await.expect("there is room for ends");
    }
    soon().await;
    // Those without a transaction make room for others.
    let client = Client::new(&process.service, "another");
    client.init(None).await.expect("there is room again");
    assert_eq!(client.state().await, Ok(TransactionState::Empty));
}
