//! The bill of what was counted, and of the same load as it is described, agree.
//!
//! A server on a folder gets some hundred small batches a second for a while. `tidelog cost` reads what it counts, and
//! then reckons the same rate of the same batches by its model. Requests are compared, kind by kind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_e2e_harness::{Cli, Server, ServerOptions};
use tokio::time::sleep;

use crate::support::World;

/// How far the model may be from what was counted, up or down.
const FACTOR: f64 = 1.6;
/// What was begun at the start must be over when counting begins.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long it is counted.
const COUNTED: &str = "10s";

/// The lines of our bill: what, and how many in a month.
fn lines(bill: &Value) -> Result<Vec<(String, f64)>> {
    let lines = bill["tidelog"]["lines"].as_array().context("lines")?;
    let pairs = lines.iter().map(|line| {
        let what = line["what"].as_str().context("what")?.to_owned();
        Ok((what, line["quantity"].as_f64().context("quantity")?))
    });
    pairs.collect()
}

fn sum(lines: &[(String, f64)], begins: &[&str], ends: &str) -> f64 {
    let wanted = lines.iter().filter(|(what, _)| {
        what.ends_with(ends) && begins.iter().any(|begin| what.starts_with(begin))
    });
    wanted.map(|(_, quantity)| quantity).sum()
}

fn close(what: &str, counted: f64, modelled: f64) -> Result<()> {
    let ratio = modelled / counted;
    println!("{what}: {counted:.0} counted, {modelled:.0} by the model: {ratio:.2}");
    ensure!((1.0 / FACTOR..FACTOR).contains(&ratio), "{what}: {ratio}");
    Ok(())
}

/// What a server counts while it gets a load.
async fn counted(server: &Server) -> Result<Value> {
    let (cli, http) = (server.cli(), server.http().to_string());
    let loading = tokio::spawn({
        let cli = cli.clone();
        async move {
            let load =
                "bench produce --topic load --partitions 4 --rate 300 --linger 0s --duration 18s";
            cli.ok(&load.split(' ').collect::<Vec<_>>()).await
        }
    });
    sleep(WARM_UP).await;
    let counting = format!("cost --metrics {http} --for {COUNTED} --zones 1 -o json");
    let bill = cli.ok(&counting.split(' ').collect::<Vec<_>>()).await?;
    loading.await??;
    Ok(serde_json::from_str(&bill)?)
}

/// What the model says of the rate that was counted.
async fn modelled(cli: &Cli, counted: &Value) -> Result<Value> {
    let rate = |key: &str| counted[key].as_f64().context("a rate");
    let (written, batch) = (rate("written_bytes_per_second")?, rate("batch_bytes")?);
    let reckoning = format!(
        "cost --write-rate {written:.0}B --batch {batch:.0}B --zones 1 --fan-out 0 -o json \
         --price object_store.put_latency_ms=5 --price object_store.small_put_latency_ms=5"
    );
    let bill = cli.ok(&reckoning.split(' ').collect::<Vec<_>>()).await?;
    Ok(serde_json::from_str(&bill)?)
}

#[tokio::test]
async fn what_the_model_says_of_a_load_is_what_a_server_counts() -> Result<()> {
    let world = World::folder()?;
    let options = ServerOptions::at(&world.place).with("produce.linger", "250ms");
    let server = Server::start(options).await?;
    let (cli, http) = (server.cli(), server.http().to_string());
    let counted = counted(&server).await?;
    let modelled = lines(&modelled(&cli, &counted).await?)?;
    let counted = lines(&counted)?;
    close(
        "segments put",
        sum(&counted, &["put segment"], "broker"),
        sum(&modelled, &["segments put"], ""),
    )?;
    close(
        "store written",
        sum(&counted, &["put store_", "list store_"], "store"),
        sum(&modelled, &["store written"], ""),
    )?;

    // Since the start there is more of everything, and a bill as well; a page that was saved makes one, too.
    let since = cli.ok(&["cost", "--metrics", &http]).await?;
    let is_since = since.contains("since each process was started");
    ensure!(is_since && since.contains("put segment, broker"), "{since}");
    let page = world.file("page", &server.metrics().await?)?;
    let saved = cli
        .ok(&[
            "cost", "--saved", &page, "--over", "20s", "--prices", "minio",
        ])
        .await?;
    let is_minio = saved.contains("prices: `minio`");
    ensure!(is_minio && saved.contains("put segment, broker"), "{saved}");
    Ok(())
}

/// What is wrong, and the word that says so.
const WRONG: [(&str, &str); 19] = [
    ("", "--write-rate"),
    ("--write-rate=-5MiB", "-5MiB"),
    ("--write-rate 1.5GiB", "not a size"),
    ("--write-rate 9999999999TiB", "not a size"),
    ("--write-rate 2TiB", "write rate"),
    ("--write-rate 1MiB --fan-out NaN", "fan-out"),
    ("--write-rate 1MiB --fan-out=-1", "fan-out"),
    ("--write-rate 1MiB --fan-out inf", "fan-out"),
    ("--write-rate 1MiB --zones 0", "zones"),
    ("--write-rate 1MiB --retention 900years", "retention"),
    ("--write-rate 1MiB --prices gold", "`gold`"),
    ("--write-rate 1MiB --price x", "KEY=VALUE"),
    ("--write-rate 1MiB --price moon.x=1", "moon.x"),
    (
        "--write-rate 1MiB --price machine.per_hour=nan",
        "machine.per_hour",
    ),
    ("--write-rate 1MiB --price-file UNKNOWN", "class_c"),
    (
        "--write-rate 1MiB --metrics 127.0.0.1:1",
        "cannot be used with",
    ),
    ("--saved FOREIGN --over 1h", "not metrics"),
    ("--saved NAN --over 1h", "line 1"),
    ("--saved NAN", "--over"),
];

#[tokio::test]
async fn what_cannot_be_reckoned_with_is_refused_in_words() -> Result<()> {
    let (world, cli) = (World::folder()?, Cli::new(None));
    let unknown = world.file("unknown.toml", "[object_store]\nclass_c = 1\n")?;
    let foreign = world.file("foreign", "up 1\n")?;
    let nan = world.file("nan", "tidelog_blob_requests_total NaN\n")?;
    for (arguments, word) in WRONG {
        let arguments = arguments.split(' ').filter(|argument| !argument.is_empty());
        let arguments = arguments.map(|argument| match argument {
            "UNKNOWN" => unknown.as_str(),
            "FOREIGN" => foreign.as_str(),
            "NAN" => nan.as_str(),
            other => other,
        });
        let all: Vec<&str> = std::iter::once("cost").chain(arguments).collect();
        cli.fails(&all, 2, &[word]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_list_that_is_printed_can_be_changed_and_used() -> Result<()> {
    let (world, cli) = (World::folder()?, Cli::new(None));
    let shown = cli
        .ok(&["cost", "--show-prices", "--prices", "s3-express"])
        .await?;
    let own = world.file("own.toml", &shown.replace("\"s3-express\"", "\"ours\""))?;
    let bill = cli
        .ok(&["cost", "--write-rate", "1MiB", "--price-file", &own])
        .await?;
    ensure!(bill.contains("prices: `ours` of"), "{bill}");
    Ok(())
}
