//! Who reads the output of a command may go at any time, also while there is nothing to write.

use anyhow::Result;
use tidelog_e2e_harness::{Server, ServerOptions, within};

use super::support::Running;
use crate::support::{END_LIMIT, World};

#[tokio::test]
async fn a_tail_ends_quietly_when_its_reader_goes() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "few", "-p", "1"]).await?;
    cli.ok_with(&["produce", "few", "--quiet"], b"one\n")
        .await?;

    let read = ["consume", "few", "--from", "-1h", "-o", "json"];
    let mut tail = Running::start(&server, &read)?;
    let line = within("the record", END_LIMIT, tail.stdout.next_line()).await??;
    assert!(line.is_some_and(|line| line.contains("\"one\"")));
    // Nothing is left to write, so that only the pipe itself can tell.
    drop(tail.stdout);
    let status = within("the end", END_LIMIT, tail.child.wait()).await??;
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        tail.stderr.next_line().await?,
        None,
        "it has nothing to say"
    );
    Ok(())
}
