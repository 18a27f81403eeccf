//! Clients made from the proto files alone, in three languages: `e2e/clients`.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Cli, Server, ServerOptions, Tools};

use crate::support::World;

/// Time for a client; the first run on a machine fetches libraries and builds.
const LIMIT: Duration = Duration::from_mins(8);

async fn speaks(language: &str, programs: &[&str]) -> Result<()> {
    for program in programs {
        Tools::program(program)?;
    }
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let run = Tools::repository()?
        .join("e2e/clients")
        .join(language)
        .join("run");
    let finished = Cli::script(&run, &[&server.grpc().to_string()], LIMIT).await?;
    ensure!(
        finished.code == 0 && finished.text().contains("ok: "),
        "{language}: {finished:?}"
    );
    Ok(())
}

#[tokio::test]
async fn python_speaks_to_a_server() -> Result<()> {
    speaks("python", &["python3"]).await
}

#[tokio::test]
async fn go_speaks_to_a_server() -> Result<()> {
    speaks("go", &["go", "protoc"]).await
}

#[tokio::test]
async fn typescript_speaks_to_a_server() -> Result<()> {
    speaks("typescript", &["node", "npm"]).await
}
