//! Clients that begin large requests and do not go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidelog_e2e_harness::within;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::World;

const CONNECTIONS: usize = 500;
const MEMORY: u64 = 128 * 1024 * 1024;
/// Of a request of a mebibyte, so much comes.
const SENT_BYTES: usize = 15_000;
/// What a client waits for a write while others hold halves of theirs. If these were given up one after
/// another, as many at a time as have memory for all of their requests, it would be minutes.
const HONEST_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn half_requests_on_many_connections_keep_nobody_out() -> Result<()> {
    let mut world = World::with(1, &[("memory.total", &MEMORY.to_string())]).await?;
    let mut half = (1_i32 << 20).to_be_bytes().to_vec();
    half.resize(SENT_BYTES, 7);
    let mut held = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(world.server.kafka()).await?;
        stream.write_all(&half).await?;
        held.push(stream);
    }
    let start = Instant::now();
    let line = [&vec![b'h'; 500_000][..], b"\n"].concat();
    let honest = world.kcat(&["-P", "-t", "t", "-p", "0"], &line);
    within("an honest client", HONEST_LIMIT, honest).await??;
    println!("an honest client took {:?}", start.elapsed());
    ensure!(world.records(0).await?.len() == 1);
    let mark = world.server.process().memory_mark()?;
    let limit = MEMORY + MEMORY / 4;
    println!("half requests: {} MiB of {} MiB", mark >> 20, limit >> 20);
    ensure!(mark <= limit, "`{mark}` bytes were resident");
    drop(held);
    Ok(())
}
