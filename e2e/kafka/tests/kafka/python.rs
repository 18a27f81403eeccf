//! Clients in Python: kafka-python, confluent-kafka (a newer librdkafka than that of kcat) and aiokafka.

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Cli, Tools};

use crate::support::{FETCH_LIMIT, World};

async fn serves(client: &str) -> Result<()> {
    Tools::program("python3")?;
    let world = World::new(1).await?;
    let run = Tools::repository()?.join("e2e/kafka/python/run");
    let arguments = [client, &world.address(), "made"];
    let finished = Cli::script(&run, &arguments, FETCH_LIMIT).await?;
    let said = finished.code == 0 && finished.text().contains("ok: ");
    ensure!(said, "{client}: {finished:?}");
    Ok(())
}

#[tokio::test]
async fn kafka_python_administers_produces_seeks_and_consumes() -> Result<()> {
    serves("kafka_python").await
}

#[tokio::test]
async fn confluent_kafka_produces_idempotently_and_consumes() -> Result<()> {
    serves("confluent").await
}

#[tokio::test]
async fn aiokafka_produces_and_consumes() -> Result<()> {
    serves("aio").await
}
