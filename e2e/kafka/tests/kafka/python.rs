//! kafka-python.

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Cli, Tools};

use crate::support::{FETCH_LIMIT, World};

#[tokio::test]
async fn kafka_python_administers_produces_seeks_and_consumes() -> Result<()> {
    Tools::program("python3")?;
    let world = World::new(1).await?;
    let run = Tools::repository()?.join("e2e/kafka/python/run");
    let finished = Cli::script(&run, &[&world.address(), "python"], FETCH_LIMIT).await?;
    let said = finished.code == 0 && finished.text().contains("ok: ");
    ensure!(said, "{finished:?}");
    Ok(())
}
