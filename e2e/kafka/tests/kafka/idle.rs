//! Thousands of connections that do nothing.

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

use crate::support::World;

/// Below what one process may usually have open.
const CONNECTIONS: usize = 10_000;
/// What they may take together: 8 KiB each.
const MEMORY_MAX: u64 = (CONNECTIONS as u64) << 13;

/// Bytes that a process has in memory.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("VmRSS")?.parse::<u64>()? * 1024)
}

#[tokio::test]
async fn thousands_of_idle_connections_are_held_in_little_memory() -> Result<()> {
    let mut world = World::new(1).await?;
    let process = world.server.process().id();
    // What the first records cost is not what is looked at.
    world.kcat(&["-P", "-t", "t", "-p", "0"], b"a\n").await?;
    ensure!(world.records(0).await?.len() == 1);
    let before = resident(process)?;
    let mut held = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        held.push(TcpStream::connect(world.server.kafka()).await?);
    }
    // Others are served meanwhile.
    world.kcat(&["-P", "-t", "t", "-p", "0"], b"b\n").await?;
    ensure!(world.records(0).await?.len() == 2);
    let after = resident(process)?;
    println!("{CONNECTIONS} idle connections: {before} became {after} bytes");
    ensure!(after - before < MEMORY_MAX, "{before} became {after}");
    drop(held);
    Ok(())
}
