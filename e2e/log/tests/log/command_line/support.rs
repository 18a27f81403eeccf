//! Commands that run beside a test.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tidelog_e2e_harness::{Server, Tools};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A command that runs, with its output line by line.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) stdout: Lines<BufReader<ChildStdout>>,
    pub(super) stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(super) fn start(server: &Server, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(Tools::tidelog()?)
            .args(arguments)
            .env("TIDELOG_ADDRESS", format!("http://{}", server.grpc()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let stderr = child.stderr.take().context("standard error is a pipe")?;
        Ok(Self {
            child,
            stdout: BufReader::new(stdout).lines(),
            stderr: BufReader::new(stderr).lines(),
        })
    }
}
