//! `cargo xtask bench`: builds the binary and the load generator in release and hands over to it.

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
    let mut build = workspace.cargo(["build", "--release"]);
    build.args(["-p", "tidelog-server", "-p", "tidelog-e2e-bench"]);
    let mut run = workspace.command(workspace.target.join("release/tidelog-e2e-bench"));
    if let Ok(fdb) = Fdb::find(workspace) {
        fdb.apply(&mut build, BENCH_FEATURES);
        fdb.link(&mut run);
    }
    process::run(&mut build)?;
    process::run(
        run.args(&options.arguments)
            .env("TIDELOG_TOOLS", workspace.tools())
            .env("TIDELOG_BIN", workspace.target.join("release/tidelog")),
    )
}
