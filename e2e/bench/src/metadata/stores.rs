//! Stores to measure on, and a metadata service on one of them.

use std::sync::Arc;

use anyhow::Result;
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tidelog_e2e_harness::{Bucket, Minio, Place as Files};
use tidelog_env::Env;
use tidelog_metadata::{
    ClassBuckets, GroupSettings, MetadataService, OpenOptions, Reach, SequencerMetrics,
    SequencerSettings, TransactionSettings,
};
use tidelog_metadata_api::{Catalogue as _, NewTopic, TopicInfo};
use tidelog_store::Store;
use tidelog_store::memory::MemoryStore;
use tidelog_store_embedded::{EmbeddedOptions, EmbeddedStore, Medium, Metrics};
use tidelog_types::{ClusterId, TopicName};

use crate::options::{MEMORY_TOTAL, Options};

/// Memory of the embedded store: the share of [`MEMORY_TOTAL`] that the product gives it.
const STORE_BYTES: u64 = MEMORY_TOTAL / 10;

/// What the rows are kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Nothing: what the service costs without a store that waits for anything.
    Memory,
    /// The embedded store in a folder.
    Folder,
    /// The embedded store on an S3 server.
    S3,
    /// A FoundationDB of one process on this machine.
    #[cfg(feature = "fdb")]
    #[value(name = "foundationdb")]
    FoundationDb,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::Memory,
        Self::Folder,
        Self::S3,
        #[cfg(feature = "fdb")]
        Self::FoundationDb,
    ];
    /// Those whose commits wait for a disk.
    pub(super) const DURABLE: &[Self] = Self::ALL.split_at(1).1;

    /// Where it is, as in the name of a section.
    const fn describe(self) -> &'static str {
        match self {
            Self::Memory => "in memory",
            Self::Folder => "on a folder",
            Self::S3 => "on s3",
            #[cfg(feature = "fdb")]
            Self::FoundationDb => "on FoundationDB",
        }
    }

    /// Memory of all sequencers: the share of [`MEMORY_TOTAL`] that the product gives them where the embedded
    /// store runs, in a process that does everything, and where `FoundationDB` is, in one that does nothing else.
    const fn metadata_bytes(self) -> u64 {
        match self {
            Self::Memory | Self::Folder | Self::S3 => MEMORY_TOTAL / 25,
            #[cfg(feature = "fdb")]
            Self::FoundationDb => MEMORY_TOTAL / 4 * 3,
        }
    }

    /// How many shards a new cluster has by default.
    pub(super) const fn shards(self) -> u32 {
        match self {
            Self::Memory | Self::Folder | Self::S3 => 1,
            #[cfg(feature = "fdb")]
            Self::FoundationDb => 32,
        }
    }
}

/// What outlives a round.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    /// A process starts its client once.
    #[cfg(feature = "fdb")]
    network: Option<tidelog_store_fdb::Network>,
}

/// Where one measurement keeps its rows; what is empty at first stays when a store is opened again.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Memory(MemoryStore),
    Embedded {
        objects: Arc<dyn ObjectStore>,
        medium: Medium,
        /// Removed with this.
        _folder: Option<TempDir>,
    },
    #[cfg(feature = "fdb")]
    FoundationDb {
        network: tidelog_store_fdb::Network,
        server: Box<tidelog_e2e_harness::FdbServer>,
    },
}

impl Stores {
    /// An empty place.
    pub(super) async fn place(
        &mut self,
        kind: Kind,
        options: &Options,
        minio: &Minio,
    ) -> Result<Place> {
        let rows = match kind {
            Kind::Memory => Rows::Memory(MemoryStore::new()),
            Kind::Folder => {
                let folder = options.scratch()?;
                Rows::Embedded {
                    objects: Bucket::open(&Files::folder(folder.path()))?.store(),
                    medium: Medium::Folder,
                    _folder: Some(folder),
                }
            }
            Kind::S3 => {
                let name = format!("metadata-{:016x}", Env::system().rng.next_u64());
                Rows::Embedded {
                    objects: Bucket::open(&minio.create_bucket(&name).await?)?.store(),
                    medium: Medium::Bucket,
                    _folder: None,
                }
            }
            #[cfg(feature = "fdb")]
            Kind::FoundationDb => Rows::FoundationDb {
                network: self.network()?,
                server: Box::new(tidelog_e2e_harness::FdbServer::start_on_disk().await?),
            },
        };
        Ok(Place { kind, rows })
    }

    #[cfg(feature = "fdb")]
    fn network(&mut self) -> Result<tidelog_store_fdb::Network> {
        use tidelog_store_fdb::{Network, NetworkOptions};

        let network = match self.network.take() {
            Some(network) => network,
            None => Network::start(&NetworkOptions::default())?,
        };
        self.network = Some(network.clone());
        Ok(network)
    }
}

impl Place {
    /// A name of a section for what is measured here.
    pub(super) fn section(&self, what: &str) -> String {
        format!("{what} {}", self.kind.describe())
    }

    /// Opens the store, and takes it from whoever has it.
    pub(super) async fn open(&self, env: &Env) -> Result<Arc<dyn Store>> {
        Ok(match &self.rows {
            Rows::Memory(store) => Arc::new(store.reopen()),
            Rows::Embedded {
                objects, medium, ..
            } => {
                let options = EmbeddedOptions::new("meta", usize::try_from(STORE_BYTES)?, *medium);
                let (objects, metrics) = (Arc::clone(objects), Metrics::unregistered());
                Arc::new(EmbeddedStore::open(objects, options, env.clone(), metrics).await?)
            }
            #[cfg(feature = "fdb")]
            Rows::FoundationDb { network, server } => {
                use tidelog_store_fdb::{FdbOptions, FdbStore, Metrics};

                let options = FdbOptions::new(server.cluster_file());
                let metrics = Metrics::unregistered();
                Arc::new(FdbStore::open(network, options, env.clone(), metrics).await?)
            }
        })
    }

    /// A store with the service on it, as a process of the default size has it.
    pub(super) async fn serve(&self) -> Result<Service> {
        let env = Env::system();
        let store = self.open(&env).await?;
        let shards = self.kind.shards();
        let settings = SequencerSettings::within(self.kind.metadata_bytes() / u64::from(shards));
        Service::open(env, store, shards, settings).await
    }
}

/// The metadata service of a process that owns every shard.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) env: Env,
    pub(super) store: Arc<dyn Store>,
    pub(super) log: MetadataService,
}

impl Service {
    /// Founds a cluster, or takes one over.
    pub(super) async fn open(
        env: Env,
        store: Arc<dyn Store>,
        shards: u32,
        sequencer: SequencerSettings,
    ) -> Result<Self> {
        let options = OpenOptions {
            env: env.clone(),
            store: Arc::clone(&store),
            cluster: ClusterId::from_bytes([1; 16]),
            shards,
            classes: ClassBuckets::default(),
            sequencer,
            groups: GroupSettings::default(),
            transactions: TransactionSettings::default(),
            reach: Reach::default(),
            metrics: SequencerMetrics::new(&mut Registry::default()),
        };
        let log = MetadataService::open(options).await?;
        Ok(Self { env, store, log })
    }

    /// Makes a topic.
    pub(super) async fn topic(&self, partitions: u32) -> Result<Arc<TopicInfo>> {
        let topic = NewTopic {
            name: TopicName::new("bench")?,
            partitions,
            config: [].into(),
            validate_only: false,
        };
        Ok(self.log.create_topic(topic).await?)
    }

    /// Ends the process in good order.
    pub(super) async fn stop(self) -> Result<()> {
        self.store.close().await?;
        let limit = std::time::Duration::from_secs(30);
        let clock = self.env.clock.as_ref();
        self.env.supervisor.shutdown(clock, limit).await?;
        Ok(())
    }
}
