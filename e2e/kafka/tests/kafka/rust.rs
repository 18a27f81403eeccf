//! A client in Rust: rdkafka, with the newest librdkafka.

use anyhow::Result;

use crate::support::World;

#[tokio::test]
async fn rdkafka_does_all_it_can() -> Result<()> {
    let world = World::new(1).await?;
    world.plays("rust", &[], &[]).await
}
