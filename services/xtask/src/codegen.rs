//! `cargo xtask codegen`: the generators are programs of their own, beside the code that they generate.

use anyhow::Result;

use crate::root::Workspace;
use crate::{process, tools};

/// Generates everything, or compares it with what is checked in.
pub(crate) fn run(workspace: &Workspace, check: bool) -> Result<()> {
    let mut api = workspace.cargo(["run", "--quiet", "-p", "tidelog-api-codegen", "--"]);
    let mut kafka = workspace.cargo(["run", "--quiet", "-p", "tidelog-kafka-codec-codegen", "--"]);
    kafka.arg(tools::kafka_clients(workspace)?);
    for command in [&mut api, &mut kafka] {
        if check {
            command.arg("--check");
        }
        process::run(command)?;
    }
    Ok(())
}
