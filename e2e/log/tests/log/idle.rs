//! A server with nothing to do sends no request to the bucket, with readers and writers connected or not.
//!
//! A proxy before S3 counts; the server's own counters must agree.

use std::time::Duration;

use anyhow::{Context, Result};
use tidelog_client::{ConsumerOptions, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Proxy, Server, ServerOptions, metric};
use tokio::time::{Instant, sleep};

use crate::support::World;

const TOPIC: &str = "idle";
/// How long nothing may happen.
const WINDOW: Duration = Duration::from_secs(15);
/// What was begun before must be over by then: checkpoints, and clean-up with its shortest age.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);
/// So long without a request counts as settled.
const SETTLED: Duration = Duration::from_secs(12);

/// Waits until nothing more comes.
async fn settle(proxy: &Proxy) -> Result<()> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let (mut seen, mut since) = (proxy.requests(), Instant::now());
    while since.elapsed() < SETTLED {
        anyhow::ensure!(Instant::now() < deadline, "requests do not end");
        sleep(Duration::from_millis(200)).await;
        if proxy.requests() != seen {
            (seen, since) = (proxy.requests(), Instant::now());
        }
    }
    Ok(())
}

/// The requests that the server itself has counted.
async fn counted(server: &Server) -> Result<f64> {
    let page = server.metrics().await?;
    metric(&page, "tidelog_blob_requests_total", &[]).context("requests are counted")
}

#[tokio::test]
async fn an_idle_server_makes_no_request() -> Result<()> {
    let world = World::s3().await?;
    let proxy = Proxy::start(world.minio()?.address()).await?;
    let options = ServerOptions::at(&world.place.through(proxy.address()))
        .with("metadata.checkpoint_interval", "1s")
        .with("store.garbage_age_min", "10s");
    let server = Server::start(options).await?;
    let client = server.client()?;
    client
        .admin()
        .create_topic(TOPIC, 4, [] as [(&str, &str); 0])
        .await?;

    // A producer and a consumer that are connected and have nothing more to do.
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let mut consumer = client.consumer(TOPIC, ConsumerOptions::from_earliest());
    consumer.begin().await?;
    for n in 0..100 {
        let value = format!("value {n}");
        producer
            .send(SendRecord::keyed(b"key", value.as_bytes()))
            .await?;
    }
    producer.flush().await?;
    let tail = tokio::spawn(async move {
        while consumer.next().await?.is_some() {}
        anyhow::Ok(())
    });

    settle(&proxy).await?;
    let (requests, own) = (proxy.requests(), counted(&server).await?);
    sleep(WINDOW).await;
    assert_eq!(proxy.requests(), requests, "requests in an idle window");
    assert!(
        (counted(&server).await? - own).abs() < f64::EPSILON,
        "the server counts otherwise"
    );

    // It was idle, not dead.
    producer
        .send(SendRecord::keyed(b"key", b"again"))
        .await?
        .wait()
        .await?;
    assert!(proxy.requests() > requests);
    tail.abort();
    Ok(())
}
