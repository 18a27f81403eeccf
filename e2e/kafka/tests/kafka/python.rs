//! Clients in Python: kafka-python, confluent-kafka (a newer librdkafka than that of kcat) and aiokafka.

use anyhow::Result;
use tidelog_e2e_harness::Tools;

use crate::support::World;

async fn serves(client: &str, more: &[&str]) -> Result<()> {
    Tools::program("python3")?;
    let world = World::new(1).await?;
    world.plays("python", &[client], more).await
}

#[tokio::test]
async fn kafka_python_does_all_it_can() -> Result<()> {
    serves("kafka_python_whole", &[]).await
}

#[tokio::test]
async fn confluent_kafka_does_all_it_can() -> Result<()> {
    serves("confluent_whole", &[]).await
}

#[tokio::test]
async fn aiokafka_does_all_it_can() -> Result<()> {
    serves("aio_whole", &[]).await
}

#[tokio::test]
async fn members_in_kafka_python_share_a_topic_and_operators_change_their_group() -> Result<()> {
    serves("kafka_python_group", &[]).await
}

#[tokio::test]
async fn members_in_confluent_kafka_share_a_topic_by_the_classic_protocol() -> Result<()> {
    serves("confluent_group", &["classic"]).await
}

#[tokio::test]
async fn members_in_confluent_kafka_share_a_topic_by_the_consumer_protocol() -> Result<()> {
    serves("confluent_group", &["consumer"]).await
}

#[tokio::test]
async fn members_in_aiokafka_share_a_topic() -> Result<()> {
    serves("aio_group", &[]).await
}

#[tokio::test]
async fn a_group_moves_to_the_consumer_protocol_and_back_while_it_reads() -> Result<()> {
    serves("confluent_migrate", &[]).await
}
