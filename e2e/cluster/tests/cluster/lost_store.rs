//! The store itself goes away, for all metadata processes or for a standby that is about to open it. Nobody ends
//! for that; they say what is wrong, and go on when it is back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelog_client::{Client, ProducerOptions, SendRecord};
use tidelog_e2e_harness::{
    Cluster, MetadataProcess, Mode, Place, Proxy, Server, ServerOptions, free_port, http_get, until,
};
#[cfg(feature = "fdb")]
use tokio::time::Instant;

#[cfg(feature = "fdb")]
use crate::support::Scene;
use crate::support::{PROGRESS_LIMIT, TOPIC, bucket, create_topic};

/// Longer than a lease, and than a transaction of FoundationDB may take.
#[cfg(feature = "fdb")]
const OUTAGE: Duration = Duration::from_secs(8);
/// From the return of the store to the first acknowledged record.
#[cfg(feature = "fdb")]
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// Waits until a process is not ready and says why.
async fn until_unready(server: &Server, why: &str) -> Result<()> {
    until(
        format!("a process says `{why}`"),
        PROGRESS_LIMIT,
        async || {
            let (code, said) = http_get(server.http(), "/readyz").await.ok()?;
            (code != 200 && said.contains(why)).then_some(())
        },
    )
    .await
}

#[cfg(feature = "fdb")]
async fn all_go_on(kills: bool) -> Result<()> {
    let (minio, mut fdb, options) = crate::support::bucket_and_fdb().await?;
    let mut scene = Scene::start(minio, &options).await?;
    scene.progress(100).await?;
    if kills {
        fdb.kill();
    } else {
        fdb.pause().await?;
    }
    for process in &scene.cluster.metadata {
        until_unready(&process.server, "has not answered this process").await?;
        let metrics = process.server.metrics().await?;
        ensure!(metrics.contains("tidelog_sequencer_store_in_touch 0"));
    }
    tokio::time::sleep(OUTAGE).await;
    let before = scene.recorder.acked();
    if kills {
        fdb.restart().await?;
    } else {
        fdb.resume()?;
    }
    let back = Instant::now();
    // More than could have been on their way to those who had sent them.
    while scene.recorder.acked() < before + 100 {
        ensure!(back.elapsed() < RETURN_LIMIT, "nothing is acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "100 records acknowledged {:?} after the store's return",
        back.elapsed()
    );
    for process in &mut scene.cluster.metadata {
        ensure!(process.server.process().ended().is_none(), "it has ended");
    }
    scene.cluster.ready().await?;
    let report = scene.judge().await?;
    println!(
        "{} records acknowledged around an outage of the store",
        report.acked
    );
    Ok(())
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn all_go_on_when_foundationdb_hung_for_a_while() -> Result<()> {
    all_go_on(false).await
}

#[cfg(feature = "fdb")]
#[tokio::test]
async fn all_go_on_when_foundationdb_was_away_for_a_while() -> Result<()> {
    all_go_on(true).await
}

fn process(place: &Place, name: &str) -> ServerOptions {
    ServerOptions::at(place)
        .with("memory.total", "128MiB")
        .with("cluster.name", name)
}

/// Two metadata processes, of which the second reaches the bucket by another way, and a broker.
async fn start(place: &Place, second: &Place) -> Result<Cluster> {
    let internal = [free_port()?, free_port()?];
    let spawn = |place: &Place, number: usize| -> Result<MetadataProcess> {
        let own = internal.get(number).context("one of two")?;
        let other = internal.get(1 - number).context("one of two")?;
        let options = process(place, &format!("metadata-{number}"))
            .with("roles", "metadata")
            .with("listen.internal", &own.to_string())
            .with("cluster.metadata", &other.to_string());
        let server = Server::spawn(options)?;
        let internal = *own;
        Ok(MetadataProcess { server, internal })
    };
    let mut active = spawn(place, 0)?;
    active.server.ready().await?;
    let mut standby = spawn(second, 1)?;
    standby.server.ready().await?;
    let known = format!("{},{}", internal[0], internal[1]);
    let broker = process(place, "broker")
        .with("roles", "broker")
        .with("cluster.metadata", &known);
    Ok(Cluster {
        brokers: vec![Server::start(broker).await?],
        metadata: vec![active, standby],
    })
}

async fn write(client: &Client) -> Result<()> {
    let producer = client.producer(TOPIC, ProducerOptions::default()).await?;
    let record = SendRecord::keyed(b"key", b"value");
    producer.send(record).await?.wait().await?;
    Ok(())
}

#[tokio::test]
async fn a_standby_that_cannot_open_the_store_stays_one_until_it_can() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let Place::S3 { address, .. } = &options.place else {
        anyhow::bail!("a bucket of S3");
    };
    let proxy = Proxy::start(*address).await?;
    let mut cluster = start(&options.place, &options.place.through(proxy.address())).await?;
    let client = cluster.client()?;
    create_topic(&client, 1).await?;
    write(&client).await?;
    let [active, standby] = &mut cluster.metadata[..] else {
        anyhow::bail!("two processes");
    };
    proxy.set(Mode::Unavailable);
    active.server.process().kill();
    until_unready(&standby.server, "the metadata store cannot be opened").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ended = standby.server.process().ended();
    ensure!(ended.is_none(), "it has ended: {ended:?}");
    proxy.set(Mode::Pass);
    standby.server.ready().await?;
    write(&client).await
}
