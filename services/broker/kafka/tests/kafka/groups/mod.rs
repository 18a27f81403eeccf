//! Facts about groups: what the coordinators are asked, and how their answers are told.

mod admin;
mod consumers;
mod errors;
mod members;
mod offsets;
mod real;

use std::sync::Arc;

use tidelog_broker_kafka::KafkaSettings;
use tidelog_broker_testing::FakeGroups;

use crate::world::{Client, World};

/// A broker with the topic `t` of two partitions, and its coordinators.
async fn world() -> (World, Arc<FakeGroups>, Client) {
    let fake = Arc::new(FakeGroups::default());
    let groups = Arc::<FakeGroups>::clone(&fake);
    let world = World::with_groups(KafkaSettings::default(), groups).await;
    world.topic("t", 2, &[]).await;
    let client = world.client().await;
    (world, fake, client)
}
