//! `tidelog group` looks after the groups of Kafka clients.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{World, lines};

const RECORDS: usize = 300;

/// What a command prints as JSON.
async fn shown(world: &World, words: &[&str]) -> Result<Value> {
    let words: Vec<&str> = words.iter().chain(&["-o", "json"]).copied().collect();
    let text = world.server.cli().ok(&words).await?;
    serde_json::from_str(&text).with_context(|| format!("`{text}` is JSON"))
}

#[tokio::test]
async fn groups_are_listed_described_reset_and_deleted() -> Result<()> {
    let world = World::new(1).await?;
    let produce = ["-P", "-t", "t", "-p", "0"];
    let consume = [
        "-X",
        "auto.offset.reset=earliest",
        "-e",
        "-G",
        "readers",
        "t",
    ];
    world.kcat(&produce, lines(RECORDS).as_bytes()).await?;
    world.kcat(&consume, &[]).await?;
    world.kcat(&produce, b"one\ntwo\n").await?;
    let listed = shown(&world, &["group", "list"]).await?;
    let expected = json!([{ "name": "readers", "protocol": "classic", "state": "empty" }]);
    ensure!(listed == expected, "{listed}");
    let described = shown(&world, &["group", "describe", "readers"]).await?;
    let partition = &described["partitions"][0];
    ensure!(
        described["lag"] == 2 && partition["committed"] == RECORDS,
        "{described}"
    );
    ensure!(partition["lag_seconds"].is_number(), "{described}");
    let reset = ["group", "reset", "readers", "--topic", "t", "--to", "250"];
    let set = shown(&world, &[&reset[..], &["--dry-run"]].concat()).await?;
    ensure!(
        set[0]["before"] == RECORDS && set[0]["after"] == 250,
        "{set}"
    );
    let cli = world.server.cli();
    cli.ok(&reset).await?;
    let described = cli.ok(&["group", "describe", "readers"]).await?;
    ensure!(described.contains("lag: 52 records"), "{described}");
    let read = world.kcat(&consume, &[]).await?.text();
    ensure!(read.lines().count() == 52, "{read}");
    cli.ok(&["group", "delete", "readers", "--yes"]).await?;
    let listed = shown(&world, &["group", "list"]).await?;
    ensure!(listed == json!([]), "{listed}");
    let words = ["readers", "tidelog group list"];
    cli.fails(&["group", "describe", "readers"], 8, &words)
        .await?;
    Ok(())
}
