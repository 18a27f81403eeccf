//! Segments that are damaged in the bucket: never served, never skipped, reported with object, offset and
//! partition. Other data stays readable.

use anyhow::{Context, Result, ensure};
use tidelog_client::v1::{self, ErrorCode, RecordFormat};
use tidelog_e2e_harness::{Bucket, Ended, Server, ServerOptions};

use crate::support::{END_LIMIT, World, base, fetch, fetched, records};

const TOPIC: &str = "damage";
/// Values are long enough for the middle of a segment to lie in them.
const VALUE_BYTES: usize = 50_000;

struct Scenario {
    server: Server,
    bucket: Bucket,
    /// The one segment with the first record of partition 0.
    segment: String,
    _world: World,
}

impl Scenario {
    /// Partition 0 has one record in one segment and another one in a later segment; the server is down.
    async fn start(world: World) -> Result<Self> {
        let mut server = Server::start(ServerOptions::at(&world.place)).await?;
        let client = server.client()?;
        client
            .admin()
            .create_topic(TOPIC, 1, [] as [(&str, &str); 0])
            .await?;
        let bucket = Bucket::open(&world.place)?;
        let value = "v".repeat(VALUE_BYTES);
        assert_eq!(
            base(
                &client
                    .log()
                    .produce(vec![records(TOPIC, 0, [&value])])
                    .await?
            )?,
            0
        );
        let segments = bucket.segments().await?;
        let segment = segments.into_iter().next().context("a segment")?;
        assert_eq!(
            base(
                &client
                    .log()
                    .produce(vec![records(TOPIC, 0, ["whole"])])
                    .await?
            )?,
            1
        );
        assert_eq!(bucket.segments().await?.len(), 2);
        // What is in memory would be served without a look at the bucket.
        assert_eq!(server.stop(END_LIMIT).await?, Ended::Code(0));
        Ok(Self {
            server,
            bucket,
            segment,
            _world: world,
        })
    }

    /// After the damage: the first record is reported, the second one is served.
    async fn report(mut self) -> Result<()> {
        self.server.restart().await?;
        let log = self.server.client()?.log();
        for format in [RecordFormat::Records, RecordFormat::Batches] {
            let request = v1::FetchRequest {
                record_format: format.into(),
                ..fetch(TOPIC, 0, 0)
            };
            let data = log.fetch(request).await?;
            ensure!(data[0].data.is_none(), "damaged bytes were served");
            let error = data[0].error.as_ref().context("the damage is reported")?;
            ensure!(error.code() == ErrorCode::DataLoss, "{error:?}");
            let facts = [
                ("object", self.segment.as_str()),
                ("offset", "0"),
                ("partition", "0"),
            ];
            for (name, value) in facts {
                let fact = error.metadata.get(name).context(name)?;
                ensure!(
                    fact.ends_with(value),
                    "{name}: `{fact}` instead of `{value}`"
                );
                ensure!(
                    error.message.contains(value),
                    "`{value}` expected: {}",
                    error.message
                );
            }
        }
        let data = log.fetch(fetch(TOPIC, 0, 1)).await?;
        let whole = fetched(&data[0]);
        ensure!(
            whole.len() == 1 && whole[0].value.as_deref() == Some(b"whole"),
            "{:?}",
            data[0]
        );

        let cli = self.server.cli();
        let read = ["consume", TOPIC, "--from", "earliest", "--until-end"];
        cli.fails(&read, 1, &[&self.segment, "damaged"]).await?;
        let log = self.server.process().log();
        ensure!(
            log.contains(&self.segment),
            "the log does not name the object: {log}"
        );
        Ok(())
    }
}

async fn flipped(world: World) -> Result<()> {
    let scenario = Scenario::start(world).await?;
    scenario
        .bucket
        .flip_bit(&scenario.segment, VALUE_BYTES / 2)
        .await?;
    scenario.report().await
}

async fn truncated(world: World) -> Result<()> {
    let scenario = Scenario::start(world).await?;
    scenario
        .bucket
        .truncate(&scenario.segment, VALUE_BYTES / 2)
        .await?;
    scenario.report().await
}

#[tokio::test]
async fn a_flipped_bit_is_reported_and_never_served_from_a_folder() -> Result<()> {
    flipped(World::folder()?).await
}

#[tokio::test]
async fn a_flipped_bit_is_reported_and_never_served_from_s3() -> Result<()> {
    flipped(World::s3().await?).await
}

#[tokio::test]
async fn a_truncated_segment_is_reported_and_never_served_from_a_folder() -> Result<()> {
    truncated(World::folder()?).await
}

#[tokio::test]
async fn a_truncated_segment_is_reported_and_never_served_from_s3() -> Result<()> {
    truncated(World::s3().await?).await
}

#[tokio::test]
async fn inspecting_a_damaged_segment_says_what_is_wrong_with_it() -> Result<()> {
    let scenario = Scenario::start(World::folder()?).await?;
    let tidelog_e2e_harness::Place::Folder(folder) = &scenario.server.options().place else {
        anyhow::bail!("a folder");
    };
    let file = folder.join(&scenario.segment).display().to_string();
    let cli = scenario.server.cli();
    cli.ok(&["segment", "inspect", &file]).await?;
    scenario
        .bucket
        .flip_bit(&scenario.segment, VALUE_BYTES / 2)
        .await?;
    cli.fails(&["segment", "inspect", &file], 1, &["damaged"])
        .await?;
    scenario
        .bucket
        .truncate(&scenario.segment, VALUE_BYTES / 2)
        .await?;
    cli.fails(&["segment", "inspect", &file], 1, &["not a whole segment"])
        .await?;
    Ok(())
}
