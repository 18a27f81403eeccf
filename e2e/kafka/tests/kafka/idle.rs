//! Thousands of connections that do nothing.

use anyhow::{Context, Result, ensure};
use tidelog_e2e_harness::raise_open_files;
use tokio::net::TcpStream;

use crate::support::World;

/// So many, or as many as this machine lets a process have.
const CONNECTIONS: usize = 20_000;
/// Files that the server has open besides.
const OTHER_FILES: u64 = 200;
/// What one connection may take.
const BYTES_EACH: u64 = 8 * 1024;

/// Bytes that a process has in memory.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("VmRSS")?.parse::<u64>()? * 1024)
}

#[tokio::test]
async fn thousands_of_idle_connections_are_held_in_little_memory() -> Result<()> {
    let files = raise_open_files()?.saturating_sub(OTHER_FILES);
    let connections = CONNECTIONS.min(usize::try_from(files)?);
    let mut world = World::new(1).await?;
    let process = world.server.process().id();
    // What the first records cost is not what is looked at.
    world.kcat(&["-P", "-t", "t", "-p", "0"], b"a\n").await?;
    ensure!(world.records(0).await?.len() == 1);
    let before = resident(process)?;
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        held.push(TcpStream::connect(world.server.kafka()).await?);
    }
    // Others are served meanwhile.
    world.kcat(&["-P", "-t", "t", "-p", "0"], b"b\n").await?;
    ensure!(world.records(0).await?.len() == 2);
    let after = resident(process)?;
    println!("{connections} idle connections: {before} became {after} bytes");
    let bytes_max = connections as u64 * BYTES_EACH;
    ensure!(after - before < bytes_max, "{before} became {after}");
    drop(held);
    Ok(())
}
