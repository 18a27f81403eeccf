//! `cargo xtask fuzz`: coverage-guided fuzzing where it can be had, a long property run where not.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process;
use crate::root::Workspace;
use crate::tools;

/// How many cases each property gets when coverage-guided fuzzing is not to be had.
const PROPERTY_CASES: u32 = 20_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only targets whose name contains this.
    #[arg(default_value = "")]
    filter: String,
}

/// Runs each fuzz target, or the properties of the same decoders, and of the server of one of them, with many cases.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let nightly = process::succeeds(workspace.command("cargo").args(["+nightly", "--version"]));
    if !nightly || tools::on_path("cargo-fuzz").is_none() {
        println!("no nightly toolchain with cargo-fuzz: running the properties with many cases");
        return properties(workspace);
    }
    for crate_dir in fuzz_crates(workspace)? {
        let targets = process::output(
            workspace
                .command("cargo")
                .current_dir(&crate_dir)
                .args(["+nightly", "fuzz", "list"]),
        )?;
        for target in targets
            .lines()
            .filter(|target| target.contains(&options.filter))
        {
            process::run(
                workspace
                    .command("cargo")
                    .current_dir(&crate_dir)
                    .args(["+nightly", "fuzz", "run", target, "--"])
                    .arg(format!("-max_total_time={}", options.seconds)),
            )?;
        }
    }
    Ok(())
}

fn properties(workspace: &Workspace) -> Result<()> {
    let nextest = tools::nextest(workspace)?;
    process::run(
        workspace
            .command(nextest)
            .args([
                "nextest",
                "run",
                "--release",
                "-p",
                "tidelog-format",
                "-p",
                "tidelog-kafka-codec",
                "-p",
                "tidelog-broker-kafka",
                "--no-fail-fast",
            ])
            .env("PROPTEST_CASES", PROPERTY_CASES.to_string()),
    )
}

/// The crates that hold a `fuzz/` folder.
fn fuzz_crates(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut crates: Vec<PathBuf> = Vec::new();
    for file in workspace.files()? {
        if file.ends_with("fuzz/Cargo.toml") {
            let fuzz = file.parent().and_then(|dir| dir.parent());
            crates.push(
                workspace
                    .root
                    .join(fuzz.context("a fuzz folder lies in a crate")?),
            );
        }
    }
    Ok(crates)
}
