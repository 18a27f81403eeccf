//! A `produce` that fails half-way says how far it came and how to go on, so that nothing is written twice.

use anyhow::Result;
use serde_json::Value;
use tidelog_e2e_harness::{Cli, Server, ServerOptions};

use crate::support::World;

const USAGE: i32 = 2;
const PARTIAL: i32 = 10;

const BROKEN: &[u8] = b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n{\"name\":\"3\"}\n{\"id\":\"4\"}\n";
const MENDED: &[u8] = b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n{\"id\":\"3\"}\n{\"id\":\"4\"}\n";

async fn read(cli: &Cli, topic: &str) -> Result<String> {
    cli.ok(&["consume", topic, "--from", "earliest", "--until-end"])
        .await
}

#[tokio::test]
async fn a_bad_line_is_told_with_what_is_written_and_the_rest_follows_without_a_twin() -> Result<()>
{
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "ev", "-p", "1"]).await?;
    let produce = ["produce", "ev", "--quiet", "-f", "json", "--key", "id"];

    let broken = cli.run_with(&produce, BROKEN).await?;
    assert_eq!(broken.code, PARTIAL, "{broken:?}");
    for words in [
        "line 3 has no field `id`",
        "2 records were acknowledged",
        "everything before line 3 is written",
        "--from-line 3",
    ] {
        assert!(broken.stderr.contains(words), "{words}: {}", broken.stderr);
    }
    let go_on = [&produce[..], &["--from-line", "3"]].concat();
    cli.ok_with(&go_on, MENDED).await?;
    assert_eq!(read(&cli, "ev").await?.as_bytes(), MENDED);

    // Where nothing was written the code still says so.
    let first = cli.run_with(&produce, b"{\"name\":\"1\"}\n").await?;
    assert_eq!(first.code, USAGE, "{first:?}");
    Ok(())
}

#[tokio::test]
async fn programs_are_told_how_far_it_came_as_json() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "ev", "-p", "1"]).await?;
    let produce = ["produce", "ev", "-o", "json", "-f", "json", "--key", "id"];
    let broken = cli.run_with(&produce, BROKEN).await?;
    assert_eq!(broken.code, PARTIAL, "{broken:?}");
    let told: Value = serde_json::from_str(&broken.stderr)?;
    assert_eq!(told["exit"], PARTIAL);
    assert_eq!(told["done"]["acknowledged"], 2);
    assert_eq!(told["done"]["first_line_not_written"], 3);

    let nowhere = cli.run(&["topic", "describe", "no", "-o", "json"]).await?;
    let told: Value = serde_json::from_str(&nowhere.stderr)?;
    assert_eq!(
        (&told["code"], &told["exit"]),
        (&"UNKNOWN_TOPIC".into(), &8.into())
    );
    let wrong = cli.run(&["topic", "lsit", "-o", "json"]).await?;
    let told: Value = serde_json::from_str(&wrong.stderr)?;
    assert_eq!((wrong.code, &told["exit"]), (USAGE, &USAGE.into()));
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_too_large_is_told_with_its_line_and_the_limits() -> Result<()> {
    let world = World::folder()?;
    let server = Server::start(ServerOptions::at(&world.place)).await?;
    let cli = server.cli();
    cli.ok(&["topic", "create", "ev", "-p", "1"]).await?;
    let mut input = b"first\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 2_000_000));
    input.extend_from_slice(b"\nlast\n");
    let limits = ["line 2 ", "`max.message.bytes`", "8388608", "--from-line 2"];

    // One that the service itself refuses, since it might have been pressed enough.
    let noise: Vec<u8> = (0..20_000_000_u32)
        .map(|at| b'!' + u8::try_from((at.wrapping_mul(2_654_435_761) >> 16) % 90).unwrap_or(0))
        .collect();
    let huge = [&b"first\n"[..], &noise, b"\n"].concat();
    for (input, compression) in [(&input, "none"), (&huge, "gzip")] {
        let produce = ["produce", "ev", "--quiet", "--compression", compression];
        let large = cli.run_with(&produce, input).await?;
        assert_eq!(large.code, PARTIAL, "{large:?}");
        for words in limits {
            assert!(large.stderr.contains(words), "{words}: {}", large.stderr);
        }
    }
    assert_eq!(read(&cli, "ev").await?, "first\nfirst\n");
    // A topic that takes little gets small batches.
    cli.ok(&[
        "topic",
        "create",
        "small",
        "-p",
        "1",
        "-c",
        "max.message.bytes=2000",
    ])
    .await?;
    let many = "some text\n".repeat(2_000);
    cli.ok_with(&["produce", "small", "--quiet"], many.as_bytes())
        .await?;
    assert_eq!(read(&cli, "small").await?, many);
    Ok(())
}
