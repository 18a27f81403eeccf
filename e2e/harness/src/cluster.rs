//! A cluster of several processes on one bucket.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tidelog_client::{Client, ClientOptions};

use crate::{Cli, Place, Server, ServerOptions, free_port};

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
            settings: Vec::new(),
        }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    fn process(&self, name: &str) -> ServerOptions {
        let options = ServerOptions::at(&self.place)
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
        let mut metadata = Vec::new();
        for (number, address) in internal.iter().enumerate() {
            let others = internal.iter().filter(|other| *other != address);
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
