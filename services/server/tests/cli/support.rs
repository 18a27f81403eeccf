//! Starts the binary and reads what it says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

/// The binary under test, with no setting from outside.
pub(crate) fn tidelog(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDELOG_") {
            command.env_remove(name);
        }
    }
    command
        .env("XDG_CONFIG_HOME", home)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// A server that is ready, on ports of its own.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    pub(crate) grpc: String,
    pub(crate) http: String,
}

impl Server {
    /// Starts a server on a folder.
    pub(crate) fn start(home: &Path, folder: &Path) -> Self {
        let child = tidelog(home)
            .args([
                "serve",
                "--grpc",
                "127.0.0.1:0",
                "--kafka",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            lines,
            grpc: String::new(),
            http: String::new(),
        };
        let ready = server.until("ready");
        server.grpc = format!("http://{}", ready["grpc"].as_str().unwrap());
        ready["http"].as_str().unwrap().clone_into(&mut server.http);
        server
    }

    /// Reads the log up to a message.
    pub(crate) fn until(&mut self, message: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "the log ended before `{message}`"
            );
            let Ok(entry) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if entry["message"] == message {
                return entry;
            }
        }
    }

    /// Asks it to end and waits.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap()
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, home: &Path, args: &[&str]) -> Output {
        tidelog(home)
            .arg("--address")
            .arg(&self.grpc)
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs a command against it that must succeed; its output.
    pub(crate) fn ok(&self, home: &Path, args: &[&str]) -> String {
        let output = self.run(home, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a command with input.
    pub(crate) fn feed(&self, home: &Path, args: &[&str], input: &str) -> Output {
        let mut child = tidelog(home)
            .arg("--address")
            .arg(&self.grpc)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, where the test said how it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The error of a command that must fail with this code.
pub(crate) fn failed(output: &Output, code: i32) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.starts_with("error: "), "{error}");
    error
}
