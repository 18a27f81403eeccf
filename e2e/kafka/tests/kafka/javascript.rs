//! A client in JavaScript: kafkajs.

use anyhow::Result;
use tidelog_e2e_harness::Tools;

use crate::support::World;

#[tokio::test]
async fn members_in_kafkajs_share_a_topic() -> Result<()> {
    Tools::program("npm")?;
    let world = World::new(1).await?;
    world.plays("javascript", &[], &[]).await
}
