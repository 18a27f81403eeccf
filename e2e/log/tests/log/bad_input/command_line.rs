//! Mistakes on the command line: each ends with the right exit code and a text that helps.

use anyhow::Result;
use tidelog_e2e_harness::{Cli, Server, ServerOptions, free_port};

use crate::support::World;

const USAGE: i32 = 2;
const UNAVAILABLE: i32 = 7;
const NOT_FOUND: i32 = 8;

#[tokio::test]
async fn what_is_not_there_is_named_with_the_command_that_shows_what_is() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "here", "--partitions", "2"])
        .await?;
    cli.ok_with(
        &["produce", "here", "--partition", "1", "--quiet"],
        b"one\ntwo\n",
    )
    .await?;

    let hint = ["`nowhere`", "tidelog topic list"];
    let read = ["consume", "nowhere", "--from", "earliest", "--until-end"];
    cli.fails(&read, NOT_FOUND, &hint).await?;
    cli.fails(&["produce", "nowhere", "--quiet"], NOT_FOUND, &hint)
        .await?;
    cli.fails(&["topic", "describe", "nowhere"], NOT_FOUND, &hint)
        .await?;
    cli.fails(&["offsets", "nowhere"], NOT_FOUND, &hint).await?;

    let read = [
        "consume",
        "here",
        "--partition",
        "7",
        "--from",
        "earliest",
        "--until-end",
    ];
    cli.fails(
        &read,
        NOT_FOUND,
        &["partition `7`", "tidelog topic describe"],
    )
    .await?;
    let read = [
        "consume",
        "here",
        "--partition",
        "1",
        "--from",
        "99",
        "--until-end",
    ];
    cli.fails(&read, NOT_FOUND, &["`99`", "[0, 2)", "tidelog offsets"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn names_and_settings_that_are_not_allowed_are_explained() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.fails(
        &["topic", "create", "a b"],
        USAGE,
        &["a topic name has only letters", "not ` `"],
    )
    .await?;
    cli.fails(
        &["topic", "create", "x", "--config", "retention.sm=1"],
        USAGE,
        &["retention.ms"],
    )
    .await?;
    cli.ok(&["topic", "create", "x"]).await?;
    cli.fails(&["topic", "create", "x"], 1, &["`x` exists already"])
        .await?;
    cli.fails(
        &["consume", "x", "--from", "someday"],
        USAGE,
        &["`someday`", "earliest"],
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn input_that_cannot_be_read_is_named_with_its_line() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "in"]).await?;
    let produce = [
        "produce", "in", "--quiet", "--format", "json", "--key", "id",
    ];
    let broken = cli
        .run_with(&produce, b"{\"id\":\"1\"}\n{\"id\":\n")
        .await?;
    assert_ne!(broken.code, 0);
    assert!(broken.stderr.contains("line 2"), "{}", broken.stderr);
    // What came before the mistake was written.
    let read = ["consume", "in", "--from", "earliest", "--until-end"];
    assert_eq!(cli.ok(&read).await?, "{\"id\":\"1\"}\n");

    let csv = [
        "produce", "in", "--quiet", "--format", "csv", "--key", "carrier",
    ];
    let wrong = cli.run_with(&csv, b"year,month\n2013,1\n").await?;
    assert_eq!(wrong.code, USAGE);
    assert!(
        wrong
            .stderr
            .contains("no column `carrier`; there are year, month"),
        "{}",
        wrong.stderr
    );
    let file = ["produce", "in", "no-such-file.csv"];
    cli.fails(&file, 1, &["no-such-file.csv"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_what_to_do() -> Result<()> {
    let cli = Cli::new(Some(free_port()?));
    let ask = ["--timeout", "1s", "topic", "list"];
    cli.fails(
        &ask,
        UNAVAILABLE,
        &["is the server running?", "tidelog serve"],
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn settings_that_are_wrong_stop_the_server_before_it_touches_anything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tidelog.toml");
    std::fs::write(&file, "[memory]\ntotla = \"1GiB\"\n")?;
    let file = file.display().to_string();
    let cli = Cli::new(None);
    let words = [
        "unknown option `memory.totla`",
        "did you mean `memory.total`?",
    ];
    cli.fails(&["config", "check", "--config", &file], USAGE, &words)
        .await?;
    cli.fails(&["serve", "--config", &file], USAGE, &words)
        .await?;
    let both = ["serve", "--set", "data=x", "--set", "bucket=s3://y"];
    cli.fails(&both, USAGE, &["`data` and `bucket` are both set"])
        .await?;
    let open = ["serve", "--data", "x", "--grpc", "0.0.0.0:0"];
    cli.fails(&open, USAGE, &["--insecure"]).await?;
    assert!(!folder.path().join("x").exists());
    Ok(())
}
