//! What scenarios share.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tidelog_client::v1;
use tidelog_client::v1::partition_data::Data;
use tidelog_e2e_harness::{
    Cli, FdbServer, Finished, Minio, Place, Server, ServerOptions, Tools, free_port,
};

/// Time for a client that is there already.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);
/// Time for a client whose first run on a machine fetches libraries.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_mins(8);

/// What servers stand on: a bucket, and a `FoundationDB` where the suite is built for it.
pub(crate) struct Ground {
    pub(crate) place: Place,
    pub(crate) fdb: Option<FdbServer>,
    // Both are dropped with this.
    _minio: Option<Minio>,
    _folder: Option<TempDir>,
}

impl Ground {
    /// A bucket of an S3 server.
    pub(crate) async fn new() -> Result<Self> {
        let minio = Minio::start().await?;
        Ok(Self {
            place: minio.create_bucket("logs").await?,
            fdb: fdb().await?,
            _minio: Some(minio),
            _folder: None,
        })
    }

    /// A folder as the bucket.
    async fn folder() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            place: Place::folder(folder.path().join("data")),
            fdb: fdb().await?,
            _minio: None,
            _folder: Some(folder),
        })
    }

    /// A server in one process.
    fn server(&self) -> Result<ServerOptions> {
        let options = ServerOptions::at(&self.place);
        let Some(fdb) = &self.fdb else {
            return Ok(options);
        };
        let store = format!("fdb:{}", fdb.cluster_file().display());
        // Others may join a process whose store serves several, so it listens for them.
        let internal = free_port()?.to_string();
        Ok(ServerOptions {
            binary: Some(Tools::tidelog_with_fdb()?),
            ..options
                .with("metadata.store", &store)
                .with("listen.internal", &internal)
        })
    }
}

async fn fdb() -> Result<Option<FdbServer>> {
    Ok(if cfg!(feature = "fdb") {
        Some(FdbServer::start().await?)
    } else {
        None
    })
}

/// A server with the topic `t`.
pub(crate) struct World {
    pub(crate) server: Server,
    _ground: Ground,
}

impl World {
    pub(crate) async fn new(partitions: u32) -> Result<Self> {
        Self::on(Ground::new().await?, partitions, &[]).await
    }

    /// On a folder, for what sends thousands of records that wait for each other: each would be a PUT.
    pub(crate) async fn on_folder(partitions: u32) -> Result<Self> {
        Self::on(Ground::folder().await?, partitions, &[]).await
    }

    /// The same with more settings.
    pub(crate) async fn with(partitions: u32, settings: &[(&str, &str)]) -> Result<Self> {
        Self::on(Ground::folder().await?, partitions, settings).await
    }

    async fn on(ground: Ground, partitions: u32, settings: &[(&str, &str)]) -> Result<Self> {
        let with = |options: ServerOptions, (key, value): &(&str, &str)| options.with(key, value);
        let options = settings.iter().fold(ground.server()?, with);
        let server = Server::start(options).await?;
        let no_config: [(&str, &str); 0] = [];
        let admin = server.client()?.admin();
        admin.create_topic("t", partitions, no_config).await?;
        Ok(Self {
            server,
            _ground: ground,
        })
    }

    /// Where Kafka's protocol is served.
    pub(crate) fn address(&self) -> String {
        self.server.kafka().to_string()
    }

    /// Runs kcat against the server with some input; it must succeed.
    pub(crate) async fn kcat(&self, arguments: &[&str], input: &[u8]) -> Result<Finished> {
        let kcat = Tools::program("kcat")?;
        let address = self.address();
        let all = [&["-b", &address, "-q"], arguments].concat();
        let finished = Cli::program(&kcat, &all, input, LIMIT).await?;
        ensure!(finished.code == 0, "kcat {arguments:?}: {finished:?}");
        Ok(finished)
    }

    /// Runs a scenario that is a program: `run CLIENT HOST:PORT TOPIC` in a folder of the suite, with further
    /// words. It says `ok: ` at its end.
    pub(crate) async fn plays(&self, folder: &str, client: &[&str], more: &[&str]) -> Result<()> {
        let run = Tools::repository()?
            .join("e2e/kafka")
            .join(folder)
            .join("run");
        let address = self.address();
        let arguments = [client, &[address.as_str(), "made"], more].concat();
        let finished = Cli::script(&run, &arguments, FETCH_LIMIT).await?;
        let said = finished.code == 0 && finished.text().contains("ok: ");
        ensure!(said, "{folder} {client:?} {more:?}: {finished:?}");
        Ok(())
    }

    /// All records of a partition of `t`, through gRPC, from offset 0.
    pub(crate) async fn records(&self, partition: u32) -> Result<Vec<v1::Record>> {
        let mut all = Vec::new();
        loop {
            let format = v1::RecordFormat::Records;
            let data = self.fetch(partition, all.len() as u64, format).await?;
            match data.data {
                Some(Data::Records(records)) if !records.records.is_empty() => {
                    all.extend(records.records);
                }
                _ => return Ok(all),
            }
        }
    }

    /// What gRPC answers.
    pub(crate) async fn fetch(
        &self,
        partition: u32,
        offset: u64,
        format: v1::RecordFormat,
    ) -> Result<v1::PartitionData> {
        let request = v1::FetchRequest {
            partitions: vec![v1::FetchPartition {
                topic: "t".to_owned(),
                partition,
                offset,
                max_bytes: 0,
            }],
            record_format: format.into(),
            ..v1::FetchRequest::default()
        };
        let data = self.server.client()?.log().fetch(request).await?.pop();
        let data = data.context("one partition")?;
        ensure!(data.error.is_none(), "{:?}", data.error);
        Ok(data)
    }
}

/// So many lines that can be told apart.
pub(crate) fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "line {number}");
        lines
    })
}

/// A text as record data.
pub(crate) fn text(bytes: Option<&bytes::Bytes>) -> String {
    bytes.map_or_else(String::new, |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}
