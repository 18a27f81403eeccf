//! A real `FoundationDB` of one's own.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{Ended, Process, Tools, free_port, until, within};

/// Longest time until it serves, also after a kill.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Longest time until it stands still.
const PAUSE_LIMIT: Duration = Duration::from_secs(10);
/// Longest time of a command.
const CLI_LIMIT: Duration = Duration::from_secs(20);
/// A file system in memory, and how much must be free there.
const MEMORY_FOLDER: &str = "/dev/shm";
const MEMORY_BYTES_MIN: u64 = 2 << 30;
/// How often to try when another process has taken the port in between.
const STARTS_MAX: usize = 3;

/// One `fdbserver` that plays every role, on the loopback interface, with a folder of its own; both end
/// with this. What it has acknowledged is on disk, so it survives [`FdbServer::kill`].
#[derive(Debug)]
pub struct FdbServer {
    process: Process,
    address: SocketAddr,
    // Dropped last: the process writes into it.
    folder: TempDir,
}

impl FdbServer {
    /// Starts it, makes a new database, and waits until it serves. Its data is in memory if there is enough.
    pub async fn start() -> Result<Self> {
        Self::start_in(folder, "memory").await
    }

    /// The same with its data on a disk and the engine that is used there, for those who measure. (The other
    /// engine counts its memory as the space that is left, and lets fewer and fewer transactions begin as it
    /// fills: with little of it, that is what is measured.)
    pub async fn start_on_disk() -> Result<Self> {
        Self::start_in(TempDir::new, "ssd").await
    }

    async fn start_in(folder: fn() -> io::Result<TempDir>, engine: &str) -> Result<Self> {
        let mut last = None;
        for _ in 0..STARTS_MAX {
            match Self::start_once(folder()?, engine).await {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("it was never started")?)
    }

    async fn start_once(folder: TempDir, engine: &str) -> Result<Self> {
        let address = free_port()?;
        std::fs::write(
            cluster_file(folder.path()),
            format!("test:test@{address}\n"),
        )?;
        let process = launch(folder.path(), address)?;
        let server = Self {
            process,
            address,
            folder,
        };
        let made = server
            .cli(&format!("configure new single {engine}"))
            .await?;
        ensure!(made.contains("Database created"), "no database: {made}");
        server.ready().await?;
        Ok(server)
    }

    /// Waits until it commits.
    pub async fn ready(&self) -> Result<()> {
        let mut said = String::new();
        let ready = until("FoundationDB is available", START_LIMIT, async || {
            said = match self.cli("status minimal").await {
                Ok(said) => said,
                Err(error) => format!("{error:#}"),
            };
            said.contains("database is available").then_some(())
        });
        let ready = ready.await;
        ready.with_context(|| format!("{said}\nits log ends with:\n{}", self.process.log_tail()))
    }

    /// Its cluster file.
    pub fn cluster_file(&self) -> PathBuf {
        cluster_file(self.folder.path())
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `fdbcli` says to a command, or to several with `;` between.
    pub async fn cli(&self, command: &str) -> Result<String> {
        let mut cli = Command::new(program("fdbcli")?);
        cli.arg("-C").arg(self.cluster_file());
        cli.args(["--timeout", "10", "--exec", command]);
        cli.stdin(Stdio::null());
        let mut cli = tokio::process::Command::from(cli);
        let output = cli.kill_on_drop(true).output();
        let output = within("fdbcli", CLI_LIMIT, output).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`fdbcli --exec '{command}'` failed: {said}{errors}");
        }
        Ok(said)
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its data after it has ended. It serves some seconds later: see
    /// [`FdbServer::ready`].
    pub fn respawn(&mut self) -> Result<()> {
        ensure!(self.process.ended().is_some(), "fdbserver still runs");
        self.process = launch(self.folder.path(), self.address)?;
        Ok(())
    }

    /// As [`FdbServer::respawn`], and waits until it serves.
    pub async fn restart(&mut self) -> Result<()> {
        self.respawn()?;
        self.ready().await
    }

    /// Stops it where it is, and waits until it is: requests hang.
    pub async fn pause(&self) -> Result<()> {
        self.process.pause()?;
        let status = format!("/proc/{}/status", self.process.id());
        until("fdbserver is stopped", PAUSE_LIMIT, async || {
            let status = std::fs::read_to_string(&status).ok()?;
            let state = status
                .lines()
                .find_map(|line| line.strip_prefix("State:"))?;
            state.trim().starts_with('T').then_some(())
        })
        .await
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Asks it to end, and waits.
    pub async fn stop(&mut self, limit: Duration) -> Result<Ended> {
        self.process.terminate()?;
        self.process.wait(limit).await
    }
}
/// A folder for its data, in memory if there is enough: the server refuses writes where less than a twentieth of
/// the disk is free, and waits for the disk at each commit, which others keep busy. The tests kill processes, not
/// machines, so what is in such a folder is as good as on a disk.
fn folder() -> io::Result<TempDir> {
    let memory = Path::new(MEMORY_FOLDER);
    let free = rustix::fs::statvfs(memory).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if free.is_ok_and(|bytes| bytes >= MEMORY_BYTES_MIN)
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return Ok(folder);
    }
    tempfile::tempdir()
}

fn cluster_file(folder: &Path) -> PathBuf {
    folder.join("fdb.cluster")
}

fn launch(folder: &Path, address: SocketAddr) -> Result<Process> {
    let mut command = Command::new(program("fdbserver")?);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .arg("--public-address")
        .arg(address.to_string())
        .arg("--listen-address")
        .arg("public")
        .arg("--cluster-file")
        .arg(cluster_file(folder))
        .arg("--datadir")
        .arg(folder.join("data"))
        .arg("--logdir")
        .arg(folder.join("trace"))
        .args(["--memory", "2GiB", "--cache-memory", "64MiB"])
        .args(["--storage-memory", "1GiB"]);
    for part in ["data", "trace"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    Process::spawn("fdbserver", &mut command, &folder.join("log"))
}

/// A program of `FoundationDB`: in one of the folders of `TIDELOG_FDB_DIR`, in `bin` or `sbin` of one of
/// them, or where other tools are.
fn program(name: &str) -> Result<PathBuf> {
    let folders = std::env::var_os("TIDELOG_FDB_DIR").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .filter(|folder| !folder.as_os_str().is_empty())
        .flat_map(|folder| ["", "bin", "sbin"].map(|part| folder.join(part).join(name)))
        .find(|file| file.is_file());
    match found {
        Some(file) => Ok(file),
        None => Tools::program(name).with_context(|| {
            format!("install FoundationDB, or name the folder of `{name}` in `TIDELOG_FDB_DIR`")
        }),
    }
}
