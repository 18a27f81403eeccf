//! A client in JavaScript: kafkajs.

use anyhow::Result;
use tidelog_e2e_harness::Tools;

use crate::support::World;

async fn serves(scenario: &str) -> Result<()> {
    Tools::program("npm")?;
    let world = World::new(1).await?;
    world.plays("javascript", &[scenario], &[]).await
}

#[tokio::test]
async fn members_in_kafkajs_share_a_topic() -> Result<()> {
    serves("group").await
}

#[tokio::test]
async fn kafkajs_does_all_it_can() -> Result<()> {
    serves("whole").await
}
