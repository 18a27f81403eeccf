//! `cargo xtask bench`: builds the binary and the load generator in release and hands over to it.

use std::process::Command;

use anyhow::Result;

use crate::fdb::{BENCH_FEATURES, Fdb};
use crate::process;
use crate::root::Workspace;
use crate::tools;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Arguments for the load generator; `-- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the load generator with the release binary of the server and the S3 server beside it, and on
/// `FoundationDB` too where that is found.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    tools::minio(workspace)?;
    // In one build: two would choose other features of what they share, and build it twice.
    let [server, bench] = ["tidelog-server", "tidelog-e2e-bench"];
    let fdb = Fdb::find(workspace).ok();
    let with_fdb = |mut command: Command| {
        if let Some(fdb) = &fdb {
            fdb.apply(&mut command, BENCH_FEATURES);
        }
        command
    };
    let build = workspace.cargo(["build", "--release", "-p", server, "-p", bench]);
    process::run(&mut with_fdb(build))?;
    let mut run = workspace.cargo(["run", "--release", "--quiet", "-p", server, "-p", bench]);
    run.args(["--bin", bench]);
    process::run(
        with_fdb(run)
            .arg("--")
            .args(&options.arguments)
            .env("TIDELOG_TOOLS", workspace.tools())
            .env("TIDELOG_BIN", workspace.target.join("release/tidelog")),
    )
}
