//! What cannot be done is refused at once, by its name, and what can be done beside it is done.

use anyhow::Result;
use tidelog_e2e_harness::{Cli, Server, ServerOptions};

use crate::support::World;

const USAGE: i32 = 2;
const NOT_FOUND: i32 = 8;
const PARTIAL: i32 = 10;

#[tokio::test]
async fn an_address_that_is_not_of_grpc_is_told_with_the_port_that_is() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let http = server.http().to_string();
    let words = [http.as_str(), "not Tidelog's gRPC port", "7070 by default"];
    Cli::new(Some(server.http()))
        .fails(&["topic", "list"], USAGE, &words)
        .await?;
    let cli = server.cli();
    let secure = format!("https://{}", server.grpc());
    let list = ["--address", secure.as_str(), "topic", "list"];
    cli.fails(&list, USAGE, &[&secure, "no TLS for clients yet"])
        .await?;
    let list = ["--address", "not-a-url", "topic", "list"];
    cli.fails(&list, USAGE, &["`not-a-url`", "http://HOST:PORT"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_partition_that_is_too_short_is_reported_and_the_others_are_read() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    let created = cli.ok(&["topic", "create", "t", "-p", "2"]).await?;
    assert!(created.contains("with 2 partitions"), "{created}");
    for (partition, records) in [("0", "a\nb\nc\n"), ("1", "d\n")] {
        let produce = ["produce", "t", "--quiet", "--partition", partition];
        cli.ok_with(&produce, records.as_bytes()).await?;
    }
    let read = ["consume", "t", "--from", "2", "--until-end"];
    let finished = cli
        .fails(
            &read,
            PARTIAL,
            &["partition `1` is left out", "1 partition of 2"],
        )
        .await?;
    assert_eq!(finished.text(), "c\n");
    let read = ["consume", "t", "--from", "9", "--until-end"];
    cli.fails(&read, NOT_FOUND, &["partition `", "`9`"]).await?;
    Ok(())
}

#[tokio::test]
async fn deleting_says_where_a_partition_begins_and_what_was_refused_once() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    let created = cli.ok(&["topic", "create", "t", "-p", "1"]).await?;
    assert!(created.contains("with 1 partition\n"), "{created}");
    cli.ok_with(&["produce", "t", "--quiet"], b"a\nb\nc\n")
        .await?;
    cli.ok(&["delete-records", "t", "--before", "2", "--yes"])
        .await?;
    let delete = [
        "delete-records",
        "t",
        "--before",
        "999",
        "--yes",
        "-o",
        "json",
    ];
    let refused = cli
        .fails(
            &delete,
            NOT_FOUND,
            &["nothing was deleted in 1 of 1 partition"],
        )
        .await?;
    let rows: serde_json::Value = serde_json::from_slice(&refused.stdout)?;
    assert_eq!(rows[0]["earliest"], 2);
    let why = rows[0]["error"].as_str().unwrap_or_default();
    assert!(
        why.contains("999") && !refused.stderr.contains(why),
        "{refused:?}"
    );
    // A pipe is not asked.
    cli.ok(&["topic", "delete", "t"]).await?;
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_what_is_not_there_is_not_found() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.fails(&["topic", "create", "t", "-p", "0"], USAGE, &["'0'"])
        .await?;
    cli.fails(&["cluster", "drain", "nope"], NOT_FOUND, &["`nope`"])
        .await?;
    let help = cli.ok(&["--help"]).await?;
    assert!(
        help.starts_with("A log service on object storage"),
        "{help}"
    );
    Ok(())
}

#[tokio::test]
async fn a_benchmark_takes_its_own_topic_away_and_leaves_others_alone() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    let load = ["bench", "produce", "--records", "10", "--partitions", "1"];
    cli.ok(&load).await?;
    assert!(!cli.ok(&["topic", "list"]).await?.contains("bench"));
    cli.ok(&[&load[..], &["--keep"]].concat()).await?;
    cli.ok(&load).await?;
    let read = cli.ok(&["bench", "consume", "-o", "json"]).await?;
    let report: serde_json::Value = serde_json::from_str(&read)?;
    assert_eq!(report["records"], 20);
    Ok(())
}
