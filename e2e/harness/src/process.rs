//! Child processes that do not outlive their owner.
//!
//! They stay in the process group of the test, so that a test runner that ends the group ends them too.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::http_get;
use crate::wait::until;

/// How much of a log is shown when a test fails.
const LOG_LINES_SHOWN: usize = 80;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// Lets this process and those that it starts from now on have as many files open as it may; gives how many.
pub fn raise_open_files() -> Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        ..now
    };
    setrlimit(Resource::Nofile, wanted).context("the limit of open files cannot be raised")?;
    Ok(now.maximum.unwrap_or(u64::MAX))
}

/// A running process: killed when this is dropped, its log shown if that happens in a panic.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<Ended>,
}

impl Process {
    /// Starts `command`; both of its outputs are added to the file `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: None,
        })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most bytes of memory that it ever had resident.
    pub fn memory_mark(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.context("the system does not tell")?.trim().parse()?;
        Ok(kib * 1024)
    }

    /// All that it has written.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| format!("no log: {error}"),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The end of what it has written.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten().map(Ended::from);
        }
        self.ended
    }

    /// Waits until it ends.
    pub async fn wait(&mut self, limit: Duration) -> Result<Ended> {
        let what = format!("`{}` ends", self.name);
        let ended = until(what, limit, async || self.ended()).await;
        ended.with_context(|| format!("its log ends with:\n{}", self.log_tail()))
    }

    /// Waits until it answers 200 at `path`; fails as soon as it has ended.
    pub async fn until_healthy(
        &mut self,
        address: SocketAddr,
        path: &str,
        limit: Duration,
    ) -> Result<()> {
        let what = format!("`{}` is ready", self.name);
        let ready = until(what, limit, async || {
            if let Some(ended) = self.ended() {
                return Some(Err(anyhow!("`{}` has ended: {ended:?}", self.name)));
            }
            let health = http_get(address, path).await;
            health.is_ok_and(|(code, _)| code == 200).then_some(Ok(()))
        })
        .await
        .and_then(|result| result);
        ready.with_context(|| format!("its log ends with:\n{}", self.log_tail()))
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // It can only have ended in the meantime.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok().map(Ended::from);
        }
    }

    /// Asks it to end, as service managers do.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it where it is, as a machine does that is frozen.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal `{}`", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- {} {:?}, its log ends with:\n{}\n---",
                self.name,
                self.ended,
                self.log_tail()
            );
        }
    }
}
