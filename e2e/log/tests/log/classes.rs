//! Two storage classes in one server: topics of each fill their own segments, and a class that has gone from the settings
//! is said to have, while what it holds can be read.

use anyhow::{Result, ensure};
use tidelog_e2e_harness::{Server, ServerOptions, metric};
use tokio::time::Instant;

use crate::support::World;

/// Writes one record and answers how long that took, in milliseconds.
async fn write(server: &Server, topic: &str) -> Result<u128> {
    let began = Instant::now();
    server
        .cli()
        .ok_with(&["produce", topic], b"a record\n")
        .await?;
    Ok(began.elapsed().as_millis())
}

async fn read(server: &Server, topic: &str) -> Result<String> {
    let cli = server.cli();
    cli.ok(&["consume", topic, "--from", "earliest", "--until-end"])
        .await
}

async fn segments(server: &Server) -> Result<f64> {
    let page = server.metrics().await?;
    let put = ["operation=\"put\"", "purpose=\"segment\""];
    Ok(metric(&page, "tidelog_blob_requests_total", &put).unwrap_or(0.0))
}

#[tokio::test]
async fn topics_of_two_classes_share_no_segment_and_wait_for_their_own_time() -> Result<()> {
    let world = World::folder()?;
    let plain = ServerOptions::at(&world.place);
    let options = plain
        .clone()
        .with("storage.classes.slow.linger", "3s")
        .with("storage.classes.fast.linger", "1ms");
    let mut server = Server::start(options.clone()).await?;
    let cli = server.cli();
    for class in ["slow", "fast"] {
        let config = format!("tidelog.storage.class={class}");
        cli.ok(&["topic", "create", class, "--config", &config])
            .await?;
    }
    let unknown = [
        "topic",
        "create",
        "other",
        "--config",
        "tidelog.storage.class=glacial",
    ];
    let refused = cli.run(&unknown).await?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("`fast`"),
        "{refused:?}"
    );

    let before = segments(&server).await?;
    let (slow, fast) = tokio::try_join!(write(&server, "slow"), write(&server, "fast"))?;
    ensure!(slow >= 2_900, "the slow class answered after {slow} ms");
    ensure!(
        fast + 1_000 < slow,
        "the fast class answered after {fast} ms, the slow one after {slow}"
    );
    ensure!(
        (segments(&server).await? - before - 2.0).abs() < 0.5,
        "a segment for each"
    );

    // The fast class goes from the settings: its records stay, and nothing is written as if it had never been.
    server.process().kill();
    let without = plain.with("storage.classes.slow.linger", "3s");
    server.restart_with(without).await?;
    ensure!(read(&server, "fast").await?.contains("a record"));
    let refused = server
        .cli()
        .run_with(&["produce", "fast"], b"another\n")
        .await?;
    let says = refused.stderr.contains("storage class `fast`");
    ensure!(refused.code != 0 && says, "{refused:?}");
    write(&server, "slow").await?;

    // It comes back, and all is as before.
    server.process().kill();
    server.restart_with(options).await?;
    write(&server, "fast").await?;
    ensure!(read(&server, "fast").await?.lines().count() == 2);
    Ok(())
}
