//! Writers at full speed while the bucket answers nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidelog_client::ClientOptions;
use tidelog_e2e_harness::{Ended, Mode, Proxy, until};
use tidelog_env::BackoffPolicy;
use tokio::task::JoinSet;

use super::{TOPIC, Target};
use crate::support::{END_LIMIT, World, base, records};

const WRITERS: usize = 48;
const STALL: Duration = Duration::from_secs(6);
/// A server that does not know what is durable stops itself with this code.
const FAIL_STOP: Ended = Ended::Code(9);

#[tokio::test]
async fn writers_wait_while_the_bucket_hangs_and_nothing_grows() -> Result<()> {
    let world = World::s3().await?;
    let proxy = Proxy::start(world.minio()?.address()).await?;
    let mut target = Target::start(&world.place.through(proxy.address())).await?;
    target.serves().await?;
    proxy.set(Mode::Hang);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = target.server.client_with(ClientOptions {
            request_timeout: STALL * 2,
            backoff: BackoffPolicy::new(
                Duration::from_millis(10),
                Duration::from_millis(50),
                1_000,
            ),
            ..ClientOptions::default()
        })?;
        writers.spawn(async move {
            let value = vec![b'w'; 50_000];
            let mut calls = JoinSet::new();
            for _ in 0..16 {
                let (log, value) = (client.log(), value.clone());
                calls.spawn(async move {
                    loop {
                        let partition = u32::try_from(writer % 4).unwrap_or_default();
                        let entry = records(TOPIC, partition, vec![&value; 18]);
                        let _ = log.produce(vec![entry]).await;
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    }
    tokio::time::sleep(STALL).await;
    target
        .ensure_bounded("writers while the bucket hangs")
        .await?;
    writers.shutdown().await;
    proxy.set(Mode::Pass);
    let log = target.patient()?.log();
    let server = &mut target.server;
    until("writing goes on", END_LIMIT, async || {
        // Where nobody can know what is durable, stopping is the right answer; a supervisor restarts.
        if let Some(ended) = server.process().ended() {
            if ended != FAIL_STOP {
                return Some(Err(anyhow::anyhow!("it ended with {ended:?}")));
            }
            if let Err(error) = server.restart().await {
                return Some(Err(error));
            }
        }
        let results = log.produce(vec![records(TOPIC, 0, ["after"])]).await.ok()?;
        base(&results).is_ok().then_some(Ok(()))
    })
    .await??;
    ensure!(server.process().ended().is_none());
    Ok(())
}
