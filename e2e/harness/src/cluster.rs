//! A cluster of several processes on one bucket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidelog_client::{Client, ClientOptions};

use crate::{Cli, FdbServer, Gate, Place, Server, ServerOptions, Tools, free_port};

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The bucket.
    pub place: Place,
    /// How many metadata processes.
    pub metadata: usize,
    /// How many brokers.
    pub brokers: usize,
    /// Where metadata is kept, as the setting `metadata.store` says it.
    pub store: String,
    /// Another copy of the binary.
    pub binary: Option<PathBuf>,
    /// Through which each metadata process is heard by the others; empty: directly.
    pub gates: Vec<Arc<Gate>>,
    /// Further settings of all processes.
    pub settings: Vec<(String, String)>,
}

impl ClusterOptions {
    /// Two metadata processes and three brokers on the embedded store.
    pub fn at(place: &Place) -> Self {
        Self {
            place: place.clone(),
            metadata: 2,
            brokers: 3,
            store: "embedded".to_owned(),
            binary: None,
            gates: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The same with metadata on `FoundationDB`.
    pub fn on(self, fdb: &FdbServer) -> Result<Self> {
        Ok(Self {
            store: format!("fdb:{}", fdb.cluster_file().display()),
            binary: Some(Tools::tidelog_with_fdb()?),
            ..self
        })
    }

    /// The same with one more setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    fn process(&self, name: &str) -> ServerOptions {
        let options = ServerOptions {
            binary: self.binary.clone(),
            ..ServerOptions::at(&self.place)
        };
        let options = options
            .with("memory.total", "128MiB")
            .with("produce.segment_bytes", "2MiB")
            .with("cluster.name", name);
        self.settings
            .iter()
            .fold(options, |options, (key, value)| options.with(key, value))
    }
}

/// A metadata process and where the others reach it.
#[derive(Debug)]
pub struct MetadataProcess {
    /// The process.
    pub server: Server,
    /// Where it serves other members.
    pub internal: SocketAddr,
}

/// Metadata processes and brokers as processes of their own.
#[derive(Debug)]
pub struct Cluster {
    /// The brokers. They end first.
    pub brokers: Vec<Server>,
    /// The metadata processes.
    pub metadata: Vec<MetadataProcess>,
}

impl Cluster {
    /// Starts all processes and waits until each is ready.
    pub async fn start(options: &ClusterOptions) -> Result<Self> {
        let internal: Vec<SocketAddr> = (0..options.metadata)
            .map(|_| free_port())
            .collect::<Result<_>>()?;
        for (gate, address) in options.gates.iter().zip(&internal) {
            gate.leads_to(*address);
        }
        // How metadata processes hear each other.
        let gates = options.gates.iter().map(|gate| gate.address());
        let heard: Vec<SocketAddr> = gates
            .chain(internal.iter().copied())
            .take(internal.len())
            .collect();
        let mut metadata = Vec::new();
        for (number, address) in internal.iter().enumerate() {
            let others = heard
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number);
            let others = others.map(|(_, address)| address);
            let process = options
                .process(&format!("metadata-{number}"))
                .with("roles", "metadata")
                .with("metadata.store", &options.store)
                .with("listen.internal", &address.to_string())
                .with("cluster.metadata", &join(others));
            metadata.push(MetadataProcess {
                server: Server::spawn(process)?,
                internal: *address,
            });
        }
        let mut brokers = Vec::new();
        for number in 0..options.brokers {
            let process = options
                .process(&format!("broker-{number}"))
                .with("roles", "broker")
                .with("cluster.metadata", &join(&internal));
            brokers.push(Server::spawn(process)?);
        }
        let mut cluster = Self { brokers, metadata };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Waits until all processes are ready.
    pub async fn ready(&mut self) -> Result<()> {
        for process in &mut self.metadata {
            process.server.ready().await?;
        }
        for broker in &mut self.brokers {
            broker.ready().await?;
        }
        Ok(())
    }

    /// A client that knows all brokers.
    pub fn client(&self) -> Result<Client> {
        self.client_with(ClientOptions::default())
    }

    /// As [`Cluster::client`] with options.
    pub fn client_with(&self, options: ClientOptions) -> Result<Client> {
        let addresses = self.brokers.iter().map(Server::grpc);
        let addresses: Vec<String> = addresses
            .map(|address| format!("http://{address}"))
            .collect();
        Ok(Client::connect_lazy(&addresses, options)?)
    }

    /// The command line, set up for the first broker.
    pub fn cli(&self) -> Result<Cli> {
        Ok(self
            .brokers
            .first()
            .context("a cluster has a broker")?
            .cli())
    }
}

fn join<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> String {
    let addresses: Vec<String> = addresses.into_iter().map(SocketAddr::to_string).collect();
    addresses.join(",")
}
