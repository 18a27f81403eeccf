//! Clients that mean ill: whatever they do, the server stays within its memory, and others are served.
//!
//! Each scenario starts a small server, hurts it from many connections, asks it meanwhile for what an honest
//! client wants, and looks at the end at the most memory that the process ever had and at its metrics.

mod bombs;
mod connections;
mod frames;
mod raw;
mod readers;
mod stall;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidelog_client::{Client, ClientOptions};
use tidelog_e2e_harness::{Place, Server, ServerOptions, metric, within};
use tidelog_env::BackoffPolicy;

use crate::support::{base, fetch, fetched, records};

const TOPIC: &str = "abuse";
const MEMORY: u64 = 128 * 1024 * 1024;
/// What an honest client waits for a write and a read while others do their worst. It is a moment most of
/// the time, and a second or two where those who stand still have to go first.
const HONEST_LIMIT: Duration = Duration::from_secs(10);

/// A small server under attack.
struct Target {
    server: Server,
}

impl Target {
    async fn start(place: &Place) -> Result<Self> {
        let options = ServerOptions::at(place).with("memory.total", &MEMORY.to_string());
        let server = Server::start(options).await?;
        let admin = server.client()?.admin();
        admin
            .create_topic(TOPIC, 4, [] as [(&str, &str); 0])
            .await?;
        Ok(Self { server })
    }

    /// A client that gives up late and tries often.
    fn patient(&self) -> Result<Client> {
        self.server.client_with(ClientOptions {
            request_timeout: HONEST_LIMIT,
            backoff: BackoffPolicy::new(Duration::from_millis(100), Duration::from_millis(500), 40),
            ..ClientOptions::default()
        })
    }

    /// A stranger connects, writes a record and reads it.
    async fn serves(&self) -> Result<()> {
        let start = Instant::now();
        let client = self.patient()?;
        let work = async {
            let value = vec![b'h'; 100_000];
            let at = base(
                &client
                    .log()
                    .produce(vec![records(TOPIC, 3, [value])])
                    .await?,
            )?;
            let data = client.log().fetch(fetch(TOPIC, 3, at)).await?;
            ensure!(fetched(&data[0]).len() == 1, "{:?}", data[0].error);
            Ok(())
        };
        within("an honest client", HONEST_LIMIT, work).await??;
        println!("an honest client took {:?}", start.elapsed());
        Ok(())
    }

    /// The process lives and never had more memory than it may have.
    async fn ensure_bounded(&mut self, what: &str) -> Result<()> {
        let process = self.server.process();
        ensure!(process.ended().is_none(), "{:?}", process.ended());
        let mark = process.memory_mark()?;
        let limit = MEMORY + MEMORY / 4;
        println!("{what}: {} MiB of {} MiB", mark >> 20, limit >> 20);
        let metrics = self.server.metrics().await?;
        for line in metrics
            .lines()
            .filter(|line| line.starts_with("tidelog_grpc"))
        {
            if !line.contains("bucket") {
                println!("  {line}");
            }
        }
        ensure!(mark <= limit, "{what}: `{mark}` bytes were resident");
        Ok(())
    }

    /// A metric of the gRPC front end.
    async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let page = self.server.metrics().await?;
        Ok(metric(&page, &format!("tidelog_grpc_{name}"), labels).unwrap_or_default())
    }
}
