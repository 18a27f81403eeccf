//! `tidelog completion SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};
use tidelog_runtime::Exit;

use super::output::print_text;
use super::{Cli, Result};

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell. For bash: `source <(tidelog completion bash)`.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionArgs) -> Result<Exit> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "tidelog", &mut script);
    print_text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
