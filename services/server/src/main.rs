//! The binary `tidelog`: `serve`, and the command line for everything that one does with a cluster.

mod cli;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().into()
}
