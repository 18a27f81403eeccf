//! `tidelog audit` beside a running server: it finds each fault that is planted in the bucket and nothing else, says what
//! is lost, and mends what can be mended.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelog_client::Client;
use tidelog_e2e_harness::{Bucket, Cli, Finished, Server, ServerOptions};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence};

use crate::support::{World, base, records};

const TOPIC: &str = "audit";
const APPENDS: u64 = 30;
/// The exit code of an audit that has found something.
const FOUND: i32 = 1;

struct Scenario {
    flags: Vec<String>,
    bucket: Bucket,
    client: Client,
    server: Server,
}

/// A difference as programs see it.
fn only(found: &Value) -> Result<&Value> {
    let all = found["differences"].as_array().context("differences")?;
    ensure!(all.len() == 1, "{found}");
    all.first().context("one")
}

impl Scenario {
    async fn start(world: &World) -> Result<Self> {
        let options = ServerOptions::at(&world.place)
            .with("metadata.checkpoint_interval", "1s")
            .with("janitor.grace", "1s");
        let server = Server::start(options).await?;
        Ok(Self {
            flags: world.place.flags(),
            bucket: Bucket::open(&world.place)?,
            client: server.client()?,
            server,
        })
    }

    async fn run(&self, words: &[&str]) -> Result<(Finished, Value)> {
        let mut all = vec!["audit", "-o", "json", "--grace", "1s"];
        all.extend(words);
        all.extend(self.flags.iter().map(String::as_str));
        let finished = Cli::new(None).run(&all).await?;
        let found = serde_json::from_str(&finished.text());
        let found = found.with_context(|| format!("{finished:?}"))?;
        Ok((finished, found))
    }

    /// Nothing is found.
    async fn is_clean(&self) -> Result<Value> {
        let (finished, found) = self.run(&["--verify", "bytes"]).await?;
        ensure!(finished.code == 0, "{finished:?}");
        let none = found["differences"].as_array().is_some_and(Vec::is_empty);
        ensure!(none, "{found}");
        Ok(found)
    }

    /// One thing is found.
    async fn finds(&self, words: &[&str], kind: &str) -> Result<Value> {
        let (finished, found) = self.run(words).await?;
        ensure!(finished.code == FOUND, "{finished:?}");
        let only = only(&found)?;
        ensure!(only["kind"] == kind, "{found}");
        Ok(only.clone())
    }

    async fn append(&self, number: u64) -> Result<()> {
        let entry = records(TOPIC, 0, [format!("{number}:").repeat(200)]);
        let at = base(&self.client.log().produce(vec![entry]).await?)?;
        ensure!(at == number, "appended at {at}, not at {number}");
        Ok(())
    }

    /// What lies under no name that was ever given out, and goes.
    async fn orphans_go(&self, segment: &str) -> Result<()> {
        let name = SegmentName::new(Incarnation::new(900), SegmentSequence::new(4));
        let orphan = self.bucket.segment(segment, name)?;
        self.bucket.put(&orphan, "an orphan").await?;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let found = self.finds(&[], "orphan").await?;
        ensure!(found["object"] == orphan.as_str(), "{found}");
        let (finished, found) = self.run(&["--mend"]).await?;
        ensure!(finished.code == 0, "{finished:?}");
        ensure!(only(&found)?["state"] == "mended", "{found}");
        let left = self.bucket.segments().await?;
        ensure!(!left.contains(&orphan), "the orphan is there");
        Ok(())
    }

    /// What is not as it was written, and nothing can bring back.
    async fn damage_is_told(&self, segment: &str) -> Result<()> {
        let whole = self.bucket.get(segment).await?;
        self.bucket.flip_bit(segment, 150).await?;
        let found = self.finds(&["--verify", "bytes"], "extent").await?;
        ensure!(found["object"] == segment, "{found}");
        ensure!(found["lost"][0]["topic"] == TOPIC, "{found}");
        let (finished, _) = self.run(&["--verify", "indexes"]).await?;
        ensure!(finished.code == 0, "indexes are whole: {finished:?}");
        self.bucket.put(segment, whole.clone()).await?;
        self.bucket.truncate(segment, 100).await?;
        self.finds(&["--verify", "lengths"], "short").await?;
        self.bucket.delete(segment).await?;
        let found = self.finds(&[], "missing").await?;
        let lost = &found["lost"][0];
        let of = (lost["base_offset"].as_u64(), lost["next_offset"].as_u64());
        ensure!(of.0.is_some() && of.0 < of.1, "{found}");
        let (finished, found) = self.run(&["--mend"]).await?;
        ensure!(finished.code == FOUND, "what is lost stays lost");
        ensure!(only(&found)?["state"] == "remains", "{found}");
        self.bucket.put(segment, whole).await
    }
}

async fn each_fault_is_found(world: &World) -> Result<()> {
    let mut scenario = Scenario::start(world).await?;
    let none = [] as [(&str, &str); 0];
    scenario.client.admin().create_topic(TOPIC, 1, none).await?;
    for number in 0..APPENDS {
        scenario.append(number).await?;
    }
    let found = scenario.is_clean().await?;
    ensure!(found["extents"].as_u64() >= Some(1), "{found}");
    let segments = scenario.bucket.segments().await?;
    let segment = segments.first().context("a segment")?;
    scenario.orphans_go(segment).await?;
    scenario.damage_is_told(segment).await?;
    scenario.append(APPENDS).await?;
    scenario.is_clean().await?;
    // Nothing has taken the store from the server, and another one finds all as it was.
    scenario.server.process().kill();
    scenario.server.restart().await?;
    scenario.is_clean().await?;
    Ok(())
}

#[tokio::test]
async fn an_audit_finds_each_fault_in_a_folder() -> Result<()> {
    each_fault_is_found(&World::folder()?).await
}

#[tokio::test]
async fn an_audit_finds_each_fault_on_s3() -> Result<()> {
    each_fault_is_found(&World::s3().await?).await
}
