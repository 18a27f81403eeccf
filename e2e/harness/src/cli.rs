//! The command line as a user has it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::{Tools, within};

/// Longest time of a command.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs commands against one server.
#[derive(Clone, Debug)]
pub struct Cli {
    address: Option<SocketAddr>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Cli {
    /// Commands that speak to a server, or to none.
    pub const fn new(address: Option<SocketAddr>) -> Self {
        Self { address }
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        self.run_with(arguments, &[]).await
    }

    /// Runs a command with `input` on standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &[u8]) -> Result<Finished> {
        let mut command = Command::new(Tools::tidelog()?);
        if let Some(address) = self.address {
            command.env("TIDELOG_ADDRESS", format!("http://{address}"));
        }
        command.args(arguments);
        finish(command, input, LIMIT).await
    }

    /// Runs a command that must succeed.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.ok_with(arguments, &[]).await
    }

    /// As [`Cli::ok`] with `input` on standard input.
    pub async fn ok_with(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let finished = self.run_with(arguments, input).await?;
        if finished.code != 0 {
            bail!("`tidelog {}` ended with {finished:?}", arguments.join(" "));
        }
        Ok(finished.text())
    }

    /// Runs a command that must fail with `code` and say all of `words`.
    pub async fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) -> Result<Finished> {
        let finished = self.run(arguments).await?;
        let said = words.iter().all(|word| finished.stderr.contains(word));
        if finished.code != code || !said {
            let command = arguments.join(" ");
            bail!("`tidelog {command}` must end with {code} and say {words:?}: {finished:?}");
        }
        Ok(finished)
    }

    /// Runs another program with `input` on its standard input.
    pub async fn program(
        path: &Path,
        arguments: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> Result<Finished> {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env("TIDELOG_CACHE", Tools::cache()?);
        finish(command, input, limit).await
    }

    /// Runs another program of the repository, which finds tools and caches as the tests do.
    pub async fn script(path: &Path, arguments: &[&str], limit: Duration) -> Result<Finished> {
        Self::program(path, arguments, &[], limit).await
    }
}

async fn finish(mut command: Command, input: &[u8], limit: Duration) -> Result<Finished> {
    let name = command.as_std().get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    let feed = async {
        // A command may end without reading everything.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let Output {
        status,
        stdout,
        stderr,
    } = within(&name, limit, both).await??;
    Ok(Finished {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
