//! Metadata and broker in one process, on the embedded store: it calls its own metadata service without a socket
//! while it is the active one, and the other's while it is not.

use anyhow::{Result, ensure};
use tidelog_client::{Client, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{Place, Server, ServerOptions, free_port, metric, until};

use crate::support::{PROGRESS_LIMIT, TOPIC, bucket, create_topic};

fn process(place: &Place, own: &str, other: &str) -> ServerOptions {
    ServerOptions::at(place)
        .with("memory.total", "128MiB")
        .with("roles", "metadata,broker")
        .with("listen.internal", own)
        .with("cluster.metadata", other)
}

async fn write(client: &Client) -> Result<()> {
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let record = SendRecord::keyed(b"key", b"value");
    producer.send(record).await?.wait().await?;
    Ok(())
}

/// Connections of members, and calls that they have made.
async fn sockets(server: &Server) -> Result<(Option<f64>, Option<f64>)> {
    let page = server.metrics().await?;
    let calls = metric(&page, "tidelog_internal_calls_total", &["side=\"server\""]);
    Ok((metric(&page, "tidelog_internal_connections", &[]), calls))
}

#[tokio::test]
async fn a_process_calls_its_own_metadata_without_a_socket_while_it_is_active() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let (own, other) = (free_port()?.to_string(), free_port()?.to_string());
    let mut first = Server::start(process(&options.place, &own, &other)).await?;
    create_topic(&first.client()?, 4).await?;
    for _ in 0..10 {
        write(&first.client()?).await?;
    }
    let used = sockets(&first).await?;
    ensure!(used == (Some(0.0), None), "sockets were used: {used:?}");

    // The second stands by, and its broker asks the first.
    let second = Server::start(process(&options.place, &other, &own)).await?;
    write(&second.client()?).await?;
    ensure!(
        sockets(&first).await?.0 > Some(0.0),
        "nobody asks the first"
    );
    first.process().kill();
    write(&second.client()?).await?;
    until(
        "nobody asks the second by a socket",
        PROGRESS_LIMIT,
        async || {
            let (connections, _) = sockets(&second).await.ok()?;
            (connections == Some(0.0)).then_some(())
        },
    )
    .await?;
    write(&second.client()?).await?;

    // And the other way round.
    first.restart().await?;
    write(&first.client()?).await
}
