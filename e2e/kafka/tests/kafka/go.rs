//! Clients in Go: franz-go and sarama.

use anyhow::Result;
use tidelog_e2e_harness::Tools;

use crate::support::World;

async fn serves(client: &str) -> Result<()> {
    Tools::program("go")?;
    let world = World::new(1).await?;
    world.plays("go", &[client], &[]).await
}

#[tokio::test]
async fn members_in_franz_go_share_a_topic() -> Result<()> {
    serves("franz").await
}

#[tokio::test]
async fn members_in_sarama_share_a_topic() -> Result<()> {
    serves("sarama").await
}

#[tokio::test]
async fn sarama_does_all_it_can() -> Result<()> {
    serves("sarama_whole").await
}
