//! kcat in a group.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tidelog_e2e_harness::Tools;

use crate::support::{World, lines};

const RECORDS: usize = 1_000;

/// Reads in a group until nothing is left.
async fn read(world: &World, group: &str) -> Result<Vec<String>> {
    let settings = ["-X", "auto.offset.reset=earliest", "-e"];
    let arguments = [&settings[..], &["-G", group, "t"]].concat();
    let text = world.kcat(&arguments, &[]).await?.text();
    Ok(text.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_group_of_kcat_goes_on_where_it_was() -> Result<()> {
    Tools::program("kcat")?;
    let world = World::new(3).await?;
    let all = lines(RECORDS);
    world.kcat(&["-P", "-t", "t"], all.as_bytes()).await?;
    let first = read(&world, "readers").await?;
    let different: BTreeSet<&str> = first.iter().map(String::as_str).collect();
    ensure!(first.len() == RECORDS, "{} records", first.len());
    ensure!(different == all.lines().collect(), "not the same records");
    world.kcat(&["-P", "-t", "t"], b"new\n").await?;
    let second = read(&world, "readers").await?;
    ensure!(second == ["new"], "{second:?}");
    let other = read(&world, "others").await?;
    ensure!(other.len() == RECORDS + 1, "{} records", other.len());
    Ok(())
}
