//! `--timeout` means the same to every command: for as long it tries, and it says what it waits for.

use std::time::{Duration, Instant};

use anyhow::Result;
use tidelog_e2e_harness::{Cli, Mode, Proxy, Server, ServerOptions, free_port, within};

use super::support::Running;
use crate::support::{END_LIMIT, World};

const UNAVAILABLE: i32 = 7;
const TIMEOUT: Duration = Duration::from_secs(3);
/// What a busy machine may take on top.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test]
async fn every_command_tries_for_as_long_as_it_is_told_and_says_that_it_does() -> Result<()> {
    let address = free_port()?;
    let cli = Cli::new(Some(address));
    let cannot = format!("cannot connect to `http://{address}`");
    let words = [
        cannot.as_str(),
        "refused",
        "still trying",
        "is the server running?",
    ];
    let commands: [&[&str]; 5] = [
        &["topic", "list"],
        &["topic", "create", "x"],
        &["topic", "delete", "x"],
        &["produce", "x"],
        &["consume", "x"],
    ];
    for command in commands {
        let arguments = [&["--timeout", "3s"], command].concat();
        let start = Instant::now();
        let failed = cli.fails(&arguments, UNAVAILABLE, &words).await?;
        let took = start.elapsed();
        let range = TIMEOUT * 9 / 10..TIMEOUT + SLACK;
        assert!(range.contains(&took), "{command:?} took {took:?}");
        let errors = failed.stderr.matches("error: ").count();
        assert_eq!(errors, 1, "{}", failed.stderr);
    }
    let none = ["--timeout", "0s", "topic", "list"];
    cli.fails(&none, 2, &["longer than 0"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_that_was_begun_before_the_server_is_made_once_it_is_there() -> Result<()> {
    let world = World::folder()?;
    let mut server = Server::start(ServerOptions::at(&world.place)).await?;
    server.stop(END_LIMIT).await?;
    let create = ["topic", "create", "early", "-p", "1"];
    let mut creating = Running::start(&server, &create)?;
    let waits = within("the warning", END_LIMIT, creating.stderr.next_line()).await??;
    assert!(waits.is_some_and(|line| line.contains("still trying")));
    server.restart().await?;
    let status = within("the end", END_LIMIT, creating.child.wait()).await??;
    assert_eq!(status.code(), Some(0));
    server.cli().ok(&["topic", "describe", "early"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_tail_outlives_a_restart_and_gives_up_when_its_time_is_up() -> Result<()> {
    let world = World::folder()?;
    let mut server = Server::start(ServerOptions::at(&world.place)).await?;
    server
        .cli()
        .ok(&["topic", "create", "t", "-p", "1"])
        .await?;
    let produce = ["produce", "t", "--quiet"];
    server.cli().ok_with(&produce, b"one\n").await?;

    let read = ["consume", "t", "--from", "earliest"];
    let mut patient = Running::start(&server, &read)?;
    let mut impatient = Running::start(&server, &[&read[..], &["--timeout", "3s"]].concat())?;
    for tail in [&mut patient, &mut impatient] {
        let line = within("the record", END_LIMIT, tail.stdout.next_line()).await??;
        assert_eq!(line.as_deref(), Some("one"));
    }
    server.process().kill();
    let start = Instant::now();
    let status = within("its end", END_LIMIT, impatient.child.wait()).await??;
    let took = start.elapsed();
    assert_eq!(status.code(), Some(UNAVAILABLE));
    assert!(
        (TIMEOUT * 9 / 10..TIMEOUT + SLACK).contains(&took),
        "{took:?}"
    );

    // Long after ten attempts.
    within(
        "an outage",
        END_LIMIT,
        tokio::time::sleep(Duration::from_secs(12)),
    )
    .await?;
    server.restart().await?;
    server.cli().ok_with(&produce, b"two\n").await?;
    let line = within("the next record", END_LIMIT, patient.stdout.next_line()).await??;
    assert_eq!(line.as_deref(), Some("two"));
    Ok(())
}

/// The server is there, but what it reads from is not.
#[tokio::test]
async fn a_read_is_given_up_in_time_while_the_bucket_is_in_trouble() -> Result<()> {
    let world = World::s3().await?;
    let proxy = Proxy::start(world.minio()?.address()).await?;
    let options = ServerOptions::at(&world.place.through(proxy.address()));
    let mut server = Server::start(options).await?;
    server
        .cli()
        .ok(&["topic", "create", "t", "-p", "1"])
        .await?;
    server
        .cli()
        .ok_with(&["produce", "t", "--quiet"], b"one\n")
        .await?;
    for trouble in [Mode::Unavailable, Mode::Hang] {
        // What it has in memory it would serve all the same.
        server.stop(END_LIMIT).await?;
        server.wipe()?;
        server.restart().await?;
        proxy.set(trouble);
        let read = [
            "--timeout",
            "3s",
            "consume",
            "t",
            "--from",
            "earliest",
            "--until-end",
        ];
        let start = Instant::now();
        let finished = server.cli().run(&read).await?;
        let took = start.elapsed();
        assert_eq!(finished.code, UNAVAILABLE, "{finished:?}");
        assert!(took < TIMEOUT + SLACK / 2, "{trouble:?} took {took:?}");
        proxy.set(Mode::Pass);
    }
    Ok(())
}
