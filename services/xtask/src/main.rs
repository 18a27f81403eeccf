//! The developers' front door: `cargo xtask test|tidy|codegen|docs|bench|fuzz|tools`.
//!
//! Nothing here is part of the product. Every command can be run from any folder of the repository.

mod bench;
mod codegen;
mod docs;
mod fdb;
mod fuzz;
mod process;
mod root;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::root::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The developers' front door", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that CI runs, or one part of it.
    Test(test::Options),
    /// Check what lints cannot: layers, file sizes, banned words, dead files, links.
    Tidy,
    /// Generate the Rust code of the gRPC API from `proto/`, and of Kafka's messages from their definitions.
    Codegen {
        /// Only compare with what is checked in.
        #[arg(long)]
        check: bool,
    },
    /// Generate `docs/reference/` from settings, command line and metrics.
    Docs {
        /// Only compare with what is checked in.
        #[arg(long)]
        check: bool,
    },
    /// Run the load generator against Tidelog and its peers.
    Bench(bench::Options),
    /// Run the fuzz targets of every decoder.
    Fuzz(fuzz::Options),
    /// Fetch or build the tools that the tests use, and print where they are.
    Tools,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    workspace.claim_target()?;
    let done = match cli.command {
        Command::Test(options) => return test::run(&workspace, &options),
        Command::Tidy => tidy::run(&workspace),
        Command::Codegen { check } => codegen::run(&workspace, check),
        Command::Docs { check } => docs::run(&workspace, check),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Fuzz(options) => fuzz::run(&workspace, &options),
        Command::Tools => tools::print_all(&workspace),
    };
    done.map(|()| ExitCode::SUCCESS)
}
