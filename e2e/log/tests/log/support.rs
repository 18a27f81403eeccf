//! What scenarios share.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidelog_client::v1;
use tidelog_client::v1::batch_result::Outcome;
use tidelog_client::v1::produce_entry::Data;
use tidelog_e2e_harness::{Cli, Minio, Place, Seaweed};

/// Time for a server to end that has something to finish.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(30);
/// Time for what nobody needs to go from the bucket.
const NAMED_LIMIT: Duration = Duration::from_mins(1);
/// Time for senders to finish after the last restart.
pub(crate) const LOAD_LIMIT: Duration = Duration::from_secs(90);

/// A bucket of one's own, in a folder or on S3, which goes with this.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) minio: Option<Minio>,
    _seaweed: Option<Seaweed>,
    folder: TempDir,
}

impl World {
    /// A local folder.
    pub(crate) fn folder() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            place: Place::folder(folder.path().join("data")),
            minio: None,
            _seaweed: None,
            folder,
        })
    }

    /// A bucket of a server that speaks S3.
    pub(crate) async fn s3() -> Result<Self> {
        let minio = Minio::start().await?;
        Ok(Self {
            place: minio.create_bucket("logs").await?,
            minio: Some(minio),
            _seaweed: None,
            folder: tempfile::tempdir()?,
        })
    }

    /// A bucket of such a server that has a key.
    pub(crate) async fn s3_with_key() -> Result<Self> {
        let minio = Minio::start_with_key().await?;
        Ok(Self {
            place: minio.create_bucket("logs").await?,
            minio: Some(minio),
            _seaweed: None,
            folder: tempfile::tempdir()?,
        })
    }

    /// A bucket of another server that speaks S3.
    pub(crate) async fn other_s3() -> Result<Self> {
        let seaweed = Seaweed::start().await?;
        Ok(Self {
            place: seaweed.create_bucket("logs").await?,
            minio: None,
            _seaweed: Some(seaweed),
            folder: tempfile::tempdir()?,
        })
    }

    /// Writes a file that goes with this; answers its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// The S3 server.
    pub(crate) fn minio(&self) -> Result<&Minio> {
        self.minio.as_ref().context("this world has no S3")
    }
}

/// An entry with records for one partition.
pub(crate) fn records<V: AsRef<[u8]>>(
    topic: &str,
    partition: u32,
    values: impl IntoIterator<Item = V>,
) -> v1::ProduceEntry {
    let records = values
        .into_iter()
        .map(|value| v1::Record {
            key: Some(b"key".to_vec().into()),
            value: Some(value.as_ref().to_vec().into()),
            ..v1::Record::default()
        })
        .collect();
    v1::ProduceEntry {
        topic: topic.to_owned(),
        partition: Some(partition),
        data: Some(Data::Records(v1::Records { records })),
        ..v1::ProduceEntry::default()
    }
}

/// An entry with ready batches for one partition.
pub(crate) fn batches(topic: &str, partition: u32, bytes: Vec<u8>) -> v1::ProduceEntry {
    v1::ProduceEntry {
        topic: topic.to_owned(),
        partition: Some(partition),
        data: Some(Data::Batches(bytes.into())),
        ..v1::ProduceEntry::default()
    }
}

/// What became of the only batch of the only entry.
pub(crate) fn only(results: &[v1::ProduceResult]) -> Result<&Outcome> {
    let result = results.first().context("one result")?;
    let batch = result.batches.first().context("one batch")?;
    batch.outcome.as_ref().context("an outcome")
}

/// The offset at which the only batch was appended.
pub(crate) fn base(results: &[v1::ProduceResult]) -> Result<u64> {
    match only(results)? {
        Outcome::Appended(appended) => Ok(appended.base_offset),
        Outcome::Error(error) => anyhow::bail!("not appended: {error:?}"),
    }
}

/// The error of the only batch.
pub(crate) fn refusal(results: &[v1::ProduceResult]) -> Result<v1::Error> {
    match only(results)? {
        Outcome::Error(error) => Ok(error.clone()),
        Outcome::Appended(appended) => anyhow::bail!("appended: {appended:?}"),
    }
}

/// A fetch of one partition from `offset`.
pub(crate) fn fetch(topic: &str, partition: u32, offset: u64) -> v1::FetchRequest {
    v1::FetchRequest {
        partitions: vec![v1::FetchPartition {
            topic: topic.to_owned(),
            partition,
            offset,
            max_bytes: 0,
        }],
        ..v1::FetchRequest::default()
    }
}

/// The decoded records of what was fetched.
pub(crate) fn fetched(data: &v1::PartitionData) -> Vec<v1::Record> {
    match &data.data {
        Some(v1::partition_data::Data::Records(records)) => records.records.clone(),
        _ => Vec::new(),
    }
}

/// How many rows there are of some kinds.
pub(crate) async fn rows(world: &World, kinds: &[&str]) -> Result<u64> {
    tidelog_e2e_harness::rows(&world.place, kinds).await
}

/// Waits until the bucket has as many segments as metadata names, and nothing is left to do.
pub(crate) async fn only_what_is_named(world: &World) -> Result<u64> {
    tidelog_e2e_harness::only_what_is_named(&world.place, NAMED_LIMIT).await
}

/// Audits down to every byte; nothing may be found.
pub(crate) async fn audit(world: &World) -> Result<()> {
    let flags = world.place.flags();
    let mut words = vec!["audit", "--verify", "bytes", "--set", "janitor.grace=1s"];
    words.extend(flags.iter().map(String::as_str));
    let audited = Cli::new(None).run(&words).await?;
    ensure!(audited.code == 0, "{audited:?}");
    Ok(())
}
