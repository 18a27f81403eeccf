//! Kafka Streams: its own word count, killed and started again in the middle.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use tidelog_e2e_harness::{Cli, until};

use crate::java::tool;
use crate::support::{FETCH_LIMIT, LIMIT, World};

const DEMO: &str = "org.apache.kafka.streams.examples.wordcount.WordCountDemo";
const INPUT: &str = "streams-plaintext-input";
const OUTPUT: &str = "streams-wordcount-output";

/// Runs the word count. It ends only when it is dropped.
async fn count(settings: &Path) -> Result<()> {
    let settings = settings.display().to_string();
    let finished = Cli::program(&tool()?, &[DEMO, &settings], &[], FETCH_LIMIT).await?;
    bail!("the word count has ended: {finished:?}")
}

/// The newest count of each word.
async fn counts(world: &World) -> Result<BTreeMap<String, u64>> {
    let arguments = [
        "-C",
        "-t",
        OUTPUT,
        "-o",
        "beginning",
        "-e",
        "-s",
        "value=q",
        "-f",
        "%k %s\n",
    ];
    let text = world.kcat(&arguments, &[]).await?.text();
    let counts = text.lines().filter_map(|line| {
        let (key, times) = line.split_once(' ')?;
        Some((key.to_owned(), times.parse().ok()?))
    });
    Ok(counts.collect())
}

async fn say(world: &World, text: &str) -> Result<()> {
    world.kcat(&["-P", "-t", INPUT], text.as_bytes()).await?;
    Ok(())
}

/// Waits until words were counted so often.
async fn counted(world: &World, expected: &[(&str, u64)]) -> Result<()> {
    let expected = expected
        .iter()
        .map(|(word, count)| ((*word).to_owned(), *count));
    let expected: BTreeMap<String, u64> = expected.collect();
    until(format!("{expected:?}"), LIMIT, async || {
        let counts = counts(world).await.ok()?;
        (counts == expected).then_some(())
    })
    .await
}

#[tokio::test]
async fn the_word_count_goes_on_where_it_was_killed() -> Result<()> {
    let world = World::new(1).await?;
    let admin = world.server.client()?.admin();
    let no_config: [(&str, &str); 0] = [];
    for topic in [INPUT, OUTPUT] {
        admin.create_topic(topic, 2, no_config).await?;
    }
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("streams.properties");
    let state = folder.path().join("state");
    let lines = [
        format!("bootstrap.servers={}", world.address()),
        format!("state.dir={}", state.display()),
        "commit.interval.ms=200".to_owned(),
        "consumer.session.timeout.ms=6000".to_owned(),
    ];
    std::fs::write(&settings, lines.join("\n"))?;
    say(&world, "all streams lead to kafka\nhello kafka streams\n").await?;
    let first = [
        ("all", 1),
        ("hello", 1),
        ("kafka", 2),
        ("lead", 1),
        ("streams", 2),
        ("to", 1),
    ];
    tokio::select! {
        ended = count(&settings) => ended?,
        counted = counted(&world, &first) => counted?,
    }
    // Its state is gone: the next one reads it again from the log.
    ensure!(state.is_dir(), "there was a state");
    std::fs::remove_dir_all(&state)?;
    say(&world, "join kafka summit\n").await?;
    let second = [
        ("all", 1),
        ("hello", 1),
        ("join", 1),
        ("kafka", 3),
        ("lead", 1),
        ("streams", 2),
        ("summit", 1),
        ("to", 1),
    ];
    tokio::select! {
        ended = count(&settings) => ended?,
        counted = counted(&world, &second) => counted?,
    }
    Ok(())
}
