//! Facts about transactions: what the coordinators are asked, and how their answers are told.

mod access;
mod admin;
mod log;
mod offsets;
mod producers;
mod real;
mod records;

use std::sync::Arc;

use tidelog_broker_testing::{Coordinators, FakeGroups, FakeTransactions};

use crate::world::{Client, World};

/// A broker with the topic `t` of two partitions, and its coordinators.
struct Fakes {
    world: World,
    groups: Arc<FakeGroups>,
    transactions: Arc<FakeTransactions>,
}

async fn world() -> (Fakes, Client) {
    let groups = Arc::new(FakeGroups::default());
    let transactions = Arc::new(FakeTransactions::default());
    *transactions.number.lock() = 4;
    let world = World::with_coordinators(Coordinators {
        groups: Arc::<FakeGroups>::clone(&groups),
        transactions: Arc::<FakeTransactions>::clone(&transactions),
    })
    .await;
    world.topic("t", 2, &[]).await;
    let client = world.client().await;
    let fakes = Fakes {
        world,
        groups,
        transactions,
    };
    (fakes, client)
}
