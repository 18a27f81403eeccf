//! The server under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tidelog_client::{Client, ClientOptions};

use crate::{Cli, Ended, Place, Process, Tools, free_port, http_get};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A place in the write path at which the server can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the server's own")]
pub enum CrashPoint {
    BeforePut,
    PutSent,
    PutAcked,
    CommitSent,
    CommitApplied,
    AckSent,
}

impl CrashPoint {
    /// All of them, in the order of the write path.
    pub const ALL: [Self; 6] = [
        Self::BeforePut,
        Self::PutSent,
        Self::PutAcked,
        Self::CommitSent,
        Self::CommitApplied,
        Self::AckSent,
    ];

    /// Its name in `TIDELOG_CRASH_POINT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforePut => "before_put",
            Self::PutSent => "put_sent",
            Self::PutAcked => "put_acked",
            Self::CommitSent => "commit_sent",
            Self::CommitApplied => "commit_applied",
            Self::AckSent => "ack_sent",
        }
    }
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where its data is.
    pub place: Place,
    /// Further settings, each as the server's reference names it.
    pub settings: Vec<(String, String)>,
    /// Where it dies, and how often it passes there before.
    pub crash_at: Option<(CrashPoint, u64)>,
    /// A program that runs the server, with its arguments.
    pub wrapper: Vec<String>,
    /// Another copy of the binary.
    pub binary: Option<PathBuf>,
}

impl ServerOptions {
    /// A server with its data at `place`, and small: many run beside each other.
    pub fn at(place: &Place) -> Self {
        let options = Self {
            place: place.clone(),
            settings: Vec::new(),
            crash_at: None,
            wrapper: Vec::new(),
            binary: None,
        };
        options
            .with("memory.total", "256MiB")
            .with("log.format", "text")
    }

    /// The same with one more setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same, dying when `point` is passed for the `nth` time, counted from 1.
    #[must_use]
    pub const fn crashing_at(mut self, point: CrashPoint, nth: u64) -> Self {
        self.crash_at = Some((point, nth));
        self
    }
}

/// A server as a process of its own. Its ports stay the same over restarts.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    grpc: SocketAddr,
    kafka: SocketAddr,
    http: SocketAddr,
    process: Process,
    // Its log and its home; dropped last.
    folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let mut server = Self::spawn(options)?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts a server that is expected to end by itself; it may never be ready.
    pub fn spawn(options: ServerOptions) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (grpc, kafka, http) = (free_port()?, free_port()?, free_port()?);
        let process = launch(&options, [grpc, kafka, http], folder.path())?;
        Ok(Self {
            options,
            grpc,
            kafka,
            http,
            process,
            folder,
        })
    }

    /// Waits until it is ready; fails as soon as it has ended.
    pub async fn ready(&mut self) -> Result<()> {
        self.process
            .until_healthy(self.http, "/readyz", START_LIMIT)
            .await
    }

    /// Starts it again on the same ports after it has ended, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        let options = self.options.clone();
        self.restart_with(options).await
    }

    /// As [`Server::restart`] with other options.
    pub async fn restart_with(&mut self, options: ServerOptions) -> Result<()> {
        self.respawn(options)?;
        self.ready().await
    }

    /// Starts it again, to end by itself; it may never be ready.
    pub fn respawn(&mut self, options: ServerOptions) -> Result<()> {
        if self.process.ended().is_none() {
            bail!("the server still runs");
        }
        self.options = options;
        self.process = launch(
            &self.options,
            [self.grpc, self.kafka, self.http],
            self.folder.path(),
        )?;
        Ok(())
    }

    /// Deletes everything that the server could have kept on this machine outside its bucket.
    pub fn wipe(&self) -> Result<()> {
        let home = home(self.folder.path());
        std::fs::remove_dir_all(&home)?;
        Ok(std::fs::create_dir_all(&home)?)
    }

    /// Where gRPC is served.
    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where Kafka's protocol is served.
    pub const fn kafka(&self) -> SocketAddr {
        self.kafka
    }

    /// Where HTTP is served.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// How it was started.
    pub const fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The command line, set up for this server.
    pub fn cli(&self) -> Cli {
        Cli::new(Some(self.grpc))
    }

    /// A client that waits for its first request before it connects.
    pub fn client(&self) -> Result<Client> {
        self.client_with(ClientOptions::default())
    }

    /// As [`Server::client`] with options.
    pub fn client_with(&self, options: ClientOptions) -> Result<Client> {
        Ok(Client::connect_lazy(
            &[format!("http://{}", self.grpc)],
            options,
        )?)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<String> {
        Ok(http_get(self.http, "/metrics").await?.1)
    }

    /// Asks it to end, and waits. Whatever it has begun ends with it.
    pub async fn stop(&mut self, limit: Duration) -> Result<Ended> {
        self.process.terminate()?;
        let ended = self.process.wait(limit).await?;
        let log = self.process.log();
        let left = log.lines().find(|line| line.contains("tasks were left"));
        ensure!(left.is_none(), "it did not end by itself: {left:?}");
        Ok(ended)
    }
}

fn home(folder: &Path) -> PathBuf {
    folder.join("home")
}

fn launch(
    options: &ServerOptions,
    [grpc, kafka, http]: [SocketAddr; 3],
    folder: &Path,
) -> Result<Process> {
    let binary = match &options.binary {
        Some(binary) => binary.as_path(),
        None => Tools::tidelog()?,
    };
    let mut words = options.wrapper.iter().map(String::as_str);
    let mut command = match words.next() {
        Some(wrapper) => Command::new(wrapper),
        None => Command::new(binary),
    };
    command.args(words);
    if !options.wrapper.is_empty() {
        command.arg(binary);
    }
    command.arg("serve");
    let listen = [
        ("listen.grpc", grpc),
        ("listen.kafka", kafka),
        ("listen.http", http),
    ];
    let listen = listen.map(|(key, address)| (key.to_owned(), address.to_string()));
    for (key, value) in options
        .place
        .settings()
        .iter()
        .chain(&listen)
        .chain(&options.settings)
    {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let home = home(folder);
    std::fs::create_dir_all(&home)?;
    command
        .current_dir(&home)
        .env_clear()
        .env("HOME", &home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_BACKTRACE", "1");
    // Where the library of FoundationDB's client is, if not where the system looks by itself.
    if let Some(folders) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", folders);
    }
    if let Some((point, nth)) = options.crash_at {
        command.env("TIDELOG_CRASH_POINT", format!("{}:{nth}", point.as_str()));
    }
    Process::spawn("tidelog serve", &mut command, &folder.join("log"))
}
