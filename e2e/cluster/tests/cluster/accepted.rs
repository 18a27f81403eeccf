//! A restore is accepted while the server runs, and the server keeps its store.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::{ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Cli, Place, Server, ServerOptions, until};

use crate::support::{TOPIC, create_topic};

/// The server looks twice a minute.
const NOTICE_LIMIT: Duration = Duration::from_secs(50);
const END_LIMIT: Duration = Duration::from_secs(30);

/// Runs a command on the place itself.
async fn run(place: &Place, words: &[&str]) -> Result<()> {
    let flags = place.flags();
    let words: Vec<&str> = words
        .iter()
        .copied()
        .chain(flags.iter().map(String::as_str))
        .collect();
    Cli::new(None).ok(&words).await?;
    Ok(())
}

async fn write(server: &Server) -> Result<()> {
    let client = server.client()?;
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let record = SendRecord::keyed(b"key", b"value");
    producer.send(record).await?.wait().await?;
    Ok(())
}

#[tokio::test]
async fn a_restore_is_accepted_while_the_server_goes_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = Place::folder(folder.path());
    let mut server = Server::start(ServerOptions::at(&place)).await?;
    create_topic(&server.client()?, 1).await?;
    write(&server).await?;
    run(&place, &["metadata", "backup", "--name", "first"]).await?;
    server.stop(END_LIMIT).await?;
    run(&place, &["metadata", "restore", "first", "--wipe"]).await?;
    server.restart().await?;
    write(&server).await?;
    run(&place, &["metadata", "accept-restore"]).await?;
    write(&server).await?;
    until("the server has heard of it", NOTICE_LIMIT, async || {
        let log = server.process().log_tail();
        log.contains("the restore is accepted").then_some(())
    })
    .await?;
    write(&server).await?;
    ensure!(server.process().ended().is_none(), "it lost its store");
    let none = run(&place, &["metadata", "accept-restore"]).await;
    ensure!(none.is_err(), "nothing waits any more");
    Ok(())
}
